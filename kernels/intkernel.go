package kernels

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"nibble/kernels/layout"
)

// intKernel is one implementation of the quantized product
//
//	isum      = sum over a block's 32 columns of Scheme.Value(code, zero) * q, exact
//	part      = sum over the blocks b of a group of fma(float32(isum), ascale[b], part)
//	dst[m][n] = sum over groups g of fma(part, wscale[g], dst)
//
// in the order of the columns, from zero, each fused multiply-add rounded once. Where
// groups are halves of a block, each half is summed and scaled by itself. Where groups,
// of a block each, have least values, each is followed by
//
//	dst[m][n] = fma(float32(sum of the block's q) * ascale[b], least[g], dst)
//
// Every kernel gives the same bits.
type intKernel struct {
	Name   string // "16x12": rows x tokens of its largest tile
	ISA    ISA
	Format string // name of the storage format that it takes
	// tiles are in descending order of tokens.
	tiles []tileShape
	// run computes panels p0 to p1 for tokens m0, a multiple of actTile, to m1.
	// dst has ldd floats between rows and holds exactly w.n columns.
	run runFunc
	// verdict is nil or an ErrWrong: what is not measured for a product must pass it.
	verdict func() error
}

// tileShape is what tells a tile from others.
type tileShape struct {
	isa                 ISA
	tokens, rows, ahead int // ahead is how far it fetches in front of its codes, in bytes
}

// takes reports whether the kernel computes products with weights of a scheme.
func (k intKernel) takes(s Scheme) bool { return k.Format == s.Format().Name }

// cut is how the kernel covers m tokens with its tiles: kernels with the same cut
// are the same.
func (k intKernel) cut(m int) string {
	var out []byte
	for m > 0 && len(k.tiles) > 0 {
		left := min(m, actTile)
		for _, t := range k.tiles {
			for ; left >= t.tokens; left -= t.tokens {
				out = fmt.Append(out, t)
			}
		}
		m -= actTile
	}
	return string(out)
}

// product computes panels p0 to p1 for tokens m0, a multiple of actTile, to m1.
// Unless one tile takes them all, at most block panels meet every token before the
// next ones do.
func (k intKernel) product(dst []float32, a *quantActs, m0, m1 int, w *packed, p0, p1, block int) {
	if slices.ContainsFunc(k.tiles, func(t tileShape) bool { return t.tokens == m1-m0 }) {
		block = p1 - p0
	}
	for p := p0; p < p1; p += block {
		k.run(dst, w.n, a, m0, m1, w, p, min(p+block, p1))
	}
}

// intKernels lists the compiled kernels, slowest tier first. What one engine has found
// out about them others know.
var intKernels = sync.OnceValue(func() []intKernel {
	var ks []intKernel
	for _, f := range formats {
		ks = append(ks, intKernel{Name: "16x1", ISA: Generic, Format: f.Name, run: mulGeneric})
	}
	ks = append(ks, archIntKernels()...)
	for i, k := range ks {
		ks[i] = checked(k)
	}
	return ks
})

// mulGeneric is the reference.
func mulGeneric(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
	var values [layout.BlockCols][layout.PanelRows]int32
	type token struct{ part, sum [layout.PanelRows]float32 }
	tokens := make([]token, m1-m0)
	for p := p0; p < p1; p++ {
		clear(tokens)
		n := min(layout.PanelRows, w.n-p*layout.PanelRows)
		for b := range w.blocks {
			w.unpackBlock(&values, p, b)
			for part := range w.parts {
				group := w.groupOf(b, part)
				last := b+1 == w.blocks || w.groupOf(b+1, part) != group
				cols := layout.BlockCols / w.parts
				for m := m0; m < m1; m++ {
					t, act := &tokens[m-m0], a.block(m, b)
					for lane := range n {
						isum := int32(0)
						for c, v := range act.q[part*cols:][:cols] {
							isum += values[part*cols+c][lane] * int32(v)
						}
						t.part[lane] = fma32(float32(isum), act.scale, t.part[lane])
						if !last {
							continue
						}
						r := p*layout.PanelRows + lane
						t.sum[lane] = fma32(t.part[lane], w.scale(r, group), t.sum[lane])
						t.part[lane] = 0
						if w.scheme.Mins {
							t.sum[lane] = fma32(act.sum(), w.least(r, group), t.sum[lane])
						}
					}
				}
			}
		}
		for m := m0; m < m1; m++ {
			copy(dst[m*ldd+p*layout.PanelRows:][:n], tokens[m-m0].sum[:])
		}
	}
}

// unpackBlock spreads what the codes of one block stand for, column by column.
func (p *packed) unpackBlock(values *[layout.BlockCols][layout.PanelRows]int32, panel, block int) {
	var zeros [layout.PanelRows]uint8
	for lane := range zeros {
		zeros[lane] = p.zero(panel*layout.PanelRows+lane, p.groupOf(block, 0))
	}
	src := p.panel(panel)[p.blockAt(block):][:p.blockBytes()]
	for c := range values {
		for lane := range values[c] {
			values[c][lane] = int32(p.scheme.Value(p.codes.packed(src[4*lane:], c), zeros[lane]))
		}
	}
}

// fma32 returns a*b+c rounded once to float32.
//
// The product of two float32 is exact in float64, but adding c there and
// converting rounds twice. That matters where the sum has come to lie in the middle
// between two float32, which for normal ones the bits that are to go tell.
func fma32(a, b, c float32) float32 {
	if s := float64(a)*float64(b) + float64(c); roundsOnce(s) {
		return float32(s)
	}
	return fmaOdd(a, b, c)
}

// roundsOnce reports that a sum in float64 surely becomes the float32 that the exact
// sum would.
func roundsOnce(s float64) bool {
	bits := math.Float64bits(s)
	return bits&(1<<29-1) != 1<<28 && bits<<1-1 >= minNormal<<1
}

// minNormal is the bits of the smallest normal float32 as a float64.
const minNormal = (1023 - 126) << 52

// fmaOdd is fma32 for every sum: rounded to odd first, it makes the second rounding
// right (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
func fmaOdd(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	t := s - p // Knuth's two-sum: e is the exact error of s
	e := (p - (s - t)) + (d - t)
	if e != 0 && !math.IsInf(s, 0) {
		bits := math.Float64bits(s)
		if bits&1 == 0 {
			if (e > 0) == (s > 0) {
				bits++
			} else {
				bits--
			}
			s = math.Float64frombits(bits)
		}
	}
	return float32(s)
}

// tileName is a kernel's name from its largest tile, "16x12".
func tileName(rows, tokens int) string { return fmt.Sprintf("%dx%d", rows, tokens) }
