package tune

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model/source"
	"nibble/quant"
	"nibble/tune/journal"
	"nibble/tune/score"
	"nibble/tune/search"
	"nibble/tune/solve"
	"nibble/tune/speed"
	"nibble/tune/work"
)

// scheduler has the work done that a search asks for, one measurement after the
// other, within the budget.
type scheduler struct {
	Options
	specsChosen bool           // by the user
	asked       journal.Record // of the run, as it was asked for
	listen      Listener
	rest        func() // while the run is paused
	clock       *work.Clock
	notes       []string

	journal *journal.Journal
	known   map[string]search.Trial // journaled before, by recipe
	unkept  bool                    // that the journal failed was told

	problem  solve.Problem
	policy   search.Policy
	evidence search.Evidence

	local  *work.Local
	worker work.Worker // local, unless a test has another

	forecast
}

// tell sends an event, and rests while the run is paused. Neither counts as work.
func (s *scheduler) tell(e Event) {
	s.clock.Outside(func() {
		s.listen.send(e)
		s.rest()
	})
}

// corrections are what the trials so far teach.
func (s *scheduler) corrections() search.Corrections {
	return search.Learn(s.evidence, s.problem.Offer.Always)
}

// basis is what the run's measurements rest on.
func (o *Options) basis() work.Basis {
	return work.Basis{Methods: quant.MethodsVersion, Model: o.Source.Hash(), Text: o.Eval.Text.SHA256, Ctx: o.Eval.Ctx, Calibration: work.CalibrationOf(o.Calibration)}
}

// longestSpeed bounds the measurement of kernels; tests shorten it.
var longestSpeed = speed.Longest

// measureSpeed fills in what options take of a decoded token and in memory, and the
// pace of decoding, which an earlier part of the run may have measured.
func (s *scheduler) measureSpeed(ctx context.Context) error {
	s.tell(Phase{"speed", "what decoding takes of every shape and scheme"})
	budget := longestSpeed
	if s.Budget > 0 {
		budget = min(budget, s.Budget/20)
	}
	if err := speed.Products(ctx, s.Base, s.problem.Classes, budget, s.CacheDir, func(e kernels.Event) { s.tell(e) }); err != nil {
		return err
	}
	if p := s.journal.Run.Pace; p != nil {
		s.problem.Pace = *p
		return nil
	}
	pace, err := speed.MeasurePace(ctx, s.Base, s.problem.Classes)
	if err != nil {
		return err
	}
	s.problem.Pace, s.journal.Run.Pace = pace, &pace
	s.journaled(s.journal.Write())
	return nil
}

// screenShare is the part of the budget by whose end screening is over.
const screenShare = 0.5

// screen fills in what every option loses.
func (s *scheduler) screen(ctx context.Context) error {
	s.tell(Phase{"screening", "every spec for each matrix, all else float"})
	ref := s.local.Reference
	basis := s.basis()
	basis.Ctx = ref.Result.Ctx
	windows := score.Spread(score.Windows, ref.Windows())
	dir := s.CacheDir
	if dir != "" {
		dir = filepath.Join(dir, "scores")
	}
	cache := score.OpenCache(dir, work.Hash([]any{basis, windows}))
	defer cache.Close()
	screen := score.Screen{Config: s.Source.Config, Worker: s.worker, Cache: cache, Basis: basis, Windows: windows, Checked: s.Source.Unchanged,
		Elapsed: s.clock.Elapsed, Until: time.Duration(float64(s.Budget) * screenShare), Listen: func(e score.Event) { s.tell(e) }}
	err := screen.Run(ctx, s.problem.Classes)
	if failed := cache.Failed(); failed != nil {
		s.note(fmt.Sprintf("what screening measured is not kept for other runs: %v", failed))
	}
	return err
}

// phases says what the phases of trials are about.
var phases = map[search.Phase]string{
	search.Tuned:   "recipes of the predicted front, measured",
	search.Uniform: "smaller recipes that store all matrices alike",
	search.Refined: "the same bits by a method that trains whole layers",
	search.Around:  "smaller and larger recipes",
	search.Decided: "more of the text for the best, which is not decided",
}

// try has trials measured as long as the policy asks for some and there is time.
func (s *scheduler) try(ctx context.Context) error {
	over, phase := search.Choosing, search.Phase("")
	s.reserve = s.refining()
	for {
		step, ok, err := s.policy.Next(s.problem, s.evidence, over)
		if errors.Is(err, solve.ErrLimits) && len(s.evidence) == 0 {
			err = fmt.Errorf("%w: %w", ErrOptions, err)
		}
		if !ok || err != nil {
			return err
		}
		if step.Stage > search.Choosing {
			s.reserve = 0
		}
		if step.Phase != phase {
			phase = step.Phase
			s.tell(Phase{string(phase), phases[phase]})
			if phase == search.Refined {
				s.trying = s.refining()
			}
		}
		err = s.trial(ctx, step)
		if errors.Is(err, errBudget) && s.reserve > 0 { // which is left for refining
			s.reserve, over = 0, search.Refining
			continue
		}
		if err != nil {
			return err
		}
	}
}

