package grid_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"nibble/kernels"
	"nibble/quant/grid"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// What is said to be lost is what the codes lose: of weights, and of outputs for
// some inputs, beside plain rounding.
func TestStatsAreAsDefined(t *testing.T) {
	const rows, cols, tokens = 300, 70, 9 // more rows than are measured at once
	eng := quanttest.Engine(t, 2)
	w := kernels.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: quanttest.Weights(rows, cols)}
	x := kernels.Matrix{Rows: tokens, Cols: cols, Stride: cols, Data: quanttest.Inputs(rand.New(rand.NewPCG(4, 4)), tokens, cols)}
	lost := func(q *kernels.QTensor) (s grid.Stats, outputs float64) {
		back := make([]float32, cols)
		var err, energy, outErr, outEnergy float64
		for r := range rows {
			q.DequantRow(back, r)
			for c, v := range w.Row(r) {
				d := float64(v) - float64(back[c])
				err, energy, s.MaxErr = err+d*d, energy+float64(v)*float64(v), max(s.MaxErr, math.Abs(d))
			}
			for i := range tokens {
				y, d := 0.0, 0.0
				for c, v := range w.Row(r) {
					y += float64(v) * float64(x.Row(i)[c])
					d += (float64(v) - float64(back[c])) * float64(x.Row(i)[c])
				}
				outErr, outEnergy = outErr+d*d, outEnergy+y*y
			}
		}
		s.MSE, s.RelErr = err/(rows*cols), math.Sqrt(err/energy)
		return s, math.Sqrt(outErr / outEnergy)
	}
	is := func(s recipe.Spec, what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-4*want {
			t.Errorf("%s: %s is said to be %g, it is %g", s, what, got, want)
		}
	}
	for _, s := range passtest.Specs() {
		q, stats, err := passtest.Quantize(eng, w.Data, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		plain := s
		plain.Method = "rtn"
		rounded, _, err := passtest.Quantize(eng, w.Data, rows, cols, plain)
		if err != nil {
			t.Fatal(err)
		}
		want, outputs := lost(q)
		_, outputsRTN := lost(rounded)
		measured, err := grid.MeasureOutputs(context.Background(), eng, w, q, x)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []grid.Stats{stats, measured} {
			is(s, "the mean squared error", got.MSE, want.MSE)
			is(s, "the relative error", got.RelErr, want.RelErr)
			is(s, "the largest error", got.MaxErr, want.MaxErr)
		}
		is(s, "the outputs' error", measured.OutErr, outputs)
		is(s, "the outputs' error by plain rounding", measured.OutErrRTN, outputsRTN)
	}
}
