package eval

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"nibble/kernels"
)

func near(a, b, rel float64) bool { return math.Abs(a-b) <= rel*max(1e-300, math.Abs(b)) }

func TestMoments(t *testing.T) {
	for _, c := range []struct {
		values   []float64
		mean, se float64
	}{
		{nil, 0, 0},
		{[]float64{3}, 3, 0},
		{[]float64{1, 2, 3, 4}, 2.5, math.Sqrt(5.0 / 3 / 4)},
		// Nearly equal values far from zero, where sums of squares cancel.
		{[]float64{1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4}, 1e9 + 2.5, math.Sqrt(5.0 / 3 / 4)},
	} {
		var m moments
		for _, v := range c.values {
			m.add(v)
		}
		if !near(m.mean, c.mean, 1e-12) || !near(m.se(), c.se, 1e-9) {
			t.Errorf("%v: %g ± %g, want %g ± %g", c.values, m.mean, m.se(), c.mean, c.se)
		}
	}
}

// A perplexity beyond what a float holds is infinite, not cut off, and what is
// known beside it stays.
func TestInfinitePerplexity(t *testing.T) {
	var c comparison
	if err := c.addAll([]pair{{logProb: -1e5, base: -1, kld: 9e4}, {logProb: -3e5, base: -2, kld: 2e5}}); err != nil {
		t.Fatal(err)
	}
	r := c.result()
	if !math.IsInf(r.PPLRatio, 1) || !math.IsInf(r.PPLRatioSE, 1) || !math.IsInf(r.PPLDiff, 1) || !near(r.BasePPL, math.Exp(1.5), 1e-12) || r.LnPPLRatio != 2e5-1.5 {
		t.Errorf("%+v", r)
	}
	var one moments
	one.add(1e5)
	if ppl, se := perplexity(one); !math.IsInf(ppl, 1) || se != 0 {
		t.Errorf("one token: %g ± %g", ppl, se)
	}
	if ppl, se := perplexity(c.base); !near(ppl, math.Exp(1.5), 1e-12) || !near(se, ppl*0.5, 1e-12) {
		t.Errorf("losses 1 and 2: %g ± %g", ppl, se)
	}
}

func TestPercentile(t *testing.T) {
	v := []float32{1, 2, 3, 4, 5}
	for p, want := range map[float64]float64{0: 1, 25: 2, 50: 3, 62.5: 3.5, 100: 5} {
		if got := percentile(v, p); got != want {
			t.Errorf("percentile %g: %g, want %g", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 {
		t.Error("nothing has a percentile")
	}
}

func TestMcNemar(t *testing.T) {
	// Known binomial tails: 2*P(X <= min) with X ~ Binomial(b+c, 1/2).
	for _, c := range []struct {
		b, c int
		want float64
	}{{0, 0, 1}, {5, 5, 1}, {0, 5, 0.0625}, {1, 9, 0.021484375}, {9, 1, 0.021484375}, {2, 8, 0.109375},
		{101, 59, 0.0011229}, {0, 5000, 0}} {
		if got := mcNemar(c.b, c.c); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("mcNemar(%d, %d) = %g, want %g", c.b, c.c, got, c.want)
		}
	}
}

// naive computes what comparePosition should, by definition.
func naive(q, p []float32, target int32) pair {
	soft := func(x []float32) []float64 {
		sum, out := 0.0, make([]float64, len(x))
		for i, v := range x {
			out[i] = math.Exp(float64(v))
			sum += out[i]
		}
		for i := range out {
			out[i] /= sum
		}
		return out
	}
	sq, sp := soft(q), soft(p)
	out := pair{logProb: math.Log(sq[target]), base: math.Log(sp[target])}
	topQ, topP := 0, 0
	for i := range sp {
		out.kld += sp[i] * math.Log(sp[i]/sq[i])
		if sp[i] > sp[topP] {
			topP = i
		}
		if sq[i] > sq[topQ] {
			topQ = i
		}
	}
	out.same = topQ == topP
	return out
}

func TestComparePosition(t *testing.T) {
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	rng := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct {
		vocab          int
		apart, shifted float64
	}{{3, 0.3, 0}, {256, 0.3, 0}, {600, 0.3, 0}, {600, 0.01, 0}, {600, 0.01, 20}, {128_011, 0.1, 0}, {128_011, 0.01, 7}} {
		p, q := make([]float32, c.vocab), make([]float32, c.vocab)
		for i := range p {
			p[i] = float32(4 * rng.NormFloat64())
			q[i] = p[i] + float32(c.apart*rng.NormFloat64()+c.shifted)
		}
		target := int32(rng.IntN(c.vocab))
		got, want := comparePosition(eng, q, p, target), naive(q, p, target)
		if math.Abs(got.kld-want.kld) > 1e-6 || math.Abs(got.logProb-want.logProb) > 1e-6 ||
			math.Abs(got.base-want.base) > 1e-6 || got.same != want.same {
			t.Errorf("%+v: %+v, want %+v", c, got, want)
		}
	}
	x := []float32{1, 2, 3}
	if got := comparePosition(eng, x, x, 1); got.kld != 0 || !got.same || got.logProb != got.base {
		t.Errorf("a distribution differs from itself: %+v", got)
	}
}

// One broken logit, wherever it is, must show.
func TestBrokenLogits(t *testing.T) {
	for _, isa := range kernels.Supported() {
		eng, err := kernels.New(kernels.Options{Threads: 1, ISA: isa})
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1)} {
			for _, at := range []int{0, 5, 64, 299} {
				p, q := make([]float32, 300), make([]float32, 300)
				q[at] = float32(bad)
				if finite(logProb(eng, q, 1)) || finite(comparePosition(eng, q, p, 1).logProb) || finite(comparePosition(eng, p, q, 1).base) {
					t.Errorf("%s: %g at %d of the logits passes unseen", isa, bad, at)
				}
			}
		}
		eng.Close()
	}
}

