package search

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/eval"
	"nibble/model"
	"nibble/model/modeltest"
	"nibble/tune/solve"
	"nibble/tune/space"
)

// problem is one of nine matrices whose scores are drawn.
func problem(t *testing.T, specs string, limits solve.Limits) solve.Problem {
	t.Helper()
	c := modeltest.Small()
	c.Layers, c.DType = 1, "BF16"
	ck, err := model.Open(modeltest.New(1, c).Write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	parsed, err := space.Parse(specs)
	if err != nil {
		t.Fatal(err)
	}
	p, err := solve.New(ck, nil, space.NewOffer(parsed), false, limits)
	if err != nil {
		t.Fatal(err)
	}
	p.Pace = solve.Pace{Factor: 1}
	rng := rand.New(rand.NewPCG(21, 22))
	for i := range p.Classes {
		damage := 0.004 * rng.ExpFloat64()
		for j := range p.Classes[i].Options {
			o := &p.Classes[i].Options[j]
			switch {
			case o.Spec.Kept():
			case o.Spec.Bits == 8:
				o.KLD = damage / 100
			case o.Spec.Group > 0:
				o.KLD = damage
			default:
				o.KLD = 2 * damage
			}
		}
	}
	return p
}

// world says what trials would measure: a divergence that is not the sum that the
// scores predict, and for refined recipes less of it.
type world struct {
	policy Policy
	factor float64
}

// trial measures a step.
func (w world) trial(p solve.Problem, s Step) Entry {
	kld := w.factor * math.Pow(s.Candidate.Sum, 1.05)
	if s.Candidate.Refined {
		kld *= 0.7
	}
	t := Trial{Phase: s.Phase, Recipe: s.Candidate.Recipe, SizeBytes: s.Candidate.Plan.SizeBytes, BPW: s.Candidate.Plan.BPW, KLD: kld,
		PPLRatio: math.Exp(0.8 * kld), PPLRatioSE: 0.0002, Tokens: w.policy.Tokens, Windows: w.policy.Windows, WindowsInText: w.policy.Windows}
	return Entry{Trial: w.policy.Judge(t, p.Limits), Candidate: s.Candidate}
}

// searched lets a policy search to its end, from some evidence on.
func (w world) searched(t *testing.T, p solve.Problem, e Evidence, over Stage) Evidence {
	t.Helper()
	for range 40 {
		s, ok, err := w.policy.Next(p, e, over)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return e
		}
		if _, again := e.find(s.Candidate); again {
			t.Fatalf("%s is asked for twice", s.Candidate.Key())
		}
		if (s.Beyond > 0) != (w.policy.Goal > 0 && (s.Phase == Tuned || s.Phase == Refined)) {
			t.Errorf("a trial %s may end beyond %g", s.Phase, s.Beyond)
		}
		e = append(e, w.trial(p, s))
	}
	t.Fatal("the search does not end")
	return nil
}

const (
	offered = "w4 g32/channel sym gptq, w8 g32 sym rtn, keep"
	refined = offered + ", w4 g32 sym autoround"
)

// phases lists why the trials were made.
func phases(e Evidence) (out []Phase) {
	for _, m := range e {
		out = append(out, m.Phase)
	}
	return out
}

// The search finds the smallest recipe of all that reach the goal, whatever the scores
// get wrong, up to the distance that it gives up at.
func TestGoalIsReachedAtTheLeastSize(t *testing.T) {
	p := problem(t, offered, solve.Limits{})
	for _, goal := range []float64{0.002, 0.01, 0.05} {
		for _, factor := range []float64{0.5, 1, 2} {
			w := world{Policy{Goal: goal, Tokens: 20_000, Windows: 40}, factor}
			e := w.searched(t, p, nil, Choosing)
			best := Best(e.Trials())
			if best == nil || best.State != Reached {
				t.Fatalf("goal %g: the best is %+v", goal, best)
			}
			sum := math.Pow(math.Log1p(goal-eval.SureErrors*0.0002)/0.8/factor, 1/1.05) // that just reaches it
			least, err := p.Smallest(sum)
			if err != nil {
				t.Fatal(err)
			}
			if float64(best.SizeBytes) > 1.08*float64(least.Plan.SizeBytes) {
				t.Errorf("goal %g, off by %g: %d bytes after %d trials, %d are possible", goal, factor, best.SizeBytes, len(e), least.Plan.SizeBytes)
			}
		}
	}
}

