// Package report tells what an evaluation means: where a model loses what it
// loses, in which words, and what to do about it. It knows recipes, which package
// eval does not.
//
// Every text that comes from a model or a file passes Options.Clean before it
// becomes part of a report.
package report

import (
	"context"
	"errors"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
)

// Kind marks the reports of this package among other files named report.json.
const Kind = "nibble evaluation"

// Report is an evaluation that a person can act on.
type Report struct {
	Kind   string `json:"kind"`
	Nibble string `json:"nibble"` // version of the program
	ISA    string `json:"isa"`    // instruction set of the kernels

	Model       string `json:"model"`
	ModelSHA256 string `json:"model_sha256"`
	Base        string `json:"base"`
	BaseSHA256  string `json:"base_sha256"`
	eval.Verdict

	SizeBytes   int64              `json:"size_bytes"` // of the model's tensors
	BPW         float64            `json:"bpw"`
	Recipe      string             `json:"recipe,omitempty"` // short form, if it is known
	Calibration *quant.Calibration `json:"calibration,omitempty"`

	eval.Result
	Damage        *eval.Damage        `json:"damage,omitempty"`
	Continuations []eval.Continuation `json:"continuations,omitempty"`
	Advice        []Advice            `json:"advice,omitempty"`
	Remarks       []string            `json:"remarks,omitempty"` // what could not be measured, and why
}

// What a report shows unless the options say otherwise.
const (
	DefaultContinuations = 4
	DefaultTokens        = 48 // of a continuation
	DefaultWorst         = 10 // tokens; eval.Options.Worst
)

// Options is what a report is made of.
type Options struct {
	Subject   Subject
	Base      *model.Checkpoint
	Running   *rt.Model // what Subject describes
	Reference *eval.Reference
	Result    eval.Result // of Running against Reference
	Goal      float64     // share of the perplexity that may be lost

	Quantized *quant.Report // how the model was made; nil if that is not known

	Version       string
	Clean         func(string) string // makes foreign text safe to show; nil leaves it as it is
	Continuations int                 // DefaultContinuations if 0
	Tokens        int                 // of a continuation; DefaultTokens if 0
}

// Subject is the model that a report is about.
type Subject struct {
	Name   string
	SHA256 string  // "" for a model that is in no file
	Bytes  int64   // of its tensors
	BPW    float64 // bits of them for a parameter
}

// SubjectOf describes a checkpoint.
func SubjectOf(ck *model.Checkpoint) Subject {
	return Subject{ck.Ref, ck.Hash(), ck.Bytes(), 8 * float64(ck.Bytes()) / float64(ck.Params())}
}

// Run measures what a report tells beyond the evaluation that it is given.
func Run(ctx context.Context, o Options, l eval.Listener) (r Report, err error) {
	err = o.Base.Guard(func() error {
		return o.Running.Guard(func() error {
			r, err = run(ctx, o, l)
			return err
		})
	})
	return r, err
}

func run(ctx context.Context, o Options, l eval.Listener) (Report, error) {
	if o.Continuations == 0 {
		o.Continuations = DefaultContinuations
	}
	if o.Tokens == 0 {
		o.Tokens = DefaultTokens
	}
	if o.Clean == nil {
		o.Clean = func(s string) string { return s }
	}
	r := Report{Kind: Kind, Nibble: o.Version, ISA: string(o.Running.Engine.ISA()), Model: o.Subject.Name, ModelSHA256: o.Subject.SHA256,
		Base: o.Base.Ref, BaseSHA256: o.Base.Hash(), Verdict: o.Result.Verdict(o.Goal), Result: o.Result,
		SizeBytes: o.Subject.Bytes, BPW: o.Subject.BPW}
	recipe, remark := knownRecipe(o)
	if remark != "" {
		r.Remarks = append(r.Remarks, remark)
	}
	if recipe != nil {
		r.Recipe = recipe.String()
	}
	if o.Quantized != nil && o.Quantized.Calibration != nil {
		c := *o.Quantized.Calibration
		r.Calibration = &c
	}
	windows := o.Reference.DamageWindows()
	damage, err := o.Reference.Damage(ctx, o.Running, windows, l)
	switch {
	case errors.Is(err, eval.ErrShapes):
		r.Remarks = append(r.Remarks, err.Error())
	case err != nil:
		return r, err
	default:
		r.Damage = damage
		a := adviser{o: o, recipe: recipe, running: o.Running, damage: damage, windows: windows, over: map[string]*kernels.Linear{}}
		if r.Advice, err = a.advise(ctx, l); err != nil {
			return r, err
		}
	}
	if r.Continuations, err = o.Reference.Continuations(ctx, o.Running, o.Continuations, o.Tokens, l); err != nil {
		return r, err
	}
	r.clean(o.Clean)
	return r, nil
}

// clean passes every text that may come from a model or a file.
func (r *Report) clean(f func(string) string) {
	list := func(texts []string) []string {
		var out []string
		for _, t := range texts {
			out = append(out, f(t))
		}
		return out
	}
	guess := func(g *eval.Guess) { g.Text = f(g.Text) }
	for _, t := range []*string{&r.Model, &r.Base, &r.Recipe, &r.Text} {
		*t = f(*t)
	}
	if r.Calibration != nil {
		r.Calibration.Name, r.Calibration.Notes = f(r.Calibration.Name), list(r.Calibration.Notes)
	}
	r.Notes, r.Remarks = list(r.Notes), list(r.Remarks)
	r.Tasks, r.WorstTokens = append([]eval.TaskResult(nil), r.Tasks...), append([]eval.WorstToken(nil), r.WorstTokens...)
	for i := range r.Tasks {
		r.Tasks[i].Name = f(r.Tasks[i].Name)
	}
	for i := range r.WorstTokens {
		r.WorstTokens[i] = r.WorstTokens[i].Clean(f)
	}
	for i := range r.Continuations {
		c := &r.Continuations[i]
		c.Prompt, c.Same, c.Says, c.BaseSays = f(c.Prompt), f(c.Same), f(c.Says), f(c.BaseSays)
		if c.Part != nil {
			guess(&c.Part.Says)
			guess(&c.Part.BaseSays)
		}
	}
	for i := range r.Advice {
		r.Advice[i].Text, r.Advice[i].Recipe = f(r.Advice[i].Text), f(r.Advice[i].Recipe)
	}
	if r.Damage != nil {
		r.Damage.Notes = list(r.Damage.Notes)
	}
}
