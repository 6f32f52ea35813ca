package tune

import (
	"context"
	"errors"
	"time"

	"nibble/eval"
)

// Where time is short the search judges by a part of the text, and what it finds can
// turn out so near to the goal that this part does not tell. More of the text is then
// measured of that one recipe, instead of more recipes.

// decidingShare is the part of the budget that is kept for it.
const decidingShare = 0.15

// forDeciding is the time to keep: none where the whole text is measured anyway.
func (s *search) forDeciding() time.Duration {
	r := s.ref.Result
	if s.Budget == 0 || s.Goal == 0 || r.Windows == s.windowsWanted() {
		return 0
	}
	return time.Duration(decidingShare * float64(s.Budget))
}

// windowsWanted is how many windows of the text may be measured at most.
func (s *search) windowsWanted() int {
	n := s.ref.Result.WindowsInText
	if s.Eval.Chunks > 0 {
		n = min(n, s.Eval.Chunks)
	}
	return n
}

// decide measures the best trial on more of the text if that is undecided and the
// time suffices for as many windows as are expected to tell, or for twice as many as
// there were.
func (s *search) decide(ctx context.Context) error {
	s.reserve, s.deciding = 0, 0
	best := Best(s.trials)
	if s.Goal == 0 || best == nil || ctx.Err() != nil || best.Verdict(s.Goal).Word != eval.Undecided || best.State == Untested {
		return ctx.Err()
	}
	c, windows := s.built[best.Recipe.String()], s.affordable(*best)
	if windows <= best.Windows || windows < min(2*best.Windows, int(best.evidence().Needed(s.Goal)), s.windowsWanted()) {
		return nil
	}
	s.l.send(Phase{"deciding", "more of the text for the best, which is not decided"})
	part, judge := s.ref, s.Eval
	judge.Chunks = windows
	ref, err := eval.NewReference(ctx, s.Base, judge, func(e eval.Event) { s.l.send(e) })
	if err != nil {
		return err
	}
	s.ref = ref
	t := *best
	t.State, t.Phase = Running, "decided"
	s.l.send(TrialStarted{t})
	if err := s.measure(ctx, &t, c); err != nil || t.State == Stopped { // what was known stays
		s.ref = part
		if errors.Is(err, errBudget) {
			err = nil
		}
		return errors.Join(ref.Close(), err)
	}
	*best = t
	s.l.send(TrialDone{t, Best(s.trials), Front(s.trials)})
	return errors.Join(part.Close(), s.j.add(t))
}

// affordable is how many windows of the text the float model and a trial can go
// through in the time that is left, once the trial is quantized again.
func (s *search) affordable(t Trial) int {
	if s.Budget == 0 {
		return s.windowsWanted()
	}
	const spare = 1.2
	left, window := s.left()-s.requantizing(t), s.evaluation/time.Duration(max(1, s.ref.Windows()))
	return min(s.windowsWanted(), int(max(0, float64(left)/(2*spare*float64(max(1, window))))))
}

// requantizing is how long it takes to have a trial's model again.
func (s *search) requantizing(t Trial) time.Duration {
	c := s.built[t.Recipe.String()]
	if s.keeps(c) {
		return 0
	}
	return time.Duration(s.slowness * c.plan.Seconds * float64(time.Second))
}