// trial measures a candidate, or recalls it. It is not begun when it cannot end in
// time, unless there is nothing yet.
func (s *scheduler) trial(ctx context.Context, step search.Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := step.Candidate
	s.guess(c)
	p := s.corrections().Predict(s.problem, c)
	t := Trial{ID: len(s.evidence) + 1, Phase: step.Phase, Recipe: c.Recipe, State: Running, SizeBytes: c.Plan.SizeBytes, BPW: c.Plan.BPW, DecodeTPS: p.DecodeTPS, Predicted: &p}
	old, recalled := s.known[c.Key()]
	recalled = recalled && (old.State == Stopped || old.Windows >= s.local.Reference.Windows())
	switch {
	case s.MaxTrials > 0 && len(s.evidence) >= s.MaxTrials:
		return errTrials
	case !recalled && len(s.evidence) == 0 && s.left() < s.saving: // never nothing
		t.State, t.Note = Untested, "there was no time to measure it"
		t.PPLRatio, t.KLD = 1+p.Loss, p.KLD
		s.tell(TrialStarted{t})
		s.learn(t, c)
		return errBudget
	case !recalled && len(s.evidence) > 0 && s.left() < s.trying: // the first stops when it must
		return errBudget
	}
	s.tell(TrialStarted{t})
	if recalled {
		old.ID, old.Phase, old.Predicted, old.DecodeTPS = t.ID, t.Phase, t.Predicted, t.DecodeTPS
		t = s.policy.Judge(old, s.problem.Limits)
	} else {
		begun := s.clock.Elapsed()
		if err := s.measure(ctx, &t, c, step.Beyond); err != nil {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, errBudget):
				return err
			case errors.Is(err, quant.ErrNotFinite) || errors.Is(err, source.ErrChanged): // every trial would fail
				return err
			}
			t.State, t.Note = Failed, err.Error()
		}
		took := s.clock.Elapsed() - begun
		t.Seconds = took.Seconds()
		s.trying = took * 11 / 10
		s.journaled(s.journal.Add(t))
	}
	s.learn(t, c)
	return nil
}

// learn takes a trial in.
func (s *scheduler) learn(t Trial, c solve.Candidate) {
	s.evidence = append(s.evidence, search.Entry{Trial: t, Candidate: c})
	s.tidy()
	trials := s.evidence.Trials()
	s.tell(TrialDone{t, search.Best(trials), search.Front(trials)})
	s.tell(Predicted{s.corrections().Front(s.problem)})
}

// tidy removes the artifacts that the best so far does not need. A search that goes on
// has its trials before it, one after the other.
func (s *scheduler) tidy() {
	all := s.evidence.Trials()
	for _, t := range s.known {
		all = append(all, t)
	}
	if best := search.Best(all); best != nil {
		s.local.Artifacts.KeepOnly(best.Recipe)
	}
}

// measure has a trial measured, no longer than there is time if there is something to
// save already. Training takes long: it is told of, and what it makes is kept.
func (s *scheduler) measure(ctx context.Context, t *Trial, c solve.Candidate, beyond float64) error {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ref := s.local.Reference
	w := work.Work{Kind: work.Trial, Basis: s.basis(), Recipe: &c.Recipe, Beyond: beyond, Keep: c.Refined}
	for i := range ref.Windows() {
		w.Windows = append(w.Windows, i)
	}
	begun, late := s.clock.Elapsed(), false
	out, err := s.worker.Do(limited, w, work.Watcher{
		Quantizing: func(e quant.Event) {
			if c.Refined {
				s.tell(e)
			} else {
				s.clock.Outside(s.rest)
			}
			if len(s.evidence) > 0 && s.left() < 0 {
				cancel(errBudget)
			}
		},
		Quantized: func() { s.saving = max(s.saving, s.savingOf(c, s.clock.Elapsed()-begun)) },
		Window: func(r eval.Result, windows int) bool {
			s.tell(TrialProgress{t.ID, windows, len(w.Windows), r.PPLRatio, r.PPLRatioSE, r.KLDMean})
			late = windows < len(w.Windows) && s.left() < 0
			return late
		},
	})
	if err != nil {
		if context.Cause(limited) == errBudget {
			return errBudget
		}
		return err
	}
	t.Take(out.Result)
	if out.Stopped {
		t.State, t.Note = Stopped, fmt.Sprintf("stopped after %d of %d windows: %d standard errors beyond the goal", t.Windows, len(w.Windows), work.Hopeless)
		if late {
			t.Note = fmt.Sprintf("stopped after %d of %d windows: out of time", t.Windows, len(w.Windows))
		}
		return nil
	}
	*t = s.policy.Judge(*t, s.problem.Limits)
	return nil
}
