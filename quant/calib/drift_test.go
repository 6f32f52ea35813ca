package calib_test

import (
	"context"
	"math"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/method"
	"nibble/quant/passtest"
	"nibble/quant/recipe"
)

// Weights that are moved as the drift says give the outputs that are nearest to the
// float model's: no step from there, in any direction, comes nearer.
func TestDriftIsLeastSquares(t *testing.T) {
	ctx := context.Background()
	_, ck, base, cal := passtest.Biased(t)
	s, err := calib.NewSequence(ck, base, cal)
	if err != nil {
		t.Fatal(err)
	}
	at := func(kind string, layer int) model.Module {
		for _, m := range ck.Config.Modules() {
			if m.Kind == kind && m.Layer == layer {
				return m
			}
		}
		t.Fatalf("there is no %s in layer %d", kind, layer)
		return model.Module{}
	}
	drift := func(m model.Module) kernels.Matrix {
		f, err := s.Factor(ctx, m, 32)
		if err != nil {
			t.Fatal(err)
		}
		k, err := s.Drift(ctx, m, f)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if k := drift(at("q", 0)); k.Data != nil {
		t.Error("there is a drift before anything is quantized")
	}
	for _, m := range ck.Config.Modules() {
		if m.Layer != 0 {
			continue
		}
		q, _, err := method.One(ctx, base.Engine, ck, m, recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.RTN})
		if err != nil {
			t.Fatal(err)
		}
		l, err := kernels.NewQuantLinear(q)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(m, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Enter(ctx, 1); err != nil {
		t.Fatal(err)
	}
	m := at("down", 1)
	k := drift(m)
	inputs := func(on func(f func(x []float32, rows, cols int) error) error) (all []float64) {
		if err := on(func(x []float32, rows, cols int) error {
			for _, v := range x[:rows*cols] {
				all = append(all, float64(v))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	x := inputs(func(f func(x []float32, rows, cols int) error) error { return s.Input(ctx, m, f) })
	stack, err := base.NewStack(cal.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Advance(ctx, base); err != nil {
		t.Fatal(err)
	}
	wanted := inputs(func(f func(x []float32, rows, cols int) error) error { return s.InputsOf(ctx, stack, base, m, f) })
	// Of unit weights: input c of the float model from all inputs there are. The damping
	// of the factor is part of what is least.
	n := m.Cols
	mean := 0.0
	for _, v := range x {
		mean += v * v / float64(n)
	}
	f, err := s.Factor(ctx, m, 32)
	if err != nil {
		t.Fatal(err)
	}
	damping := f.Damping * mean
	for c := range n {
		// The gradient of |x (e + k) - wanted|² + damping |k|², k the c-th column of K.
		grad, scale := make([]float64, n), make([]float64, n)
		for t0 := 0; t0 < len(x); t0 += n {
			off := x[t0+c] - wanted[t0+c]
			d := off
			for i := range n {
				d += x[t0+i] * float64(k.Row(i)[c])
			}
			for i := range n {
				grad[i] += d * x[t0+i]
				scale[i] += math.Abs(off * x[t0+i])
			}
		}
		for i := range n {
			grad[i] += damping * float64(k.Row(i)[c])
			if math.Abs(grad[i]) > 2e-3*scale[i]+1e-6 {
				t.Fatalf("input %d: a slope of %g towards %d, of sums of %g", c, grad[i], i, scale[i])
			}
		}
	}
}
