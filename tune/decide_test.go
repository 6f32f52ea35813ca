package tune

import (
	"context"
	"math"
	"testing"
	"time"

	"nibble/eval"
)

func TestTrialVerdict(t *testing.T) {
	full := Trial{PPLRatio: 1.009, PPLRatioSE: 0.0002, Windows: 38, WindowsInText: 38, Tokens: 9690}
	for _, c := range []struct {
		name  string
		of    func(*Trial)
		state State
		goal  float64
		want  string
	}{
		{"for sure", nil, Reached, 0.01, eval.Reached},
		{"perhaps", func(x *Trial) { x.PPLRatioSE = 0.007 }, Undecided, 0.01, eval.Undecided},
		{"beyond", func(x *Trial) { x.PPLRatio = 1.02 }, Missed, 0.01, eval.Missed},
		{"too slow", nil, Missed, 0.01, eval.Missed},
		{"on part of the text", func(x *Trial) { x.Windows = 3 }, Promising, 0.01, eval.Undecided},
		{"looks reached, but was stopped", func(x *Trial) { x.Windows = 3 }, Stopped, 0.01, eval.Undecided},
		{"hopeless", func(x *Trial) { x.PPLRatio = 1.02; x.Windows = 4 }, Stopped, 0.01, eval.Missed},
		{"not measured", nil, Untested, 0.01, eval.Undecided},
		{"limits alone", nil, Measured, 0, eval.Reached},
		{"limits alone, stopped", nil, Stopped, 0, eval.Undecided},
		{"limits alone, not measured", nil, Untested, 0, eval.Undecided},
		{"failed", nil, Failed, 0.01, eval.Undecided},
	} {
		x := full
		if x.State = c.state; c.of != nil {
			c.of(&x)
		}
		v := x.Verdict(c.goal)
		if v.Word != c.want || v.Goal != c.goal || (v.Decide != "") != (c.want == eval.Undecided) {
			t.Errorf("%s: %+v, want %s", c.name, v, c.want)
		}
	}
}

// What ends a search before it is done leaves open whether there is better.
func TestSearchVerdict(t *testing.T) {
	o := demoOptions(t, 1)
	s, err := newSearch(o, nil)
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
		s.judge(&res)
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
	o.Space, _ = ParseSpace("w4 channel sym rtn")
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
		s, err := newSearch(o, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.j = &journal{}
		judge := o.Eval
		judge.Chunks = few
		if s.ref, err = eval.NewReference(ctx, o.Base, judge, nil); err != nil {
			t.Fatal(err)
		}
		s.window = c.window
		if kept := s.forDeciding().Seconds() / o.Budget.Seconds(); math.Abs(kept-c.kept) > 1e-6 {
			t.Errorf("%s: %g of the budget is kept for the whole text, want %g", c.name, kept, c.kept)
		}
		cand, err := s.candidate(make([]int, len(s.classes)))
		if err != nil {
			t.Fatal(err)
		}
		first := Trial{ID: 1, Phase: "tuned", Recipe: cand.recipe, SizeBytes: cand.plan.SizeBytes}
		if err := s.measure(ctx, &first, cand); err != nil {
			t.Fatal(err)
		}
		s.Goal = first.Loss() + c.goal*first.PPLRatioSE
		first = s.judged(first)
		if first.State != c.first || first.Windows != few || first.WindowsInText != 78 || first.Tokens != few*255 || first.Verdict(s.Goal).Word != eval.Undecided {
			t.Fatalf("%s: %+v", c.name, first)
		}
		s.record(first, cand)
		if err := s.decide(ctx); err != nil {
			t.Fatal(err)
		}
		got := s.trials[0]
		if got.Windows != c.want || s.ref.Windows() != c.want || (got.Phase == "decided") != (c.want == whole) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if c.want == few && got.State != c.first || c.want == whole && (got.State == Promising || got.State != State(got.Verdict(s.Goal).Word) || !(got.PPLRatioSE < 0.75*first.PPLRatioSE)) {
			t.Errorf("%s: %s on %d windows, ± %g, ± %g before", c.name, got.State, got.Windows, got.PPLRatioSE, first.PPLRatioSE)
		}
		if c.first == Promising && c.want == whole && got.State != Reached {
			t.Errorf("%s: %s", c.name, got.State)
		}
		s.ref.Close()
	}
}
