package model

import (
	"fmt"
	"math"
	"slices"

	"nibble/kernels"
)

// grid is a matrix in codes as a layout has it. The value at row r and column c of group
// g is (code - zero)*scale, or code*scale + bias, or table[code]*scale.
type grid struct {
	rows, cols int
	bits       int
	group      int       // columns that share a scale
	scales     []float32 // rows x groups
	zeros      []int16   // likewise; nil: the middle code, or of what follows none
	biases     []float32 // likewise; nil for none
	table      []float32 // of 1<<bits values; nil for none
	index      []int32   // the group of each column; nil: they follow each other

	codes func(dst []uint8, r int) // of row r, a byte each
}

func (g *grid) groups() int { return (g.cols + g.group - 1) / g.group }

func (g *grid) groupOf(c int) int {
	if g.index != nil {
		return int(g.index[c])
	}
	return c / g.group
}

func (g *grid) zero(i int) int {
	if g.zeros == nil {
		return 1 << (g.bits - 1)
	}
	return int(g.zeros[i])
}

// row writes the values of row r; buf has room for its codes.
func (g *grid) row(dst []float32, buf []uint8, r int) {
	g.codes(buf, r)
	n := g.groups()
	for c, code := range buf {
		i := r*n + g.groupOf(c)
		switch {
		case g.table != nil:
			dst[c] = g.table[code] * g.scales[i]
		case g.biases != nil:
			v := float32(code) * g.scales[i]
			dst[c] = v + g.biases[i]
		default:
			dst[c] = float32(int(code)-g.zero(i)) * g.scales[i]
		}
	}
}

// form is how a grid is held by the kernels: its scheme, in which a code is as much more
// and a scale stands as often.
type form struct {
	scheme kernels.Scheme
	shift  int
	repeat int // groups of the scheme in one of the grid
	zeros  []int16
}

// form finds a scheme that holds all values exactly, or says why there is none.
func (g *grid) form() (f form, why string) {
	if g.index != nil {
		return f, "the columns of a group lie apart (activation ordering)"
	}
	f.repeat, f.zeros = 1, g.zeros
	switch {
	case g.group >= g.cols:
	case g.group == 32 || g.group == 64 || g.group == 128:
		f.scheme.Group = g.group
	case g.group%128 == 0:
		f.scheme.Group, f.repeat = 128, g.group/128
	default:
		return f, fmt.Sprintf("no kernel has groups of %d", g.group)
	}
	if g.table != nil {
		if g.group != 32 || !slices.Equal(g.table, fp4Values[:]) {
			return f, "no kernel has such a table of values in such groups"
		}
		f.scheme = kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: kernels.FP4}
		return f, g.inexact(g.scales, kernels.BF16)
	}
	if why := g.inexact(g.scales, kernels.F16); why != "" {
		return f, why
	}
	if g.biases != nil && !f.wholeBiases(g) {
		if g.bits != 4 || g.group%32 != 0 && g.group < g.cols || g.cols%32 != 0 {
			return f, "the least values of groups are no multiples of their scales"
		}
		f.scheme = kernels.Scheme{Bits: 4, Group: 32, Sym: true, Mins: true}
		f.repeat = (min(g.group, g.cols) + 31) / 32
		return f, g.inexact(g.biases, kernels.F16)
	}
	least, most := 1<<(g.bits-1), 1<<(g.bits-1)
	if f.zeros != nil {
		least, most = int(slices.Min(f.zeros)), int(slices.Max(f.zeros))
	}
	for _, bits := range []int{4, 8} {
		f.scheme.Bits = bits
		last, shift := 1<<g.bits-1, 1<<(bits-1)-least
		if least == most && shift >= 0 && last+shift < 1<<bits {
			f.scheme.Sym, f.shift, f.zeros = true, shift, nil
			return f, ""
		}
		if g.bits <= bits && least >= 0 && most < 1<<bits {
			if f.zeros == nil {
				f.zeros = slices.Repeat([]int16{int16(least)}, len(g.scales))
			}
			return f, ""
		}
	}
	return f, fmt.Sprintf("no kernel has codes of %d bits with zero points of %d to %d", g.bits, least, most)
}

// wholeBiases reports whether all biases are minus a whole number of scales, which it
// takes for zero points then.
func (f *form) wholeBiases(g *grid) bool {
	zeros := make([]int16, len(g.biases))
	for i, b := range g.biases {
		z := 0.0
		if g.scales[i] != 0 {
			z = math.Round(float64(-b) / float64(g.scales[i]))
		}
		if float64(b) != -z*float64(g.scales[i]) || z < 0 || z > 255 {
			return false
		}
		zeros[i] = int16(z)
	}
	f.zeros = zeros
	return true
}

// inexact says which of some values a type does not hold, "" if it holds all.
func (g *grid) inexact(values []float32, as kernels.DType) string {
	if _, i := halves(values, as); i >= 0 {
		return fmt.Sprintf("scales such as %g have no exact %s value", values[i], as)
	}
	return ""
}

// tensor makes the quantized matrix of a form.
func (g *grid) tensor(f form) (*kernels.QTensor, error) {
	q, err := kernels.NewQTensor(g.rows, g.cols, f.scheme)
	if err != nil {
		return nil, err
	}
	buf, n, to := make([]uint8, g.cols), g.groups(), q.Groups()
	scales := g.scales
	if f.scheme.Table == kernels.FP4 { // whose values are doubled
		scales = make([]float32, len(g.scales))
		for i, s := range g.scales {
			scales[i] = s / 2
		}
	}
	bits, _ := halves(scales, f.scheme.ScaleType())
	mins, _ := halves(g.biases, kernels.F16)
	for r := range g.rows {
		g.codes(buf, r)
		if f.shift != 0 {
			for c := range buf {
				buf[c] += uint8(f.shift)
			}
		}
		row := q.Codes[r*q.RowBytes():][:q.RowBytes()]
		if f.scheme.Bits == 8 {
			copy(row, buf)
		} else {
			for c, code := range buf {
				row[c/2] |= code << (4 * (c & 1))
			}
		}
		for k := range to {
			i := r*n + k/f.repeat
			q.Scales[r*to+k] = bits[i]
			if f.scheme.Mins {
				q.Mins[r*to+k] = mins[i]
			}
			if q.Zeros != nil {
				q.Zeros[r*to+k] = uint8(f.zeros[i])
			}
		}
	}
	return q, q.Validate()
}

// floats decodes a grid.
func (g *grid) floats(name string) Tensor {
	t := Tensor{Name: name, DType: kernels.F32, Shape: []int{g.rows, g.cols}, Data: make([]byte, 4*g.rows*g.cols)}
	values, buf := make([]float32, g.cols), make([]uint8, g.cols)
	for r := range g.rows {
		g.row(values, buf, r)
		kernels.EncodeFloats(t.Data[4*r*g.cols:], values, t.DType)
	}
	return t
}
