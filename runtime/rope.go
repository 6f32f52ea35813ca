package runtime

import (
	"math"
	"sync"

	"nibble/model"
)

// rope rotates query and key pairs by their position (Su et al., "RoFormer",
// 2021), in the half-rotation form of Hugging Face checkpoints: element i pairs
// with i + dim/2. Angles are computed in float64.
type rope struct {
	dim  int
	freq []float64 // dim/2

	mu       sync.RWMutex
	cos, sin []float32 // positions x dim/2, grown on demand
}

func newRope(c model.Config) *rope {
	r := &rope{dim: c.HeadDim, freq: make([]float64, c.HeadDim/2)}
	for i := range r.freq {
		f := math.Pow(c.RopeTheta, -2*float64(i)/float64(c.HeadDim))
		r.freq[i] = scaleFrequency(f, c.RopeScaling)
	}
	return r
}

// scaleFrequency stretches positions for long contexts. "llama3" leaves fast
// components alone, slows down slow ones by the factor and blends between
// (https://huggingface.co/docs/transformers, rope_utils).
func scaleFrequency(f float64, s *model.RopeScaling) float64 {
	if s == nil {
		return f
	}
	if s.Type == "linear" {
		return f / s.Factor
	}
	wavelength := 2 * math.Pi / f
	switch {
	case wavelength < s.OriginalContext/s.HighFreqFactor:
		return f
	case wavelength > s.OriginalContext/s.LowFreqFactor:
		return f / s.Factor
	}
	smooth := (s.OriginalContext/wavelength - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
	return (1-smooth)*f/s.Factor + smooth*f
}

// tables returns the cosines and sines of positions below n.
func (r *rope) tables(n int) (cos, sin []float32) {
	half := r.dim / 2
	r.mu.RLock()
	cos, sin = r.cos, r.sin
	r.mu.RUnlock()
	if len(cos) >= n*half {
		return cos, sin
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	have := len(r.cos) / half
	want := max(n, min(2*have, have+4096), 64)
	cos, sin = make([]float32, want*half), make([]float32, want*half)
	copy(cos, r.cos)
	copy(sin, r.sin)
	for p := have; p < want; p++ {
		for i, f := range r.freq {
			s, c := math.Sincos(float64(p) * f)
			cos[p*half+i], sin[p*half+i] = float32(c), float32(s)
		}
	}
	r.cos, r.sin = cos, sin
	return cos, sin
}
