package grid

import (
	"context"
	"math"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/quant/quanttest"
)

// A raised row is within half a step of eight bits, whatever its weights; all others
// stay as they are.
func TestRaise(t *testing.T) {
	eng := quanttest.Engine(t, 1)
	for name, row := range map[string]func(c int) float32{
		"even":          func(c int) float32 { return float32(c-32) / 40 },
		"positive":      func(c int) float32 { return float32(c) },
		"negative":      func(c int) float32 { return -float32(c) * 1e-3 },
		"zero":          func(int) float32 { return 0 },
		"a single high": func(c int) float32 { return map[bool]float32{true: 5}[c == 7] },
		"large":         func(c int) float32 { return float32(c-31) * 1e3 },
	} {
		for _, group := range []int{0, 32} {
			const rows, cols = 5, 63
			w := kernels.NewMatrix(rows, cols)
			for r := range rows {
				for c := range cols {
					w.Row(r)[c] = row(c)
				}
			}
			s := kernels.Scheme{Bits: 4, Group: group, Sym: true}
			q, _, err := Quantize(context.Background(), eng, rows, cols, s, Search{Plain: true}, RowsOf(w), nil)
			if err != nil {
				t.Fatal(err)
			}
			before := Clone(q)
			q.Scheme.Top = 40
			Raise(eng, q, RowsOf(w), []int32{1, 4})
			if err := q.Validate(); err != nil {
				t.Fatal(err)
			}
			got, was := make([]float32, cols), make([]float32, cols)
			for r := range rows {
				q.DequantRow(got, r)
				before.DequantRow(was, r)
				if r != 1 && r != 4 {
					if !slices.Equal(got, was) {
						t.Errorf("%s: row %d changed", name, r)
					}
					continue
				}
				for c, v := range got {
					step := math.Abs(float64(q.Scale(r, c/q.Scheme.GroupWidth(cols)))) / 16
					// A scale that F16 rounded down leaves the largest weight a little further.
					if d := math.Abs(float64(v - w.Row(r)[c])); d > step*(0.5+119.0/2048)+1e-12 {
						t.Errorf("%s, group %d: weight %g became %g, steps are %g", name, group, w.Row(r)[c], v, step)
					}
				}
				worst, most := 0.0, 0.0
				for c, v := range w.Row(r) {
					worst, most = max(worst, math.Abs(float64(v-got[c]))), max(most, math.Abs(float64(v)))
				}
				if worst > most/220 {
					t.Errorf("%s: an error of %g where weights reach %g", name, worst, most)
				}
			}
		}
	}
}
