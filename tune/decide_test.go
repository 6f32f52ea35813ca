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

// A trial that part of a text does not decide is measured on more of it, if the time
// suffices.
func TestDecide(t *testing.T) {
	const few, more = 2, 10
	ctx := context.Background()
	o := demoOptions(t, more)
	o.Goal = 0.01
	o.Space, _ = ParseSpace("w4 channel sym rtn")
	for _, budget := range []time.Duration{time.Hour, time.Minute} {
		o.Budget = budget
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
		if kept := s.forDeciding(); kept != time.Duration(decidingShare*float64(budget)) {
			t.Errorf("%v of %v are kept for more of the text", kept, budget)
		}
		s.evaluation = time.Second
		if budget == time.Minute {
			s.evaluation = time.Hour // as slow as that
		}
		c, err := s.candidate(make([]int, len(s.classes)))
		if err != nil {
			t.Fatal(err)
		}
		first := Trial{ID: 1, Phase: "tuned", Recipe: c.recipe, SizeBytes: c.plan.SizeBytes}
		if err := s.measure(ctx, &first, c); err != nil {
			t.Fatal(err)
		}
		s.Goal = first.Loss() + first.PPLRatioSE
		first = s.judged(first)
		if first.State != Undecided || first.Windows != few || first.WindowsInText != 78 || first.Tokens != few*255 {
			t.Fatalf("%+v", first)
		}
		s.record(first, c)
		if err := s.decide(ctx); err != nil {
			t.Fatal(err)
		}
		want, phase := more, "decided"
		if budget == time.Minute {
			want, phase = few, "tuned"
		}
		got := s.trials[0]
		if got.Windows != want || got.Phase != phase || s.ref.Windows() != want || got.State != State(got.Verdict(s.Goal).Word) {
			t.Errorf("in %v: %+v", budget, got)
		}
		if want == more && !(got.PPLRatioSE < 0.75*first.PPLRatioSE) || math.IsNaN(got.PPLRatio) {
			t.Errorf("± %g on %d windows, ± %g on %d", got.PPLRatioSE, got.Windows, first.PPLRatioSE, few)
		}
		s.ref.Close()
	}
}
