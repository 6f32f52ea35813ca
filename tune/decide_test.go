package tune

import (
	"context"
	"math"
	"testing"
	"time"

	"nibble/eval"
	"nibble/tune/journal"
	"nibble/tune/search"
)

// What ends a search before it is done leaves open whether there is better.
func TestSearchVerdict(t *testing.T) {
	o := demoOptions(t, 1)
	s, err := newScheduler(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	missed := Trial{ID: 1, State: Missed, PPLRatio: 1.05, PPLRatioSE: 0.001, Windows: 9, WindowsInText: 9, Tokens: 2295}
	within := Trial{ID: 1, State: Reached, PPLRatio: 1.001, PPLRatioSE: 0.001, Windows: 9, WindowsInText: 9, Tokens: 2295}
	for _, c := range []struct {
		best      Trial
		stoppedBy string
		want      string
	}{
		{within, "done", eval.Reached},
		{within, "budget", eval.Reached},
		{missed, "done", eval.Missed},
		{missed, "budget", eval.Undecided},
		{missed, "trials", eval.Undecided},
		{missed, "cancelled", eval.Undecided},
	} {
		res := Result{Best: &c.best, StoppedBy: c.stoppedBy}
		s.verdict(&res)
		if res.Word != c.want || res.Reached != (c.want == eval.Reached) || (res.Advice != "") != (c.best.State == Missed) || res.Windows != 9 || res.Loss != c.best.Loss() {
			t.Errorf("%s, stopped by %s: %+v, want %s", c.best.State, c.stoppedBy, res, c.want)
		}
	}
}

// A trial that was measured on part of a text is measured on the whole, if the time
// suffices: only that can reach a goal.
func TestDecide(t *testing.T) {
	const few, whole = 2, 10
	ctx := context.Background()
	o := demoOptions(t, whole)
	o.Goal = 0.01
	o.Specs, _ = ParseSpecs("w4 channel sym rtn")
	for _, c := range []struct {
		name   string
		window time.Duration // that one takes, as the search thinks
		goal   float64       // standard errors above the loss
		first  State
		want   int     // windows in the end
		kept   float64 // of the budget, beforehand
	}{
		{"near the goal", time.Second, 1, Undecided, whole, 24.0 / 3600},
		{"within it", time.Second, 30, Promising, whole, 24.0 / 3600},
		{"no time", time.Hour, 30, Promising, few, leastDeciding},
	} {
		o.Budget = time.Hour
		s, err := newScheduler(o, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.journal = &journal.Journal{}
		judge := o.Eval
		judge.Chunks = few
		s.Eval.Chunks = whole
		ref, err := eval.NewReference(ctx, o.Base, judge, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.judgeBy(ref)
		s.window = c.window
		if kept := s.forDeciding().Seconds() / o.Budget.Seconds(); math.Abs(kept-c.kept) > 1e-6 {
			t.Errorf("%s: %g of the budget is kept for the whole text, want %g", c.name, kept, c.kept)
		}
		cand, err := s.problem.Candidate(make([]int, len(s.problem.Classes)))
		if err != nil {
			t.Fatal(err)
		}
		first := Trial{ID: 1, Phase: search.Tuned, Recipe: cand.Recipe, SizeBytes: cand.Plan.SizeBytes}
		if err := s.measure(ctx, &first, cand, 0); err != nil {
			t.Fatal(err)
		}
		s.policy.Goal = first.Loss() + c.goal*first.PPLRatioSE
		s.Goal = s.policy.Goal
		first = s.policy.Judge(first, s.problem.Limits)
		if first.State != c.first || first.Windows != few || first.WindowsInText != 78 || first.Tokens != few*255 || first.Verdict(s.Goal).Word != eval.Undecided {
			t.Fatalf("%s: %+v", c.name, first)
		}
		s.learn(first, cand)
		if err := s.decide(ctx); err != nil {
			t.Fatal(err)
		}
		got := s.evidence[0].Trial
		if got.Windows != c.want || s.local.Reference.Windows() != c.want || (got.Phase == search.Decided) != (c.want == whole) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if c.want == few && got.State != c.first || c.want == whole && (got.State == Promising || got.State != State(got.Verdict(s.Goal).Word) || !(got.PPLRatioSE < 0.75*first.PPLRatioSE)) {
			t.Errorf("%s: %s on %d windows, ± %g, ± %g before", c.name, got.State, got.Windows, got.PPLRatioSE, first.PPLRatioSE)
		}
		if c.first == Promising && c.want == whole && got.State != Reached {
			t.Errorf("%s: %s", c.name, got.State)
		}
		s.local.Reference.Close()
	}
}
