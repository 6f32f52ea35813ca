package arch

import (
	"fmt"
	"math"
	"slices"

	"nibble/model/source"
)

// Rotation parameters of a config come as rope_theta beside rope_scaling, or
// since transformers 5 together as rope_parameters, which may have an object for
// each kind of layer.

// ropeParameters returns the object that holds type, factor and theta for a kind
// of layer; it is empty when there is none.
func (c *Config) ropeParameters(kind string) *Config {
	p := c.Sub("rope_parameters")
	if inner := p.Sub(kind); kind != "" && len(inner.values) > 0 {
		return inner
	}
	if kind == "" {
		if inner := p.Sub(fullAttention); len(inner.values) > 0 {
			return inner
		}
	}
	given := !isNull(c.values["rope_scaling"]) // and no default, which rope_parameters replace
	if s := c.Sub("rope_scaling"); len(s.values) > 0 && (given || len(p.values) == 0) {
		for k, v := range p.values { // both spellings may stand side by side
			if _, ok := s.values[k]; !ok {
				s.values[k] = v
			}
		}
		return s
	}
	return p
}

// Rope reads the rotation of the first elements of heads of dim elements, for a
// kind of layer ("" where all are alike). theta is the default base, factor that
// of the share of elements that turn.
func (c *Config) Rope(kind string, dim int, theta, factor float64) *Rope {
	p := c.ropeParameters(kind)
	defer c.Join(p)
	theta = p.Float(c.Float(theta, "rope_theta", "rotary_emb_base"), "rope_theta")
	factor = p.Float(c.Float(factor, "partial_rotary_factor", "rotary_pct", "rope_pct"), "partial_rotary_factor")
	if !(theta > 0 && !math.IsInf(theta, 0)) || !(factor > 0 && factor <= 1) {
		c.fail(fmt.Errorf("%w: rope_theta %g and partial_rotary_factor %g must be positive, the latter at most 1", ErrConfig, theta, factor))
		return nil
	}
	typ := p.String("default", "rope_type", "type")
	if typ == "proportional" { // exponents over the whole head, then pairs that stay
		r := &Rope{Base: theta, Frequencies: make([]float64, dim/2), Magnitude: 1}
		for i := range int(factor * float64(dim) / 2) {
			r.Frequencies[i] = math.Pow(theta, -2*float64(i)/float64(dim)) / p.Float(1, "factor")
		}
		return r
	}
	turning := int(float64(dim) * factor)
	if turning < 2 || turning%2 != 0 {
		c.Refuse("rotary embeddings of %d elements; they need pairs", turning)
		return nil
	}
	return c.scaled(p, typ, theta, turning)
}

// scaled applies a type of scaling to the frequencies of n elements.
func (c *Config) scaled(p *Config, typ string, theta float64, n int) *Rope {
	r := &Rope{Base: theta, Frequencies: make([]float64, n/2), Magnitude: 1}
	for i := range r.Frequencies {
		r.Frequencies[i] = math.Pow(theta, -2*float64(i)/float64(n))
	}
	positions := c.Float(0, "max_position_embeddings")
	original := p.Float(c.Float(positions, "original_max_position_embeddings"), "original_max_position_embeddings")
	factor := p.Float(0, "factor")
	switch typ {
	case "default", "", "dynamic", "mrope", "gptj": // dynamic changes nothing within the trained context
	case "linear":
		if !(factor >= 1) {
			c.fail(fmt.Errorf("%w: rope_scaling factor %g is not at least 1", ErrConfig, factor))
		}
		for i := range r.Frequencies {
			r.Frequencies[i] /= factor
		}
	case "llama3":
		low, high := p.Float(0, "low_freq_factor"), p.Float(0, "high_freq_factor")
		if !(factor >= 1 && low > 0 && high > low && original > 0) {
			c.fail(fmt.Errorf("%w: rope_scaling of type llama3 needs factor, low_freq_factor < high_freq_factor and original_max_position_embeddings", ErrConfig))
		}
		for i, f := range r.Frequencies {
			r.Frequencies[i] = llama3Frequency(f, factor, low, high, original)
		}
	case "yarn":
		if !(factor >= 1 && original > 0) {
			c.fail(fmt.Errorf("%w: rope_scaling of type yarn needs factor and original_max_position_embeddings", ErrConfig))
		}
		yarn(r, p, theta, n, factor, original)
	case "longrope", "su":
		r.Long, r.LongFrom = c.byFactors(r.Frequencies, p, "long_factor"), int(original)
		r.Frequencies = c.byFactors(r.Frequencies, p, "short_factor")
		if slices.Equal(r.Long, r.Frequencies) { // scaled, but not by length
			r.Long, r.LongFrom = nil, 0
		}
		if ratio := p.Float(positions/original, "factor"); ratio > 1 {
			r.Magnitude = float32(math.Sqrt(1 + math.Log(ratio)/math.Log(original)))
		}
		r.Magnitude = float32(p.Float(float64(r.Magnitude), "attention_factor", "short_mscale"))
	default:
		c.Refuse("rope_scaling of type %s (default, linear, dynamic, llama3, yarn, longrope and proportional are)", source.Quote(typ))
	}
	return r
}

