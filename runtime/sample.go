package runtime

import (
	"math"
	"math/rand/v2"
	"slices"

	"nibble/kernels"
)

// sampler draws tokens from logits. The same seed and logits give the same
// tokens.
type sampler struct {
	eng   *kernels.Engine
	o     GenOptions
	rng   *rand.Rand
	all   []candidate // of a draw, before cutting
	probs []float32

	seen     []int32 // the tokens before, each once
	seenMark []bool  // by token
	counted  int     // tokens before that are in seen
}

func newSampler(eng *kernels.Engine, o GenOptions) *sampler {
	return &sampler{eng: eng, o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x6e6962626c65))}
}

// next picks a token after those before, which are at least those of the last
// call; it may change logits.
func (s *sampler) next(logits []float32, before []int32) int32 {
	if p := float32(s.o.RepeatPenalty); p > 0 && p != 1 {
		s.penalize(logits, before, p)
	}
	s.ban(logits, before)
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
	if p := s.o.TopP; p < 1 {
		norm := s.eng.LogSumExp(s.logits(c))
		h := newLikeliest(c)
		mass := math.Exp(float64(h.take().logit) - norm)
		for mass < p && h.n > 0 {
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

// penalize makes tokens that were there before, in the prompt or after it, less
// likely (Keskar et al., "CTRL", 2019), each once however often it occurred.
func (s *sampler) penalize(logits []float32, before []int32, p float32) {
	if s.seenMark == nil {
		s.seenMark = make([]bool, len(logits))
	}
	for _, id := range before[s.counted:] {
		if !s.seenMark[id] {
			s.seenMark[id] = true
			s.seen = append(s.seen, id)
		}
	}
	s.counted = len(before)
	for _, id := range s.seen {
		if logits[id] > 0 {
			logits[id] /= p
		} else {
			logits[id] *= p
		}
	}
}

// ban rules out the last token of every banned sequence whose others were just
// before.
func (s *sampler) ban(logits []float32, before []int32) {
	for _, words := range s.o.Banned {
		n := len(words) - 1
		if n < 0 || n > len(before) || words[n] < 0 || int(words[n]) >= len(logits) {
			continue
		}
		if slices.Equal(before[len(before)-n:], words[:n]) {
			logits[words[n]] = float32(math.Inf(-1))
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
