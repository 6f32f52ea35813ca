package runtime

import (
	"math"
	"sync"

	"nibble/kernels"
	"nibble/model/arch"
)

// rope turns pairs of elements by their position (Su et al., "RoFormer", 2021).
// Angles are computed in float64.
type rope struct {
	freq      []float64 // of each pair
	magnitude float64
	adjacent  bool // pairs are neighbours, else half the turning elements apart
	from      int  // of long contexts: the longest that is not one

	mu       sync.RWMutex
	cos, sin []float32 // positions x pairs, grown on demand
}

// ropes holds the tables of a model, by description.
type ropes struct {
	mu  sync.Mutex
	all map[*arch.Rope][2]*rope
}

// of returns the rotation of a description, nil for none, and that of long
// contexts, nil where it is the same.
func (rs *ropes) of(a *arch.Rope) (short, long *rope) {
	if a == nil {
		return nil, nil
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	both, ok := rs.all[a]
	if !ok {
		both[0] = &rope{freq: a.Frequencies, magnitude: float64(a.Magnitude), adjacent: a.Adjacent}
		if a.Long != nil {
			both[1] = &rope{freq: a.Long, magnitude: float64(a.Magnitude), adjacent: a.Adjacent, from: a.LongFrom}
		}
		if rs.all == nil {
			rs.all = make(map[*arch.Rope][2]*rope)
		}
		rs.all[a] = both
	}
	return both[0], both[1]
}

// ropeFor is the rotation of texts of at most some positions.
func ropeFor(short, long *rope, positions int) *rope {
	if long != nil && positions > long.from {
		return long
	}
	return short
}

// tables returns the cosines and sines of positions below n.
func (r *rope) tables(n int) (cos, sin []float32) {
	if r == nil {
		return nil, nil
	}
	half := len(r.freq)
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
			cos[p*half+i], sin[p*half+i] = float32(c*r.magnitude), float32(s*r.magnitude)
		}
	}
	r.cos, r.sin = cos, sin
	return cos, sin
}

// row turns the first elements of every head of a row.
func (r *rope) row(e *kernels.Engine, row []float32, dim, pos int, cos, sin []float32) {
	if r == nil {
		return
	}
	half := len(r.freq)
	cos, sin = cos[pos*half:(pos+1)*half], sin[pos*half:(pos+1)*half]
	for ; len(row) > 0; row = row[dim:] {
		if !r.adjacent {
			e.Rotate(row[:half], row[half:2*half], cos, sin)
			continue
		}
		for i, c := range cos {
			a, b := row[2*i], row[2*i+1]
			row[2*i], row[2*i+1] = a*c-b*sin[i], b*c+a*sin[i]
		}
	}
}
