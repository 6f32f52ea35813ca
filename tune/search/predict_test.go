package search

import (
	"math"
	"testing"

	"nibble/eval"
	"nibble/tune/solve"
)

func TestFit(t *testing.T) {
	near := func(what string, got, want, share float64) {
		t.Helper()
		if math.Abs(got-want) > share*math.Abs(want) {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	none := fit(nil)
	near("divergence without trials", none.KLD(0.01), 0.01, 1e-9)
	near("loss without trials", none.Loss(0.01), math.Expm1(0.01), 1e-9)

	// A model where errors amplify: divergence = 1.4 sum^1.05, loss at 0.6 of it.
	truth := Predictor{scale: 1.4, exponent: 1.05, slope: 0.6}
	var trials []observation
	for _, sum := range []float64{0.003, 0.01, 0.03, 0.1} {
		k := truth.KLD(sum)
		trials = append(trials, observation{sum: sum, kld: k, ln: math.Log1p(truth.Loss(sum)), lnSE: 1e-4})
	}
	one, all := fit(trials[:1]), fit(trials)
	near("divergence after one trial", one.KLD(0.003), truth.KLD(0.003), 0.02)
	for _, sum := range []float64{0.001, 0.02, 0.2} {
		near("divergence", all.KLD(sum), truth.KLD(sum), 0.03)
		near("loss", all.Loss(sum), truth.Loss(sum), 0.15)
		near("inverse of the divergence", all.inverse(all.KLD(sum)), sum, 1e-9)
	}
	// What is aimed at is within the goal by as many standard errors as are asked, of so
	// many tokens.
	for _, tokens := range []int{255, 20_000} {
		sum := all.provable(0.01, tokens)
		near("what is provable", all.slope*all.KLD(sum)+eval.SureErrors*math.Sqrt(2*all.KLD(sum)/float64(tokens)), math.Log1p(0.01), 1e-9)
	}
	// Trials that failed to measure anything teach nothing.
	if got := fit([]observation{{}, {sum: 0, kld: 1}, {sum: 1}}); got != none {
		t.Errorf("empty trials teach %v", got)
	}
	// One odd trial does not turn the predictor round.
	odd := fit(append(trials, observation{sum: 0.03, kld: 0.001, ln: -0.5, lnSE: 0.3}))
	if !(odd.KLD(0.1) > odd.KLD(0.01)) || !(odd.slope > 0) {
		t.Errorf("an odd trial makes %v", odd)
	}
}

// The gain of refining is the trials' once there are some.
func TestGain(t *testing.T) {
	plain := Predictor{scale: 1, exponent: 1, slope: 1}
	if g := gain(nil, plain); math.Abs(g-typicalGain) > 1e-9 {
		t.Errorf("a gain of %g before any trial", g)
	}
	trials := []observation{{sum: 0.1, kld: 0.5}, {sum: 0.2, kld: 0.1, refined: true}, {sum: 0.4, kld: 0.2, refined: true}}
	// Two logarithms of 1/2 with weights of 1/fitNoise², and the prior's.
	weight, prior := 2/(fitNoise*fitNoise), 1/(gainSpread*gainSpread)
	want := math.Exp((weight*math.Log(0.5) + prior*math.Log(typicalGain)) / (weight + prior))
	if g := gain(trials, plain); math.Abs(g-want) > 1e-12 {
		t.Errorf("a gain of %g, want %g", g, want)
	}
}

// The predictor learns of what is not refined alone, unless all is; refined recipes
// are predicted with the gain.
func TestLearn(t *testing.T) {
	var e Evidence
	for _, x := range []struct {
		sum, kld float64
		refined  bool
	}{{0.1, 0.12, false}, {0.2, 0.1, true}, {0.4, 0.2, true}} {
		e = append(e, Entry{Trial: Trial{KLD: x.kld, PPLRatio: 1.1, PPLRatioSE: 0.01, State: Missed}, Candidate: solve.Candidate{Sum: x.sum, Refined: x.refined}})
	}
	e = append(e, Entry{Trial: Trial{KLD: 9, State: Failed}}, Entry{Trial: Trial{KLD: 9, State: Untested}}, Entry{Trial: Trial{State: Missed}})
	var all []observation
	for _, m := range e[:3] {
		o, _ := m.observation()
		all = append(all, o)
	}
	c := Learn(e, false)
	if c.For(false) != fit(all[:1]) {
		t.Errorf("learned %+v", c)
	}
	if got, want := c.For(true).KLD(0.3), c.plain.KLD(0.3)*gain(all, c.plain); math.Abs(got-want) > 1e-12 {
		t.Errorf("a refined divergence of %g, want %g", got, want)
	}
	if c := Learn(e, true); c.For(true) != fit(all) || c.For(false) != fit(all) {
		t.Errorf("where all are refined, learned %+v", c)
	}
}

// The fit is the minimum of its own squares, with the priors' among them.
func TestFitIsTheMinimum(t *testing.T) {
	trials := []observation{{sum: 0.01, kld: 0.013, ln: 0.02, lnSE: 0.004}, {sum: 0.05, kld: 0.09, ln: 0.05, lnSE: 0.01}, {sum: 0.2, kld: 0.5, ln: 0.4, lnSE: 0.03}, {sum: 0.03, kld: 0.02, ln: 0.02}}
	centre := 0.0
	for _, t := range trials {
		centre += math.Log(t.sum) / float64(len(trials))
	}
	square := func(x float64) float64 { return x * x }
	misfit := func(p Predictor) float64 {
		b := p.exponent - 1
		a := math.Log(p.scale) + b*centre // the level at the centre
		total := square(a/scaleSpread) + square(b/exponentSpread) + square((p.slope-1)/slopeSpread)
		for _, t := range trials {
			total += square((math.Log(p.KLD(t.sum)) - math.Log(t.kld)) / fitNoise)
			if t.lnSE > 0 {
				total += square(t.ln-p.slope*t.kld) / (square(t.lnSE) + square(scatter*t.kld))
			}
		}
		return total
	}
	p := fit(trials)
	least := misfit(p)
	for _, d := range []Predictor{{scale: 0.002}, {scale: -0.002}, {exponent: 0.002}, {exponent: -0.002}, {slope: 0.002}, {slope: -0.002}} {
		q := Predictor{p.scale * (1 + d.scale), p.exponent + d.exponent, p.slope + d.slope}
		if d.exponent != 0 { // with the level at the centre as it was
			q.scale *= math.Exp(-d.exponent * centre)
		}
		if misfit(q) <= least {
			t.Errorf("%+v fits better than %+v: %g, %g", q, p, misfit(q), least)
		}
	}
	if got := fit(append([]observation{{sum: 1}, {sum: 5, kld: -1}}, trials...)); got != p {
		t.Errorf("trials that diverge by nothing make %+v of %+v", got, p)
	}
	if steep := fit([]observation{{sum: 0.01, kld: 1e-9}, {sum: 1, kld: 1e-9}}); steep.exponent != 0.5 {
		t.Errorf("an exponent of %g", steep.exponent)
	}
	if fit([]observation{{kld: 1, ln: -5, lnSE: 0.01}}).slope != 0.05 {
		t.Error("the slope can be too small")
	}
}