// What is next depends on nothing but problem and evidence: a search that goes on from
// any of its moments ends in the same way, and the order of the evidence does not
// matter.
func TestNextIsPure(t *testing.T) {
	p := problem(t, refined, solve.Limits{})
	w := world{Policy{Goal: 0.01, Tokens: 20_000, Windows: 40}, 1.3}
	all := w.searched(t, p, nil, Choosing)
	for n := range all {
		again := w.searched(t, p, slices.Clone(all[:n]), Choosing)
		if !slices.Equal(phases(again), phases(all)) || again[len(again)-1].Candidate.Key() != all[len(all)-1].Candidate.Key() {
			t.Errorf("after %d trials the search goes on otherwise", n)
		}
	}
	last := len(all) - 1
	if last < 3 {
		t.Fatalf("only %d trials", len(all))
	}
	mixed := slices.Clone(all[:last])
	slices.Reverse(mixed)
	s, ok, err := w.policy.Next(p, mixed, Choosing)
	if want := all[last]; err != nil || !ok || s.Candidate.Key() != want.Candidate.Key() {
		t.Errorf("evidence in another order: %+v, %v, %v", s.Candidate.Recipe, ok, err)
	}
}

// What comes next, and why, in the situations of a search.
func TestNext(t *testing.T) {
	for _, c := range []struct {
		name   string
		specs  string
		limits solve.Limits
		goal   float64
		after  int // trials
		over   Stage
		stage  Stage
		phase  Phase
		done   bool
	}{
		{"at first the solver's choice", offered, solve.Limits{}, 0.01, 0, Choosing, Choosing, Tuned, false},
		{"within limits, one choice and then around it", offered, solve.Limits{BPW: 6.5}, 0, 1, Choosing, Widening, Around, false},
		{"what is chosen is refined", refined, solve.Limits{BPW: 6.5}, 0, 1, Choosing, Refining, Refined, false},
		{"and then around it", refined, solve.Limits{BPW: 6.5}, 0, 2, Choosing, Widening, Around, false},
		{"no more time for choosing", refined, solve.Limits{}, 0.01, 1, Refining, Refining, Refined, false},
		{"nor for refining", refined, solve.Limits{}, 0.01, 1, Widening, Widening, Around, false},
		{"all is refined", "w4 g32/channel sym autoround", solve.Limits{BPW: 6.5}, 0, 0, Choosing, Choosing, Tuned, false},
		{"one spec has one recipe", "w4 channel sym rtn", solve.Limits{}, 0.01, 1, Choosing, 0, "", true},
	} {
		p := problem(t, c.specs, c.limits)
		w := world{Policy{Goal: c.goal, Tokens: 20_000, Windows: 40}, 1}
		var e Evidence
		for range c.after {
			s, ok, err := w.policy.Next(p, e, Choosing)
			if err != nil || !ok {
				t.Fatalf("%s: %v, %v", c.name, ok, err)
			}
			e = append(e, w.trial(p, s))
		}
		s, ok, err := w.policy.Next(p, e, c.over)
		if err != nil || ok == c.done || s.Phase != c.phase || s.Stage != c.stage {
			t.Errorf("%s: %v, %s in stage %d, %v", c.name, ok, s.Phase, s.Stage, err)
		}
		if ok && s.Candidate.Refined != (c.phase == Refined || p.Offer.Always) {
			t.Errorf("%s: refined %v", c.name, s.Candidate.Refined)
		}
	}
	p := problem(t, offered, solve.Limits{})
	if _, _, err := (Policy{Goal: 0.01, Tokens: 1000}).Next(p.With(solve.Limits{RSS: 1}), nil, Choosing); !errors.Is(err, solve.ErrLimits) {
		t.Errorf("a byte of memory: %v", err)
	}
}

// Trials that fail are no end, and teach nothing.
func TestFailedTrials(t *testing.T) {
	p := problem(t, offered, solve.Limits{})
	w := Policy{Goal: 0.01, Tokens: 20_000, Windows: 40}
	var e Evidence
	for range 40 {
		s, ok, err := w.Next(p, e, Choosing)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		e = append(e, Entry{Trial: Trial{Phase: s.Phase, Recipe: s.Candidate.Recipe, State: Failed}, Candidate: s.Candidate})
	}
	if len(e) < 2 || len(e) == 40 || Learn(e, false) != Learn(nil, false) {
		t.Errorf("%d trials, %+v learned", len(e), Learn(e, false))
	}
}

// A trial is open if more of the text would decide.
func TestOpen(t *testing.T) {
	w := Policy{Goal: 0.01}
	for state, open := range map[State]bool{Promising: true, Undecided: true, Stopped: true, Reached: false, Missed: false, Untested: false} {
		if got := w.Open(Evidence{{Trial: Trial{State: Failed}}, {Trial: Trial{State: state}}}); (got == 1) != open {
			t.Errorf("%s: %d", state, got)
		}
	}
	if got := (Policy{}).Open(Evidence{{Trial: Trial{State: Undecided}}}); got >= 0 {
		t.Error("without a goal there is nothing to decide")
	}
	if got := w.Open(nil); got >= 0 {
		t.Error("without trials there is nothing to decide")
	}
}
