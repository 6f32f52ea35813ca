package matmul

import (
	"fmt"
	"slices"
	"sync"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// Kernel is one implementation of the quantized product
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
type Kernel struct {
	Name   string // "16x12": rows x tokens of its largest tile
	ISA    cpu.ISA
	Format string // name of the storage format that it takes
	// Tiles are in descending order of tokens.
	Tiles []tileShape
	// Run computes panels p0 to p1 for tokens m0, a multiple of actTile, to m1.
	// dst has ldd floats between rows and holds exactly w.n columns.
	Run runFunc
	// verdict is nil or an ErrWrong: what is not measured for a product must pass it.
	verdict func() error
}

// tileShape is what tells a tile from others.
type tileShape struct {
	isa                 cpu.ISA
	tokens, rows, ahead int // ahead is how far it fetches in front of its codes, in bytes
}

// String is the kernel's full name, "avx512vnni 16x12".
func (k Kernel) String() string { return string(k.ISA) + " " + k.Name }

// Takes reports whether the kernel computes products with weights of a scheme.
func (k Kernel) Takes(s format.Scheme) bool { return k.Format == s.Format().Name }

// Cut is how the kernel covers m tokens with its tiles: kernels with the same cut
// are the same.
func (k Kernel) Cut(m int) string {
	var out []byte
	for m > 0 && len(k.Tiles) > 0 {
		left := min(m, actTile)
		for _, t := range k.Tiles {
			for ; left >= t.tokens; left -= t.tokens {
				out = fmt.Append(out, t)
			}
		}
		m -= actTile
	}
	return string(out)
}

// Product computes panels p0 to p1 for tokens m0, a multiple of actTile, to m1.
// Unless one tile takes them all, at most block panels meet every token before the
// next ones do.
func (k Kernel) Product(dst []float32, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1, block int) {
	if slices.ContainsFunc(k.Tiles, func(t tileShape) bool { return t.tokens == m1-m0 }) {
		block = p1 - p0
	}
	for p := p0; p < p1; p += block {
		k.Run(dst, w.N, a, m0, m1, w, p, min(p+block, p1))
	}
}

// Kernels lists the compiled kernels, slowest tier first. What one engine has found
// out about them others know.
var Kernels = sync.OnceValue(func() []Kernel {
	var ks []Kernel
	for _, f := range format.Formats {
		ks = append(ks, Kernel{Name: "16x1", ISA: cpu.Generic, Format: f.Name, Run: MulGeneric})
	}
	ks = append(ks, archIntKernels()...)
	for i, k := range ks {
		ks[i] = Checked(k)
	}
	return ks
})

// MulGeneric is the reference.
func MulGeneric(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
	var values [layout.BlockCols][layout.PanelRows]int32
	type token struct{ part, sum [layout.PanelRows]float32 }
	tokens := make([]token, m1-m0)
	var scales, mins [layout.PanelRows]float32 // of a group
	for p := p0; p < p1; p++ {
		clear(tokens)
		n := min(layout.PanelRows, w.N-p*layout.PanelRows)
		for b := range w.Blocks {
			w.UnpackBlock(&values, p, b)
			for part := range w.Parts {
				group := w.GroupOf(b, part)
				last := b+1 == w.Blocks || w.GroupOf(b+1, part) != group
				cols := layout.BlockCols / w.Parts
				for lane := range n {
					scales[lane] = w.Scale(p*layout.PanelRows+lane, group)
					if w.Scheme.Mins {
						mins[lane] = w.Least(p*layout.PanelRows+lane, group)
					}
				}
				for m := m0; m < m1; m++ {
					t, act := &tokens[m-m0], a.block(m, b)
					for lane := range n {
						isum := int32(0)
						for c, v := range act.q[part*cols:][:cols] {
							isum += values[part*cols+c][lane] * int32(v)
						}
						t.part[lane] = number.FMA(float32(isum), act.scale, t.part[lane])
						if !last {
							continue
						}
						t.sum[lane] = number.FMA(t.part[lane], scales[lane], t.sum[lane])
						t.part[lane] = 0
						if w.Scheme.Mins {
							t.sum[lane] = number.FMA(act.sum(), mins[lane], t.sum[lane])
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

// tileName is a kernel's name from its largest tile, "16x12".
func tileName(rows, tokens int) string { return fmt.Sprintf("%dx%d", rows, tokens) }
