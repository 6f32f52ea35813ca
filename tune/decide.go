package tune

import (
	"context"
	"errors"
	"time"

	"nibble/eval"
)

// Where time is short the search judges by a part of the text. That does not prove
// anything of the whole text, of which the first windows can be the easier ones, and
// it can leave the best so near to the goal that it does not tell. In the end, more of
// the text is measured of that one recipe.

// The part of the budget that is kept for the whole text, at most, and what is kept
// where that would take more.
const (
	mostDeciding  = 0.35
	leastDeciding = 0.15
)

// forDeciding is the time to keep: none where the whole text is measured anyway.
func (s *search) forDeciding() time.Duration {
	if s.Budget == 0 || s.Goal == 0 || s.ref.Windows() >= s.windowsWanted() {
		return 0
	}
	if whole := s.going(s.windowsWanted(), true); whole <= time.Duration(mostDeciding*float64(s.Budget)) {
		return whole
	}
	return time.Duration(leastDeciding * float64(s.Budget))
}

// windowsWanted is how many windows of the text are to be measured in the end.
func (s *search) windowsWanted() int {
	n := s.ref.Result.WindowsInText
	if s.Eval.Chunks > 0 {
		n = min(n, s.Eval.Chunks)
	}
	return n
}

// going is how long a trial takes to go through so many windows, and with it the float
// model if it has to.
func (s *search) going(windows int, float bool) time.Duration {
	const spare = 1.2
	t := spare * float64(windows) * float64(s.window)
	if float {
		t *= 2
	}
	return time.Duration(t)
}

// decide measures the best trial on the whole text, if that is open and the time
// suffices, or on as much as there is time for if that may tell. What turns out to
// miss the goal leaves the next best to decide.
func (s *search) decide(ctx context.Context) error {
	s.reserve, s.deciding = 0, 0
	for ctx.Err() == nil {
		best := Best(s.trials)
		if s.Goal == 0 || best == nil || best.State != Promising && best.State != Undecided && best.State != Stopped {
			break
		}
		windows := s.affordable(*best)
		if windows <= best.Windows || windows < min(2*best.Windows, s.windowsWanted()) {
			break
		}
		if more, err := s.remeasure(ctx, best, windows); !more || err != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
	return ctx.Err()
}

// remeasure measures a trial on so many windows, and reports whether that was done.
func (s *search) remeasure(ctx context.Context, best *Trial, windows int) (bool, error) {
	s.l.send(Phase{"deciding", "more of the text for the best, which is not decided"})
	part := s.ref
	if windows > part.Windows() {
		judge := s.Eval
		judge.Chunks = windows
		ref, err := eval.NewReference(ctx, s.Base, judge, func(e eval.Event) { s.l.send(e) })
		if err != nil {
			return false, err
		}
		s.ref = ref
	}
	t := *best
	t.State, t.Phase = Running, "decided"
	s.l.send(TrialStarted{t})
	err := s.measure(ctx, &t, s.built[t.Recipe.String()])
	if err != nil || t.State == Stopped { // what was known stays
		if errors.Is(err, errBudget) {
			err = nil
		}
		if s.ref != part {
			err = errors.Join(err, s.ref.Close())
			s.ref = part
		}
		return false, err
	}
	if s.ref != part {
		err = part.Close()
	}
	*best = t
	s.l.send(TrialDone{t, Best(s.trials), Front(s.trials)})
	return true, errors.Join(err, s.j.add(t))
}

// affordable is how many windows of the text there is time for, once a trial is
// quantized again.
func (s *search) affordable(t Trial) int {
	wanted, left := s.windowsWanted(), s.left()-s.requantizing(t)
	switch have := s.ref.Windows(); {
	case s.Budget == 0 || left >= s.going(wanted, have < wanted):
		return wanted
	case left >= s.going(have, false) && have > t.Windows:
		return have
	}
	return int(max(0, float64(left)/float64(max(1, s.going(1, true)))))
}

// requantizing is how long it takes to have a trial's model again.
func (s *search) requantizing(t Trial) time.Duration {
	c := s.built[t.Recipe.String()]
	if s.keeps(c) {
		return 0
	}
	return time.Duration(s.slowness * c.plan.Seconds * float64(time.Second))
}
