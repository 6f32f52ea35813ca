package workbench

import (
	"context"
	"fmt"
	"nibble/eval"
	"nibble/eval/report"
	"nibble/ui/job"
	"nibble/ui/term"
	"slices"
)

func (b *backend) evaluate(o job.Evaluate) {
	b.start("evaluating", func(ctx context.Context) error {
		b.judge = o
		if err := b.ready(); err != nil {
			return err
		}
		res, err := b.doEvaluate(ctx)
		if err != nil || !res.Compared() {
			return err
		}
		r, err := report.Run(ctx, report.Options{Subject: report.Subject{Name: res.what, Bytes: b.made.SizeBytes, BPW: b.made.BPW}, Base: b.ck, Running: b.int4,
			Reference: b.ref, Result: res.Result, Goal: o.Aim(), Quantized: &b.made, Clean: term.OneLine}, b.evalListener())
		if err != nil {
			return err
		}
		b.mail.fact(func(s *state) { s.eval.report = &r })
		return nil
	})
}

// reference measures the float model, once on the same text and questions.
func (b *backend) reference(ctx context.Context) (*eval.Reference, error) {
	of := b.judge
	if b.ref != nil && b.refOf.SameBase(of) {
		return b.ref, nil
	}
	if err := job.NeedTokenizer(b.ck); err != nil {
		return nil, err
	}
	o, err := of.For(b.ck, b.o.CacheDir, nil)
	if err != nil {
		return nil, err
	}
	o.Worst = report.DefaultWorst
	ref, err := eval.NewReference(ctx, b.base, o, b.evalListener())
	if err != nil {
		return nil, err
	}
	if b.ref != nil {
		b.ref.Close()
	}
	b.ref, b.refOf, b.refText = ref, of, o.Text
	return ref, nil
}

func (b *backend) evalListener() eval.Listener {
	eta := newETA()
	stage := ""
	step := func(name string, done, total int, detail string) {
		if name != stage {
			stage, eta = name, newETA()
		}
		b.progress(eta, float64(done)/float64(max(1, total)), detail)
	}
	return func(e eval.Event) {
		switch e := e.(type) {
		case eval.Progress:
			step(e.Stage, e.Done, e.Total, fmt.Sprintf("%s perplexity %s, %s tokens/s", e.Stage, term.Measured(e.PPL, e.PPLSE), term.Digits(e.Rate)))
		case eval.TaskProgress:
			step("questions", e.Done, e.Total, fmt.Sprintf("%s: %d of %d questions, %s a second", term.CleanLine(e.Task), e.Done, e.Total, term.Digits(e.Rate)))
		case eval.StepProgress:
			step(e.Stage, e.Done, e.Total, fmt.Sprintf("%s: %d of %d, %s a second", e.Stage, e.Done, e.Total, term.Digits(e.Rate)))
		}
	}
}

// doEvaluate measures the INT4 model against the float one, or the model alone if
// there is no other.
func (b *backend) doEvaluate(ctx context.Context) (evaluation, error) {
	b.mail.fact(func(s *state) {
		if s.job.running {
			s.job.name = "evaluating" // also as the end of a quantization
		}
	})
	ref, err := b.reference(ctx)
	if err != nil {
		return evaluation{}, err
	}
	e := evaluation{b.ck.DType(), ref.Result}
	if m := b.int4; m != nil {
		res, err := eval.Run(ctx, m, ref, eval.Options{}, b.evalListener(), nil)
		if err != nil {
			return evaluation{}, err
		}
		if note := job.SeenNote(&b.made, b.refText); note != "" {
			res.Notes = append(slices.Clone(res.Notes), note)
		}
		for i, t := range res.WorstTokens {
			res.WorstTokens[i] = t.Clean(term.OneLine)
		}
		e = evaluation{b.made.Recipe.Default.String(), res}
	}
	goal := b.judge.Aim()
	b.mail.fact(func(s *state) {
		s.model.results = append(s.model.results, e)
		s.eval = evalState{goal: goal, result: &e}
		if e.Compared() {
			s.say(fmt.Sprintf("perplexity %s, %s over the float model; KL divergence %.5f", term.Fixed("%.4f", e.PPL), term.Percent(e.PPLRatio-1), e.KLDMean))
		}
	})
	return e, nil
}
