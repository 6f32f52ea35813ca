package tune

import (
	"math"
	"testing"

	"nibble/eval"
)

func TestFit(t *testing.T) {
	near := func(what string, got, want, share float64) {
		t.Helper()
		if math.Abs(got-want) > share*math.Abs(want) {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	none := fit(nil)
	near("divergence without trials", none.kld(0.01), 0.01, 1e-9)
	near("loss without trials", none.loss(0.01), math.Expm1(0.01), 1e-9)

	// A model where errors amplify: divergence = 1.4 sum^1.05, loss at 0.6 of it.
	truth := predictor{scale: 1.4, exponent: 1.05, slope: 0.6}
	var trials []evidence
	for _, sum := range []float64{0.003, 0.01, 0.03, 0.1} {
		k := truth.kld(sum)
		trials = append(trials, evidence{sum: sum, kld: k, ln: math.Log1p(truth.loss(sum)), lnSE: 1e-4})
	}
	one, all := fit(trials[:1]), fit(trials)
	near("divergence after one trial", one.kld(0.003), truth.kld(0.003), 0.02)
	for _, sum := range []float64{0.001, 0.02, 0.2} {
		near("divergence", all.kld(sum), truth.kld(sum), 0.03)
		near("loss", all.loss(sum), truth.loss(sum), 0.15)
		near("inverse of the divergence", all.inverse(all.kld(sum)), sum, 1e-9)
	}
	// What is aimed at is within the goal by as many standard errors as are asked, of so
	// many tokens.
	for _, tokens := range []int{255, 20_000} {
		sum := all.provable(0.01, tokens)
		near("what is provable", all.slope*all.kld(sum)+eval.SureErrors*math.Sqrt(2*all.kld(sum)/float64(tokens)), math.Log1p(0.01), 1e-9)
	}
	// Trials that failed to measure anything teach nothing.
	if got := fit([]evidence{{}, {sum: 0, kld: 1}, {sum: 1}}); got != none {
		t.Errorf("empty trials teach %v", got)
	}
	// One odd trial does not turn the predictor round.
	odd := fit(append(trials, evidence{sum: 0.03, kld: 0.001, ln: -0.5, lnSE: 0.3}))
	if !(odd.kld(0.1) > odd.kld(0.01)) || !(odd.slope > 0) {
		t.Errorf("an odd trial makes %v", odd)
	}
}
