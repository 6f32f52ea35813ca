package runtime

import (
	"math"
	"math/rand/v2"
	"slices"

	"nibble/kernels"
)

// repeatWindow is how many recent tokens the repetition penalty looks at.
const repeatWindow = 64

// sampler draws tokens from logits. The same seed and logits give the same
// tokens.
type sampler struct {
	eng   *kernels.Engine
	o     GenOptions
	rng   *rand.Rand
	all   []candidate // of a draw, before cutting
	probs []float32
}

func newSampler(eng *kernels.Engine, o GenOptions) *sampler {
	return &sampler{eng: eng, o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x6e6962626c65))}
}

// next picks a token after the recent ones; it may change logits.
func (s *sampler) next(logits []float32, recent []int32) int32 {
	if p := float32(s.o.RepeatPenalty); p > 0 && p != 1 {
		penalize(logits, recent, p)
	}
	best := argmax(logits)
	top := logits[best]
	if s.o.Temp == 0 || math.IsInf(float64(top), 0) || math.IsNaN(float64(top)) {
		return best
	}
	s.all = s.all[:0]
	for id, v := range logits {
		if v == v { // NaN is never drawn
			s.all = append(s.all, candidate{v, int32(id)})
		}
	}
	return s.draw(s.cut(s.all, top), top)
}

// cut returns the candidates that top-k, top-p and min-p keep; top is the
// largest logit.
func (s *sampler) cut(c []candidate, top float32) []candidate {
	if k := s.o.TopK; k > 0 && k < len(c) {
		h := newLikeliest(c)
		for range k {
			h.take()
		}
		c = h.taken()
	}
	if p := s.o.TopP; p > 0 && p < 1 {
		norm := s.eng.LogSumExp(s.logits(c))
		h := newLikeliest(c)
		for mass := 0.0; mass < p && h.n > 0; {
			mass += math.Exp(float64(h.take().logit) - norm)
		}
		c = h.taken()
	}
	if s.o.MinP > 0 {
		floor := float64(top) + math.Log(s.o.MinP)
		c = slices.DeleteFunc(c, func(c candidate) bool { return float64(c.logit) < floor })
	}
	return c
}

// logits gathers those of candidates.
func (s *sampler) logits(all []candidate) []float32 {
	s.probs = s.probs[:0]
	for _, c := range all {
		s.probs = append(s.probs, c.logit)
	}
	return s.probs
}

// draw picks one of the candidates with the probability that its logit has at
// the temperature; top is the largest logit.
func (s *sampler) draw(all []candidate, top float32) int32 {
	probs := s.logits(all)
	for i, v := range probs {
		probs[i] = float32((float64(v) - float64(top)) / s.o.Temp) // at most 0, however cold
	}
	s.eng.Softmax(probs)
	total := 0.0
	for _, p := range probs {
		total += float64(p)
	}
	r := s.rng.Float64() * total
	drawn := all[0]
	for i, p := range probs {
		if p > 0 {
			drawn = all[i]
		}
		if r -= float64(p); r < 0 {
			break
		}
	}
	return drawn.id
}

// penalize makes recent tokens less likely (Keskar et al., "CTRL", 2019), each
// once however often it occurred.
func penalize(logits []float32, recent []int32, p float32) {
	recent = recent[max(0, len(recent)-repeatWindow):]
	for i, id := range recent {
		if slices.Contains(recent[:i], id) {
			continue
		}
		if logits[id] > 0 {
			logits[id] /= p
		} else {
			logits[id] *= p
		}
	}
}

// argmax returns the first largest element; NaN never wins.
func argmax(x []float32) int32 {
	best, at := float32(math.Inf(-1)), int32(0)
	for i, v := range x {
		if v > best {
			best, at = v, int32(i)
		}
	}
	return at
}
