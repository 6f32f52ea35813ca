package tune

import (
	"context"
	"errors"
	"time"

	"nibble/eval"
	"nibble/tune/search"
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
func (s *scheduler) forDeciding() time.Duration {
	if s.Budget == 0 || s.Goal == 0 || s.local.Reference.Windows() >= s.policy.Windows {
		return 0
	}
	if whole := s.going(s.policy.Windows, true); whole <= time.Duration(mostDeciding*float64(s.Budget)) {
		return whole
	}
	return time.Duration(leastDeciding * float64(s.Budget))
}

// going is how long a trial takes to go through so many windows, and with it the float
// model if it has to.
func (s *scheduler) going(windows int, float bool) time.Duration {
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
func (s *scheduler) decide(ctx context.Context) error {
	s.reserve, s.deciding = 0, 0
	for ctx.Err() == nil {
		open := s.policy.Open(s.evidence)
		if open < 0 {
			break
		}
		best := &s.evidence[open]
		windows := s.affordable(*best)
		if windows <= best.Windows || windows < min(2*best.Windows, s.policy.Windows) {
			break
		}
		if more, err := s.remeasure(ctx, best, windows); !more || err != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
	return ctx.Err()
}

// remeasure measures a trial on so many windows, and reports whether that was done.
func (s *scheduler) remeasure(ctx context.Context, best *search.Entry, windows int) (bool, error) {
	s.tell(Phase{string(search.Decided), phases[search.Decided]})
	part := s.local.Reference
	if windows > part.Windows() {
		judge := s.Eval
		judge.Chunks = windows
		ref, err := eval.NewReference(ctx, s.Base, judge, func(e eval.Event) { s.tell(e) })
		if err != nil {
			return false, err
		}
		s.judgeBy(ref)
	}
	t := best.Trial
	t.State, t.Phase = Running, search.Decided
	s.tell(TrialStarted{t})
	err := s.measure(ctx, &t, best.Candidate, 0)
	if err != nil || t.State == Stopped { // what was known stays
		if errors.Is(err, errBudget) {
			err = nil
		}
		if ref := s.local.Reference; ref != part {
			s.judgeBy(part)
			err = errors.Join(err, ref.Close())
		}
		return false, err
	}
	if s.local.Reference != part {
		err = part.Close()
	}
	best.Trial = t
	trials := s.evidence.Trials()
	s.tell(TrialDone{t, search.Best(trials), search.Front(trials)})
	return true, errors.Join(err, s.journal.Add(t))
}

// affordable is how many windows of the text there is time for, once a trial is
// quantized again.
func (s *scheduler) affordable(t search.Entry) int {
	again := time.Duration(0)
	if !s.keeps(t.Candidate) {
		again = s.quantizing(t.Candidate.Plan)
	}
	wanted, left := s.policy.Windows, s.left()-again
	switch have := s.local.Reference.Windows(); {
	case s.Budget == 0 || left >= s.going(wanted, have < wanted):
		return wanted
	case left >= s.going(have, false) && have > t.Windows:
		return have
	}
	return int(max(0, float64(left)/float64(max(1, s.going(1, true)))))
}
