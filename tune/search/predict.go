package search

import (
	"math"

	"nibble/eval"
)

// Predictor turns the sum of what the matrices' choices lose, each alone, into
// what a recipe loses. The sum is nearly right for small errors, which add up; a
// power law, fitted to the trials, makes up for the rest, and one more factor for
// the relation of KL divergence to perplexity. Where there are few trials the
// fit stays near the sum itself.
type Predictor struct {
	scale, exponent float64 // divergence = scale * sum^exponent
	slope           float64 // ln(perplexity ratio) = slope * divergence
}

// observation is a trial, as the predictor sees it.
type observation struct {
	sum, kld float64
	ln, lnSE float64 // of the perplexity ratio; lnSE 0 if not measured
	refined  bool
}

// Spreads of the parameters that models have shown, as standard deviations.
const (
	scaleSpread    = 0.5
	exponentSpread = 0.1
	slopeSpread    = 0.4
	fitNoise       = 0.05 // of the logarithm of a divergence
	scatter        = 0.3  // of the loss of one recipe around the slope, in divergences
)

// fit returns the predictor that trials support.
func fit(trials []observation) Predictor {
	p := Predictor{scale: 1, exponent: 1, slope: 1}
	// Least squares with priors on ln kld = a + b (ln sum - centre) + ln sum.
	centre, n := 0.0, 0.0
	for _, t := range trials {
		if t.sum > 0 && t.kld > 0 {
			centre, n = centre+math.Log(t.sum), n+1
		}
	}
	if n > 0 {
		centre /= n
		aa, ab, bb, ay, by := 1/(scaleSpread*scaleSpread), 0.0, 1/(exponentSpread*exponentSpread), 0.0, 0.0
		for _, t := range trials {
			if t.sum > 0 && t.kld > 0 {
				x, y, w := math.Log(t.sum)-centre, math.Log(t.kld/t.sum), 1/(fitNoise*fitNoise)
				aa, ab, bb, ay, by = aa+w, ab+w*x, bb+w*x*x, ay+w*y, by+w*x*y
			}
		}
		det := aa*bb - ab*ab
		a, b := (ay*bb-by*ab)/det, (by*aa-ay*ab)/det
		p.exponent = max(0.5, 1+b)
		p.scale = math.Exp(a + (1-p.exponent)*centre)
	}
	num, den := 1/(slopeSpread*slopeSpread), 1/(slopeSpread*slopeSpread)
	for _, t := range trials {
		if t.lnSE > 0 && t.kld > 0 {
			w := 1 / (t.lnSE*t.lnSE + scatter*scatter*t.kld*t.kld)
			num, den = num+w*t.kld*t.ln, den+w*t.kld*t.kld
		}
	}
	p.slope = max(0.05, num/den)
	return p
}

// KLD predicts the KL divergence of a recipe.
func (p Predictor) KLD(sum float64) float64 { return p.scale * math.Pow(sum, p.exponent) }

// Loss predicts the relative increase of perplexity.
func (p Predictor) Loss(sum float64) float64 { return math.Expm1(p.slope * p.KLD(sum)) }

// inverse returns the sum of a predicted KL divergence.
func (p Predictor) inverse(kld float64) float64 { return math.Pow(kld/p.scale, 1/p.exponent) }

// provable returns the sum that is predicted to lose so little that so many tokens
// show it to be within a loss. Where two models differ little, the variance of the
// difference of a token's losses is twice the divergence d, so that what is wanted is
// slope d + sure sqrt(2 d / tokens) = ln(1 + loss): a quadratic equation in sqrt(d).
func (p Predictor) provable(loss float64, tokens int) float64 {
	b := eval.SureErrors * math.Sqrt(2/float64(max(1, tokens)))
	root := (math.Sqrt(b*b+4*p.slope*math.Log1p(loss)) - b) / (2 * p.slope)
	return p.inverse(root * root)
}

// How much of a divergence refining leaves, before it has been measured, and how
// far from that models are, as a logarithm.
const (
	typicalGain = 0.8
	gainSpread  = 0.15
)

// Corrections are what trials teach about the predictions of the scores.
type Corrections struct{ plain, refined Predictor }

// Learn returns what evidence teaches. Where every recipe is refined (always) there
// is one predictor for all; else recipes that are not refined teach it, and those
// that are how much of a divergence refining leaves.
func Learn(e Evidence, always bool) Corrections {
	var all, plain []observation
	for _, m := range e {
		if o, ok := m.observation(); ok {
			all = append(all, o)
			if !o.refined || always {
				plain = append(plain, o)
			}
		}
	}
	c := Corrections{plain: fit(plain)}
	c.refined = c.plain
	if !always {
		c.refined.scale *= gain(all, c.plain)
	}
	return c
}

// For is the predictor of recipes that are refined, or are not.
func (c Corrections) For(refined bool) Predictor {
	if refined {
		return c.refined
	}
	return c.plain
}

// gain is how much of a divergence refining leaves, as the trials have it.
func gain(trials []observation, p Predictor) float64 {
	w := 1 / (gainSpread * gainSpread)
	sum, n := w*math.Log(typicalGain), w
	for _, t := range trials {
		if t.refined && t.sum > 0 {
			w := 1 / (fitNoise * fitNoise)
			sum, n = sum+w*math.Log(t.kld/p.KLD(t.sum)), n+w
		}
	}
	return math.Exp(sum / n)
}