// byFactors divides each frequency by its entry of a list.
func (c *Config) byFactors(frequencies []float64, p *Config, key string) []float64 {
	factors := p.Floats(key)
	out := make([]float64, len(frequencies))
	if len(factors) != len(out) {
		c.fail(fmt.Errorf("%w: %s has %d entries for %d pairs", ErrConfig, key, len(factors), len(out)))
		return out
	}
	for i, f := range frequencies {
		if !(factors[i] > 0) {
			c.fail(fmt.Errorf("%w: %s has an entry of %g", ErrConfig, key, factors[i]))
		}
		out[i] = f / factors[i]
	}
	return out
}

// llama3Frequency leaves fast frequencies alone, slows down slow ones by the
// factor and blends between (Llama 3.1).
func llama3Frequency(f, factor, low, high, original float64) float64 {
	wavelength := 2 * math.Pi / f
	switch {
	case wavelength < original/high:
		return f
	case wavelength > original/low:
		return f / factor
	}
	smooth := (original/wavelength - low) / (high - low)
	return (1-smooth)*f/factor + smooth*f
}

// yarn slows down frequencies that turn less than beta_slow times within the
// original context, leaves those alone that turn more than beta_fast times, and
// blends between by index (Peng et al., 2023).
func yarn(r *Rope, p *Config, theta float64, n int, factor, original float64) {
	at := func(turns float64) float64 { // the index of the pair that turns so often
		return float64(n) * math.Log(original/(2*math.Pi*turns)) / (2 * math.Log(theta))
	}
	first, last := at(p.Float(32, "beta_fast")), at(p.Float(1, "beta_slow"))
	if p.Bool(true, "truncate") {
		first, last = math.Floor(first), math.Ceil(last)
	}
	first, last = max(first, 0), min(last, float64(n-1))
	if first == last {
		last += 0.001
	}
	for i, f := range r.Frequencies {
		ramp := min(max((float64(i)-first)/(last-first), 0), 1)
		r.Frequencies[i] = f*(1-ramp) + f/factor*ramp
	}
	r.Magnitude = float32(p.Float(yarnMagnitude(p, factor), "attention_factor"))
}

// yarnMagnitude is what yarn multiplies turned elements by when the config does
// not say.
func yarnMagnitude(p *Config, factor float64) float64 {
	if m, all := p.Float(0, "mscale"), p.Float(0, "mscale_all_dim"); m != 0 && all != 0 {
		return yarnScale(factor, m) / yarnScale(factor, all)
	}
	return yarnScale(factor, 1)
}

// yarnScale grows with the logarithm of the factor.
func yarnScale(factor, mscale float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*mscale*math.Log(factor) + 1
}
