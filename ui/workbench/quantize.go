package workbench

import (
	"context"
	"errors"
	"fmt"

	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/ui/job"
	"nibble/ui/term"
)

// planState is what is known about a quantization before work.
type planState struct {
	order    job.Quantize
	known    bool // the rest is of this order
	recipe   quant.Recipe
	prospect quant.Prospect
	err      error
}

// plan works out what a quantization would cost and give.
func (b *backend) plan(o job.Quantize) {
	b.start("planning", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		rates, err := quant.MeasureRates(ctx, b.eng, b.o.CacheDir, false, func(quant.Event) {
			b.mail.sample("progress", func(s *state) { s.job.detail, s.job.left = "measuring, once, how fast this machine quantizes", -1 })
		})
		if err != nil {
			return err
		}
		p := planState{order: o, known: true}
		options, err := o.For(b.eng, b.ck, nil)
		if p.recipe, p.err = options.Recipe, err; err == nil {
			p.prospect, p.err = quant.Look(options, rates)
		}
		b.mail.fact(func(s *state) { s.plan = p })
		return nil
	})
}

// quantize makes an INT4 model and evaluates it.
func (b *backend) quantize(o job.Quantize) {
	b.start("quantizing", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		options, err := o.For(b.eng, b.ck, nil)
		if err != nil {
			return err
		}
		if o.Out == "" {
			err = b.apply(ctx, options.Recipe, options.Calibration)
		} else {
			err = b.write(ctx, options)
		}
		if err != nil {
			return err
		}
		_, err = b.doEvaluate(ctx)
		return err
	})
}

// write quantizes into a directory and makes the result the INT4 model.
func (b *backend) write(ctx context.Context, o quant.Options) error {
	b.o.Owner.Hint(fmt.Sprintf("quantizing to %s again goes on from what is finished", o.Out))
	res, err := quantizing(b, func(l quant.Listener) (quant.Result, error) { return quant.Run(ctx, o, l) })
	if err != nil {
		return err
	}
	b.o.Owner.Hint("")
	return b.open(ctx, res.Path, fmt.Sprintf("written to %s: ", term.CleanLine(res.Path)))
}

// open makes what is in a directory the INT4 model.
func (b *backend) open(ctx context.Context, dir, where string) error {
	report, err := quant.ReadReport(dir)
	if err != nil {
		return err
	}
	ck, err := model.Open(dir)
	if err != nil {
		return err
	}
	m, err := rt.Load(ctx, b.eng, ck)
	if err == nil {
		err = b.adopt(ctx, m, report, where)
	}
	if err != nil {
		ck.Close()
		return err
	}
	b.keepOpen(ck)
	return nil
}

// keepOpen closes the checkpoint of the INT4 model before; ck, nil for none, is
// that of the one now.
func (b *backend) keepOpen(ck *model.Checkpoint) {
	if b.written != nil {
		b.written.Close()
	}
	b.written = ck
}

// apply quantizes in memory and makes the result the INT4 model. Without a
// calibration the usual one serves.
func (b *backend) apply(ctx context.Context, r quant.Recipe, c *quant.Calibration) error {
	var report quant.Report
	m, err := quantizing(b, func(l quant.Listener) (m *rt.Model, err error) {
		m, report, err = quant.ApplyCalibrated(ctx, b.base, b.ck, r, c, l)
		return m, err
	})
	if err != nil {
		return err
	}
	if err := b.adopt(ctx, m, report, ""); err != nil {
		return err
	}
	b.keepOpen(nil)
	b.mail.fact(func(s *state) { s.model.inMemory = true })
	return nil
}

// adopt makes m the INT4 model.
func (b *backend) adopt(ctx context.Context, m *rt.Model, report quant.Report, where string) error {
	if err := b.selectFor(ctx, m, false); err != nil {
		return err
	}
	b.int4, b.made = m, report
	b.mail.fact(func(s *state) {
		s.model.recipe, s.model.report = report.Recipe.Default.String(), report
		s.model.inMemory, s.eval = false, evalState{}
		s.say(fmt.Sprintf("INT4 model ready: %s%s, %.3f bits per weight", where, term.Bytes(report.SizeBytes), report.BPW))
	})
	return nil
}

// quantizing shows the events of a quantization; if that fails, the model in use
// is shown again.
func quantizing[T any](b *backend, run func(quant.Listener) (T, error)) (T, error) {
	eta := newETA()
	var before *modelState // of the model in use
	stepped, together := false, false
	step := func(module string, done, all int64) {
		stepped = true
		b.progress(eta, float64(done)/float64(max(1, all)), term.CleanLine(module))
		rate := eta.Rate() * float64(all)
		b.mail.sample("rate", func(s *state) { s.model.working, s.model.rate = module, rate })
	}
	res, err := run(func(e quant.Event) {
		switch e := e.(type) {
		case quant.Started:
			b.mail.fact(func(s *state) {
				was := s.model
				before = &was
				s.model.report, s.model.trained, s.model.losses, s.model.total = quant.Report{}, nil, nil, e.Modules
			})
		case quant.Resumed:
			b.mail.fact(func(s *state) {
				s.say(fmt.Sprintf("going on from an interrupted run: %d matrices are done already", e.Modules))
			})
		case quant.Progress:
			step(e.Module, e.DoneParams, e.Params)
		case quant.Trained:
			b.mail.fact(func(s *state) { s.model.train(e) })
			done := float64(e.Iteration) / float64(e.Iterations)
			switch {
			case e.Layer < 0:
				if !together {
					together, eta = true, newETA()
				}
				b.progress(eta, done, trainingName(e))
			case !stepped: // no matrix is done before all layers are trained
				b.progress(eta, (float64(e.Layer)+done)/float64(b.ck.Config.Layers()), trainingName(e))
			}
		case quant.ModuleDone:
			if e.Restored { // at no cost: that tells nothing of the rate
				eta = newETA()
			}
			step(e.Module, e.DoneParams, e.Params)
			b.mail.fact(func(s *state) {
				s.model.report.Modules = append(s.model.report.Modules, quant.ModuleReport{Module: e.Module, Spec: e.Spec, Stats: e.Stats})
			})
		}
	})
	b.mail.fact(func(s *state) {
		s.model.working, s.model.rate = "", 0
		if err != nil && before != nil {
			s.model.report, s.model.trained, s.model.losses = before.report, before.trained, before.losses
		}
	})
	return res, err
}

// train notes an iteration of a training.
func (m *modelState) train(e quant.Trained) {
	if n := len(m.trained); n == 0 || m.trained[n-1].Layer != e.Layer {
		m.trained, m.losses = append(m.trained, e), []float64{e.Before}
	}
	m.trained[len(m.trained)-1] = e
	m.losses = append(m.losses, e.Loss)
}

// trainingName says what is trained together.
func trainingName(t quant.Trained) string {
	if t.Layer < 0 {
		return "training all layers"
	}
	return fmt.Sprintf("training layer %d", t.Layer)
}

// unfinished says what an interrupted quantization left, "" if nothing.
func unfinished(err error) string {
	if u := (*quant.Unfinished)(nil); errors.As(err, &u) {
		return fmt.Sprintf("; %d of %d matrices are kept: z, enter go on", u.Done, u.Total)
	}
	return ""
}
