package graph

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

	mu    sync.RWMutex
	known tables // grown on demand
}

// Ropes holds the tables of a model, by description.
type Ropes struct {
	mu  sync.Mutex
	all map[*arch.Rope][2]*rope
}

// of returns the rotation of a description, nil for none, and that of long
// contexts, nil where it is the same.
func (rs *Ropes) of(a *arch.Rope) (short, long *rope) {
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

// tables are the cosines and sines of positions, positions x pairs.
type tables struct{ cos, sin []float32 }

// tables returns those of positions below n.
func (r *rope) tables(n int) tables {
	if r == nil {
		return tables{}
	}
	half := len(r.freq)
	r.mu.RLock()
	have := r.known
	r.mu.RUnlock()
	if len(have.cos) >= n*half {
		return have
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	first := len(r.known.cos) / half
	want := max(n, min(2*first, first+4096), 64)
	all := tables{make([]float32, want*half), make([]float32, want*half)}
	copy(all.cos, r.known.cos)
	copy(all.sin, r.known.sin)
	for p := first; p < want; p++ {
		for i, f := range r.freq {
			s, c := math.Sincos(float64(p) * f)
			all.cos[p*half+i], all.sin[p*half+i] = float32(c*r.magnitude), float32(s*r.magnitude)
		}
	}
	r.known = all
	return all
}

// row turns the elements from at on of every head of dim elements of a row, or turns
// their gradients back.
func (r *rope) row(e *kernels.Engine, row []float32, dim, at, position int, t tables, back bool) {
	if r == nil {
		return
	}
	half := len(r.freq)
	cos, sin := t.cos[position*half:(position+1)*half], t.sin[position*half:(position+1)*half]
	for ; len(row) > 0; row = row[dim:] {
		part := row[at : at+2*half]
		switch {
		case r.adjacent:
			turnAdjacent(part, cos, sin, back)
		case back:
			e.Rotate(part[half:], part[:half], cos, sin)
		default:
			e.Rotate(part[:half], part[half:], cos, sin)
		}
	}
}

// turnAdjacent turns pairs that are neighbours.
func turnAdjacent(x, cos, sin []float32, back bool) {
	for i, c := range cos {
		s := sin[i]
		if back {
			s = -s
		}
		x[2*i], x[2*i+1] = x[2*i]*c-x[2*i+1]*s, x[2*i+1]*c+x[2*i]*s
	}
}

// turn is the rotation of an operation, and that of long texts; nil for none.
type turn struct{ short, long *rope }

func (c *compiler) turn(r *arch.Rope) turn {
	short, long := c.parts.Ropes.of(r)
	if long != nil {
		c.g.longFrom = long.from
	}
	return turn{short, long}
}

// of returns the rotation for a text of the expected length, and its tables for the
// positions of the texts at hand.
func (t turn) of(p *Pass) (*rope, tables) {
	r, most := t.short, 0
	if t.long != nil && p.Length > t.long.from {
		r = t.long
	}
	for _, text := range p.texts {
		most = max(most, text.position+text.n)
	}
	return r, r.tables(most)
}
