package search

import (
	"math"
	"slices"
	"testing"

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

func TestFront(t *testing.T) {
	trials := []Trial{
		{ID: 1, State: Missed, SizeBytes: 10, PPLRatio: 1.05}, {ID: 2, State: Reached, SizeBytes: 20, PPLRatio: 1.01},
		{ID: 3, State: Missed, SizeBytes: 15, PPLRatio: 1.06}, {ID: 4, State: Stopped, SizeBytes: 5, PPLRatio: 1.00},
		{ID: 5, State: Reached, SizeBytes: 30, PPLRatio: 1.001},
	}
	var ids []int
	for _, p := range Front(trials) {
		ids = append(ids, p.Trial)
	}
	if len(ids) != 3 || ids[0] != 1 || ids[1] != 2 || ids[2] != 5 {
		t.Errorf("front %v, want [1 2 5]", ids)
	}
	if b := Best(trials); b.ID != 2 {
		t.Errorf("best is %d, want 2", b.ID)
	}
}

// The best trial has the best ending; of those that reached the goal it is the
// smallest, of those that did not the one of least loss.
func TestBestTrial(t *testing.T) {
	endings := []State{Untested, Stopped, Missed, Undecided, Measured, Reached} // from the worst on
	for i, worse := range endings {
		for _, better := range endings[i+1:] {
			// The worse ending has the better figures, and stands on either side.
			a, b := Trial{ID: 1, State: worse, SizeBytes: 1, PPLRatio: 1}, Trial{ID: 2, State: better, SizeBytes: 9, PPLRatio: 1.5, KLD: 1}
			for _, trials := range [][]Trial{{a, b}, {b, a}} {
				if got := Best(trials); got.ID != 2 {
					t.Errorf("%s is taken for better than %s", worse, better)
				}
			}
		}
	}
	for name, c := range map[string][2]Trial{ // the first is the better
		"the smaller":                      {{State: Reached, SizeBytes: 5, PPLRatio: 1.01}, {State: Reached, SizeBytes: 6, PPLRatio: 1}},
		"of equal size the better":         {{State: Reached, SizeBytes: 5, PPLRatio: 1}, {State: Reached, SizeBytes: 5, PPLRatio: 1.01}},
		"the nearer to the goal":           {{State: Missed, SizeBytes: 9, PPLRatio: 1.02, KLD: 2}, {State: Missed, SizeBytes: 5, PPLRatio: 1.03, KLD: 1}},
		"the nearer, undecided":            {{State: Undecided, SizeBytes: 9, PPLRatio: 1.02, KLD: 2}, {State: Undecided, SizeBytes: 5, PPLRatio: 1.03, KLD: 1}},
		"the less divergent, without goal": {{State: Measured, SizeBytes: 9, PPLRatio: 1.03, KLD: 1}, {State: Measured, SizeBytes: 5, PPLRatio: 1.02, KLD: 2}},
	} {
		c[0].ID, c[1].ID = 1, 2
		for _, trials := range [][]Trial{{c[0], c[1]}, {c[1], c[0]}} {
			if got := Best(trials); got.ID != 1 {
				t.Errorf("%s: %+v is taken for the best", name, *got)
			}
		}
	}
	if Best([]Trial{{State: Failed}, {State: Running}}) != nil || Best(nil) != nil {
		t.Error("what was not measured is taken for the best")
	}
}

// A front has measured trials alone: of each size the best, and none that a
// smaller one beats.
func TestFrontOfTrials(t *testing.T) {
	var trials []Trial
	for i, s := range []State{Failed, Running, Untested, Stopped, Missed, Undecided, Measured, Reached} {
		trials = append(trials, Trial{ID: i, State: s, SizeBytes: int64(10 + i), PPLRatio: 1.5 - float64(i)/10})
	}
	trials = append(trials, Trial{ID: 20, State: Reached, SizeBytes: 17, PPLRatio: 0.7}, Trial{ID: 21, State: Missed, SizeBytes: 15, PPLRatio: 1.2}, Trial{ID: 22, State: Reached, SizeBytes: 18, PPLRatio: 0.7, BPW: 4, DecodeTPS: 5})
	var ids []int
	for _, p := range Front(trials) {
		ids = append(ids, p.Trial)
	}
	if !slices.Equal(ids, []int{4, 5, 6, 20}) {
		t.Errorf("the front is %v", ids)
	}
	p := Front(trials[10:])[0]
	if p.Trial != 22 || p.SizeBytes != 18 || p.BPW != 4 || p.DecodeTPS != 5 || math.Abs(p.Loss+0.3) > 1e-12 {
		t.Errorf("%+v", p)
	}
}