// The statistics of a comparison against their definitions, computed in two
// passes over the same pairs.
func TestComparisonStatistics(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	const n = 4000
	var c comparison
	pairs := make([]pair, n)
	for i := range pairs {
		base := -3 * rng.Float64()
		pairs[i] = pair{logProb: base - 0.01 + 0.1*rng.NormFloat64(), base: base, kld: rng.Float64() * 0.02, same: rng.IntN(10) > 0}
	}
	if err := errors.Join(c.addAll(pairs[:1000]), c.addAll(pairs[1000:])); err != nil {
		t.Fatal(err)
	}
	r := c.result()
	c.percentiles(r)
	mean := func(f func(pair) float64) (float64, float64) {
		sum, sq := 0.0, 0.0
		for _, p := range pairs {
			sum += f(p)
		}
		for _, p := range pairs {
			sq += (f(p) - sum/n) * (f(p) - sum/n)
		}
		return sum / n, math.Sqrt(sq / (n - 1) / n)
	}
	lnBase, seBase := mean(func(p pair) float64 { return -p.base })
	lnOwn, seOwn := mean(func(p pair) float64 { return -p.logProb })
	kld, kldSE := mean(func(p pair) float64 { return p.kld })
	same, sameSE := mean(func(p pair) float64 { return bit(p.same) })
	dp := func(p pair) float64 { return math.Exp(p.logProb) - math.Exp(p.base) }
	dpMean, dpSE := mean(dp)
	dp2, dp2SE := mean(func(p pair) float64 { return dp(p) * dp(p) })
	// The error of the ratio as llama-perplexity has it, from the covariance.
	cov := 0.0
	for _, p := range pairs {
		cov += (-p.base - lnBase) * (-p.logProb - lnOwn)
	}
	cov /= (n - 1) * n
	ratio := math.Exp(lnOwn - lnBase)
	ratioSE := ratio * math.Sqrt(seBase*seBase+seOwn*seOwn-2*cov)
	pplOwn, pplBase := math.Exp(lnOwn), math.Exp(lnBase)
	diffSE := math.Sqrt(pplOwn*pplOwn*seOwn*seOwn + pplBase*pplBase*seBase*seBase - 2*pplOwn*pplBase*cov)
	for _, f := range []struct {
		name      string
		got, want float64
	}{
		{"base_ppl_se", r.BasePPLSE, math.Exp(lnBase) * seBase}, {"ln_ppl_ratio", r.LnPPLRatio, lnOwn - lnBase}, {"ln_ppl_ratio_se", r.LnPPLRatioSE, ratioSE / ratio},
		{"ppl_cor", r.PPLCor, cov / (seBase * seOwn)}, {"ppl_diff", r.PPLDiff, math.Exp(lnOwn) - math.Exp(lnBase)}, {"ppl_diff_se", r.PPLDiffSE, diffSE},
		{"base_ppl", r.BasePPL, math.Exp(lnBase)}, {"ppl_ratio", r.PPLRatio, ratio}, {"ppl_ratio_se", r.PPLRatioSE, ratioSE},
		{"kld_mean", r.KLDMean, kld}, {"kld_se", r.KLDSE, kldSE}, {"same_top", r.SameTop, same}, {"same_top_se", r.SameTopSE, sameSE},
		{"dp_mean", r.DPMean, dpMean}, {"dp_mean_se", r.DPMeanSE, dpSE}, {"rms_dp", r.RMSDP, math.Sqrt(dp2)}, {"rms_dp_se", r.RMSDPSE, dp2SE / 2 / math.Sqrt(dp2)},
	} {
		if !near(f.got, f.want, 1e-9) {
			t.Errorf("%s = %g, want %g", f.name, f.got, f.want)
		}
	}
	for _, falling := range [][]float64{
		{r.KLDMax, r.KLDP999, r.KLDP99, r.KLDP95, r.KLDP90, r.KLDMedian, r.KLDP10, r.KLDP5, r.KLDP1, r.KLDP001, r.KLDMin},
		{r.DPMax, r.DPP999, r.DPP99, r.DPP95, r.DPP90, r.DPP75, r.DPMedian, r.DPP25, r.DPP10, r.DPP5, r.DPP1, r.DPP001, r.DPMin},
	} {
		for i := 1; i < len(falling); i++ {
			if !(falling[i] < falling[i-1]) {
				t.Errorf("percentiles are out of order: %v", falling)
			}
		}
	}
}

func TestBrokenOutputs(t *testing.T) {
	nan := math.NaN()
	var c comparison
	for _, p := range []pair{{logProb: nan}, {base: math.Inf(-1)}, {kld: math.Inf(1)}} {
		if err := c.addAll([]pair{p}); !errors.Is(err, ErrNotFinite) {
			t.Errorf("%+v: %v, want ErrNotFinite", p, err)
		}
	}
	var m moments
	if err := m.addLosses([]float64{-1, nan}); !errors.Is(err, ErrNotFinite) {
		t.Errorf("%v, want ErrNotFinite", err)
	}
}
