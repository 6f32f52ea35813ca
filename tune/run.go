package tune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nibble/eval"
	"nibble/model/source"
	"nibble/quant"
	"nibble/tune/search"
	"nibble/tune/solve"
	"nibble/tune/space"
	"nibble/tune/work"
)

// Limits that end the search.
var (
	errBudget = errors.New("budget")
	errTrials = errors.New("trials")
)

// Run searches, then saves the best. Cancelling ctx ends the search and saves
// the best so far; it is an error only if there is none.
// A run whose result is saved already, but which was killed before it could say
// so, or is asked for again, returns that result.
func Run(ctx context.Context, o Options, l Listener) (res Result, err error) {
	err = source.Guard(func() error {
		s, err := newScheduler(o, l)
		if err != nil {
			return err
		}
		res, err = s.run(ctx)
		return err
	})
	return res, err
}

func newScheduler(o Options, l Listener) (*scheduler, error) {
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	chosen := len(o.Specs) > 0
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &scheduler{Options: o, specsChosen: chosen, asked: newRecord(o), clock: work.NewClock(o.Started), forecast: forecast{slowness: 1}}
	s.listen, s.rest = l, func() {}
	s.local = &work.Local{Source: o.Source, Base: o.Base, Calibration: o.Calibration, Unkept: s.journaled}
	s.worker = s.local
	return s, s.pose(o.Specs)
}

// pose states the problem of choosing from specs.
func (s *scheduler) pose(specs []quant.Spec) (err error) {
	s.problem, err = solve.New(s.Source, s.Calibration, space.NewOffer(specs), s.Fused, s.limits())
	if errors.Is(err, solve.ErrLimits) {
		err = fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return err
}

func (s *scheduler) run(ctx context.Context) (Result, error) {
	alive, end := context.WithCancel(context.Background()) // also while saving what a cancelled search found
	heart := s.clock.Watch(alive)
	s.rest = func() { s.Pause.Wait(ctx) }
	defer func() { end(); heart.Wait() }()
	if s.Out != "" && s.Claim == nil {
		res, found, err := s.claim()
		if found || err != nil {
			return res, err
		}
		defer s.Claim.Release()
	}
	if s.Out != "" {
		if err := s.Claim.Room(s.problem.Disk); err != nil {
			return Result{}, err
		}
	}
	if err := s.openRun(); err != nil {
		return Result{}, err
	}
	defer s.journal.Close()
	err := s.Source.Guard(func() error { return s.search(ctx) })
	if ref := s.local.Reference; ref != nil {
		defer ref.Close()
	}
	stoppedBy := "done"
	switch {
	case errors.Is(err, source.ErrChanged):
		return Result{}, errors.Join(err, s.journal.Finish("error", nil))
	case ctx.Err() != nil:
		stoppedBy = "cancelled"
	case errors.Is(err, errBudget):
		stoppedBy = "budget"
	case errors.Is(err, errTrials):
		stoppedBy = "trials"
	case err != nil:
		s.journaled(s.journal.Finish("error", nil))
		return Result{}, err
	}
	return s.conclude(ctx, stoppedBy)
}

// search goes through the parts of a search.
func (s *scheduler) search(ctx context.Context) error {
	if s.Source.Quantized {
		s.note(quant.Requantized)
	}
	if err := s.reference(ctx); err != nil {
		return err
	}
	if err := s.afford(ctx); err != nil {
		return err
	}
	if err := s.measureSpeed(ctx); err != nil {
		return err
	}
	if err := s.screen(ctx); err != nil {
		return err
	}
	s.tell(Predicted{s.corrections().Front(s.problem)})
	s.deciding = s.forDeciding()
	err := s.try(ctx)
	if err != nil && !errors.Is(err, errBudget) && !errors.Is(err, errTrials) {
		return err
	}
	return errors.Join(err, s.decide(ctx))
}

// verdict gives the verdict about the best trial and says what would help. A search
// that was ended before it was done has not shown that nothing reaches the goal.
func (s *scheduler) verdict(res *Result) {
	best := *res.Best
	res.Verdict, res.Windows, res.WindowsInText = best.Verdict(s.Goal), best.Windows, best.WindowsInText
	res.Reached = res.Word == eval.Reached
	if res.Word != eval.Missed {
		return
	}
	res.Advice = s.policy.Advice(s.problem, s.evidence, best)
	if more, ended := map[string]string{"budget": "more time", "trials": "more trials", "cancelled": "going on"}[res.StoppedBy]; ended {
		res.Word, res.Decide = eval.Undecided, more+" would decide: the search was not done, and the best so far misses the goal"
	}
}

// conclude reports, explains and saves what was found.
func (s *scheduler) conclude(ctx context.Context, stoppedBy string) (Result, error) {
	trials := s.evidence.Trials()
	res := Result{Trials: trials, StoppedBy: stoppedBy, Notes: s.notes}
	res.Goal = s.Goal
	if ref := s.local.Reference; ref != nil {
		res.BasePPL = ref.Result.PPL
	}
	if len(trials) == 0 && ctx.Err() != nil {
		s.journaled(s.journal.Finish(stoppedBy, nil))
		return res, ctx.Err()
	}
	res.Front, res.Best = search.Front(trials), search.Best(trials)
	if res.Best == nil {
		s.journaled(s.journal.Finish("error", nil))
		return res, fmt.Errorf("every trial failed; the last: %s", trials[len(trials)-1].Note)
	}
	s.verdict(&res)
	res.Choices = s.problem.Explain(res.Best.Recipe, s.Goal > 0)
	s.tell(Explained{res.Best.ID, res.Choices})
	if s.Out != "" {
		if err := s.save(&res); err != nil {
			s.journaled(s.journal.Finish("error", res.Choices))
			return res, err
		}
	} else if dir := s.local.Artifacts.Of(res.Best.Recipe); dir != "" {
		if _, err := quant.ReadReport(dir); err == nil {
			res.Artifact = dir
		}
	}
	res.Seconds = s.clock.Elapsed().Seconds()
	s.journaled(s.journal.Finish(stoppedBy, res.Choices))
	res.Notes = s.notes
	return res, nil
}
