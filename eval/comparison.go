package eval

import "math"

// Comparison is a model against the reference, token by token: what
// llama-perplexity --kl-divergence prints, under its definitions. Shares and
// probability differences are fractions of one. Δp is how much likelier the
// model finds the right token than the reference does. A name such as KLDP999
// is the 99.9th percentile, KLDP001 the 0.1th.
type Comparison struct {
	BasePPL      float64 `json:"base_ppl"`
	BasePPLSE    float64 `json:"base_ppl_se"`
	PPLCor       float64 `json:"ppl_cor"`      // correlation of the two models' losses; 0 where undefined
	LnPPLRatio   float64 `json:"ln_ppl_ratio"` // ln(PPL / base PPL)
	LnPPLRatioSE float64 `json:"ln_ppl_ratio_se"`
	PPLRatio     float64 `json:"ppl_ratio"`
	PPLRatioSE   float64 `json:"ppl_ratio_se"` // from the differences of each token's log-probability
	PPLDiff      float64 `json:"ppl_diff"`
	PPLDiffSE    float64 `json:"ppl_diff_se"`

	KLDMean   float64 `json:"kld_mean"`
	KLDSE     float64 `json:"kld_se"`
	KLDMax    float64 `json:"kld_max"`
	KLDP999   float64 `json:"kld_p999"`
	KLDP99    float64 `json:"kld_p99"`
	KLDP95    float64 `json:"kld_p95"`
	KLDP90    float64 `json:"kld_p90"`
	KLDMedian float64 `json:"kld_median"`
	KLDP10    float64 `json:"kld_p10"`
	KLDP5     float64 `json:"kld_p5"`
	KLDP1     float64 `json:"kld_p1"`
	KLDP001   float64 `json:"kld_p001"`
	KLDMin    float64 `json:"kld_min"`

	DPMean   float64 `json:"dp_mean"`
	DPMeanSE float64 `json:"dp_mean_se"`
	DPMax    float64 `json:"dp_max"`
	DPP999   float64 `json:"dp_p999"`
	DPP99    float64 `json:"dp_p99"`
	DPP95    float64 `json:"dp_p95"`
	DPP90    float64 `json:"dp_p90"`
	DPP75    float64 `json:"dp_p75"`
	DPMedian float64 `json:"dp_median"`
	DPP25    float64 `json:"dp_p25"`
	DPP10    float64 `json:"dp_p10"`
	DPP5     float64 `json:"dp_p5"`
	DPP1     float64 `json:"dp_p1"`
	DPP001   float64 `json:"dp_p001"`
	DPMin    float64 `json:"dp_min"`
	RMSDP    float64 `json:"rms_dp"`
	RMSDPSE  float64 `json:"rms_dp_se"`

	SameTop   float64 `json:"same_top"` // positions where both find the same token likeliest
	SameTopSE float64 `json:"same_top_se"`
}

// comparison accumulates pairs.
type comparison struct {
	own, base, diff, kld, same, dp, dp2 moments
	klds, dps                           []float32
}

// addAll adds the positions of a window.
func (c *comparison) addAll(pairs []pair) error {
	for _, p := range pairs {
		if !finite(p.logProb) || !finite(p.base) || !finite(p.kld) {
			return ErrNotFinite
		}
		c.own.add(-p.logProb)
		c.base.add(-p.base)
		c.diff.add(p.base - p.logProb)
		c.kld.add(p.kld)
		c.klds = append(c.klds, float32(p.kld))
		c.same.add(bit(p.same))
		dp := math.Exp(p.logProb) - math.Exp(p.base)
		c.dp.add(dp)
		c.dp2.add(dp * dp)
		c.dps = append(c.dps, float32(dp))
	}
	return nil
}

// result is the comparison so far without the percentiles, which cost a sort.
func (c *comparison) result() *Comparison {
	own, _ := perplexity(c.own)
	base, baseSE := perplexity(c.base)
	ratio, ratioSE := perplexity(c.diff)
	rms := math.Sqrt(c.dp2.mean)
	ownVar, baseVar := c.own.se()*c.own.se(), c.base.se()*c.base.se()
	cov := (ownVar + baseVar - c.diff.se()*c.diff.se()) / 2 // var(a-b) = var(a) + var(b) - 2 cov(a,b)
	r := &Comparison{
		BasePPL: base, BasePPLSE: baseSE, PPLRatio: ratio, PPLRatioSE: ratioSE,
		LnPPLRatio: c.diff.mean, LnPPLRatioSE: c.diff.se(), PPLDiff: own - base,
		PPLDiffSE: math.Sqrt(max(0, own*own*ownVar+base*base*baseVar-2*own*base*cov)), // first-order error propagation
		KLDMean:   c.kld.mean, KLDSE: c.kld.se(),
		SameTop: c.same.mean, SameTopSE: c.same.se(),
		DPMean: c.dp.mean, DPMeanSE: c.dp.se(), RMSDP: rms,
	}
	if ownVar > 0 && baseVar > 0 {
		r.PPLCor = min(1, cov/math.Sqrt(ownVar*baseVar))
	}
	if rms > 0 {
		r.RMSDPSE = c.dp2.se() / (2 * rms) // error propagation through the root
	}
	return r
}

// percentiles completes a comparison; r may be nil.
func (c *comparison) percentiles(r *Comparison) {
	if r == nil {
		return
	}
	k, d := sorted(c.klds), sorted(c.dps)
	for p, at := range map[float64]*float64{100: &r.KLDMax, 99.9: &r.KLDP999, 99: &r.KLDP99, 95: &r.KLDP95, 90: &r.KLDP90, 50: &r.KLDMedian,
		10: &r.KLDP10, 5: &r.KLDP5, 1: &r.KLDP1, 0.1: &r.KLDP001, 0: &r.KLDMin} {
		*at = percentile(k, p)
	}
	for p, at := range map[float64]*float64{100: &r.DPMax, 99.9: &r.DPP999, 99: &r.DPP99, 95: &r.DPP95, 90: &r.DPP90, 75: &r.DPP75, 50: &r.DPMedian,
		25: &r.DPP25, 10: &r.DPP10, 5: &r.DPP5, 1: &r.DPP1, 0.1: &r.DPP001, 0: &r.DPMin} {
		*at = percentile(d, p)
	}
}
