package workbench

import (
	"cmp"
	"context"
	"fmt"
	"nibble/eval"
	"nibble/kernels"
	"nibble/quant"
	"nibble/tune"
	"nibble/ui/job"
	"nibble/ui/term"
	"os"
	"time"
)

func (b *backend) tune(ask job.Tune) {
	b.start("tuning", func(ctx context.Context) error {
		begun := time.Now()
		if err := b.ready(); err != nil {
			return err
		}
		if err := job.NeedTokenizer(b.ck); err != nil {
			return err
		}
		ask.Model = b.ck.Ref
		o, err := ask.For(b.ck)
		if err != nil {
			return err
		}
		for _, n := range ask.Notes(o) {
			b.mail.fact(func(s *state) { s.say(n) })
		}
		o.Started, o.Base, o.CacheDir, o.Eval.CacheDir, o.Runs = begun, b.base, b.o.CacheDir, b.o.CacheDir, b.o.RunsDir
		o.Pause = &b.pausing
		b.tuneOn, b.tuned = o.Calibration, tune.Result{}
		b.pausing.End()
		b.mail.fact(func(s *state) {
			s.tune = tuneState{started: true, running: true, goal: job.Aim(o), limits: job.LimitsText(o), scores: map[string]map[string]tune.Score{}}
		})
		kept := "" // the run's id, if there is a journal
		listen := b.tuneListener()
		res, err := tune.Run(ctx, o, func(e tune.Event) {
			if run, ok := e.(tune.RunOpened); ok {
				kept = run.ID
				b.o.Owner.Hint("what was measured is kept: " + job.ResumeHint(kept))
			}
			listen(e)
		})
		if err != nil {
			return err
		}
		b.tuned = res
		b.o.Owner.Hint("")
		if res.Path == "" && kept != "" {
			b.o.Owner.Hint(fmt.Sprintf("the tuned model was in memory alone: 'nibble runs show %s' tells its recipe", kept))
		}
		b.mail.fact(func(s *state) { s.tune.ended(res) })
		if ctx.Err() != nil {
			return errCancelled // at once; the trials stay, to use or to go on with
		}
		return b.useTrial(ctx, *res.Best)
	})
}

// useTrial makes a trial's recipe the INT4 model. That of the best is there already
// if it was saved or trained.
func (b *backend) useTrial(ctx context.Context, t tune.Trial) error {
	if best := b.tuned.Best; best != nil && best.Recipe.String() == t.Recipe.String() {
		where := ""
		if b.tuned.Path != "" {
			where = fmt.Sprintf("written to %s: ", term.CleanLine(b.tuned.Path))
		}
		dir := cmp.Or(b.tuned.Path, b.tuned.Artifact)
		if _, err := os.Stat(dir); err == nil {
			return b.open(ctx, dir, where)
		}
	}
	return b.apply(ctx, t.Recipe, b.tuneOn)
}

func (b *backend) tuneListener() tune.Listener {
	eta, unit := newETA(), ""
	step := func(name string, share float64, detail string) {
		if name != unit {
			unit, eta = name, newETA()
		}
		b.progress(eta, share, detail)
	}
	return func(e tune.Event) {
		switch e := e.(type) {
		case tune.RunOpened:
			if e.Resumed {
				b.mail.fact(func(s *state) { s.say("going on with run " + e.ID) })
			}
		case tune.Noted:
			b.mail.fact(func(s *state) { s.say(e.Text) })
		case tune.Phase:
			b.mail.fact(func(s *state) { s.tune.phase = e.About })
		case tune.ReferenceDone:
			b.mail.fact(func(s *state) { s.tune.basePPL, s.tune.goal = e.PPL, e.Goal })
		case eval.Progress:
			step("reference", float64(e.Done)/float64(e.Total), "float model")
		case tune.TrialStarted:
			t := e.Trial
			b.mail.fact(func(s *state) { s.tune.current, s.tune.progress = &t, tune.TrialProgress{} })
		case tune.TrialProgress:
			step(fmt.Sprint("trial ", e.ID), float64(e.Done)/float64(max(1, e.Total)), fmt.Sprintf("trial %d: %s", e.ID, term.Percent(e.PPLRatio-1)))
			b.mail.sample("trial", func(s *state) { s.tune.progress = e })
		case tune.TrialDone:
			b.mail.fact(func(s *state) {
				s.tune.best, s.tune.front, s.tune.current = e.Best, e.Front, nil
				if n := len(s.tune.trials); e.Trial.ID <= n { // measured once more, on more text
					s.tune.trials[e.Trial.ID-1] = e.Trial
				} else {
					s.tune.trials = append(s.tune.trials, e.Trial)
				}
			})
		case tune.Screening:
			step("screening", float64(e.Done)/float64(max(1, e.Total)), term.CleanLine(e.Matrix))
			screen := screenState{e.Matrix, "", e.Done, e.Total, eta.Rate() * float64(e.Total)}
			b.mail.fact(func(s *state) { s.tune.screen = screen })
		case tune.Score:
			step("screening", float64(e.Done)/float64(max(1, e.Total)), term.CleanLine(e.Matrix)+" "+e.Spec)
			screen := screenState{e.Matrix, e.Spec, e.Done, e.Total, eta.Rate() * float64(e.Total)}
			b.mail.fact(func(s *state) {
				s.tune.screen = screen
				for _, name := range e.Matrices {
					if s.tune.scores[name] == nil {
						s.tune.scores[name] = map[string]tune.Score{}
					}
					s.tune.scores[name][e.Spec] = e
				}
			})
		case kernels.ShapeMeasured:
			step("kernels", float64(e.Done)/float64(max(1, e.Total)), e.Choice.Reason)
		case quant.Trained:
			step(trainingName(e), float64(e.Iteration)/float64(e.Iterations), fmt.Sprintf("%s: loss %.3g, was %.3g", trainingName(e), e.Loss, e.Before))
		case tune.Predicted:
			b.mail.fact(func(s *state) { s.tune.predicted = e.Front })
		case tune.Explained:
			b.mail.fact(func(s *state) { s.tune.explained = e })
		}
	}
}

// pause holds the search at its next event, or lets it go on. A trial that is
// being timed is not held before its figures are known.
func (b *backend) pause() {
	if b.jobs.running() != "tuning" {
		b.mail.fact(func(s *state) { s.say("nothing is running that could pause") })
		return
	}
	paused := b.pausing.Toggle()
	b.mail.fact(func(s *state) { s.job.paused = paused })
}

func (b *backend) use(t tune.Trial) {
	b.start("quantizing", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		return b.useTrial(ctx, t)
	})
}
