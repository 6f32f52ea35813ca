package block

import (
	"nibble/kernels"
	"nibble/model/arch"
)

// rotation turns pairs of elements by their position.
type rotation struct {
	cos, sin []float32 // positions x pairs
	pairs    int       // 0 for none
	adjacent bool
}

func (c *compiler) rotation(r *arch.Rope) rotation {
	if r == nil {
		return rotation{}
	}
	out := rotation{pairs: len(r.Frequencies), adjacent: r.Adjacent}
	out.cos, out.sin = c.parts.Rotations(r)
	c.b.most = min(c.b.most, len(out.cos)/out.pairs)
	return out
}

// turn turns, in every head of dim elements, those from at on, or turns their
// gradients back.
func (b *Block) turn(r rotation, m kernels.Matrix, dim, at int, back bool) {
	if r.pairs == 0 {
		return
	}
	first := 0
	for _, n := range b.texts.Lengths {
		b.each(n, func(p int) {
			cos, sin := r.cos[p*r.pairs:(p+1)*r.pairs], r.sin[p*r.pairs:(p+1)*r.pairs]
			for row := m.Row(first + p); len(row) > 0; row = row[dim:] {
				part := row[at : at+2*r.pairs]
				switch {
				case r.adjacent:
					turnAdjacent(part, cos, sin, back)
				case back:
					b.eng.Rotate(part[r.pairs:], part[:r.pairs], cos, sin)
				default:
					b.eng.Rotate(part[:r.pairs], part[r.pairs:], cos, sin)
				}
			}
		})
		first += n
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
