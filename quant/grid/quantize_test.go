package grid_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"nibble/quant/grid"
	"nibble/quant/method"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

func TestSearchIsNeverWorse(t *testing.T) {
	const rows, cols = 24, 172
	w := quanttest.Weights(rows, cols)
	eng := quanttest.Engine(t, 2)
	for _, s := range passtest.Specs() {
		_, rtn, err := passtest.Quantize(eng, w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		s.Method = method.MSE
		_, mse, err := passtest.Quantize(eng, w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		if mse.MSE > rtn.MSE {
			t.Errorf("%s: searched error %g, plain %g", s, mse.MSE, rtn.MSE)
		}
	}
}

func TestSearchGains(t *testing.T) {
	const rows, cols = 32, 256
	rng := rand.New(rand.NewPCG(3, 4))
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	for _, s := range []recipe.Spec{{Bits: 4, Group: 32, Sym: true, Method: method.RTN}, {Bits: 4, Group: 128, Sym: true, Method: method.RTN}, {Bits: 4, Group: 128, Sym: false, Method: method.RTN}} {
		_, rtn, err := passtest.Quantize(quanttest.Engine(t, 2), w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		s.Method = method.MSE
		_, mse, err := passtest.Quantize(quanttest.Engine(t, 2), w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.4f of the plain error", s, mse.MSE/rtn.MSE)
		if mse.MSE > 0.95*rtn.MSE {
			t.Errorf("%s: the search gains nothing: %g against %g", s, mse.MSE, rtn.MSE)
		}
	}
}

// Rounding to nearest is at most half a step away unless it is clipped.
func TestRTNError(t *testing.T) {
	const rows, cols = 24, 172
	w := quanttest.Weights(rows, cols)
	for _, s := range passtest.Specs() {
		q, _, err := passtest.Quantize(quanttest.Engine(t, 1), w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		back := make([]float32, cols)
		for r := range rows {
			q.DequantRow(back, r)
			for c, v := range w[r*cols : (r+1)*cols] {
				step := math.Abs(float64(q.Scale(r, c/s.Scheme().GroupWidth(cols))))
				if s.Table != "" {
					step *= 24 // the widest there is
				}
				code := int(q.Code(r, c))
				clipped := code == 0 || code == s.Scheme().MaxCode()
				limit := step/2*1.001 + 1e-7
				if clipped {
					limit = step*1.01 + 1e-7
				}
				if d := math.Abs(float64(v - back[c])); d > limit {
					t.Fatalf("%s row %d column %d: %g became %g, step %g", s, r, c, v, back[c], step)
				}
			}
		}
	}
}

func TestThreadsDoNotMatter(t *testing.T) {
	const rows, cols = 65, 96
	w := quanttest.Weights(rows, cols)
	s := recipe.Spec{Bits: 4, Group: 32, Sym: false, Method: method.MSE}
	one, s1, err := passtest.Quantize(quanttest.Engine(t, 1), w, rows, cols, s)
	if err != nil {
		t.Fatal(err)
	}
	four, s4, err := passtest.Quantize(quanttest.Engine(t, 4), w, rows, cols, s)
	if err != nil {
		t.Fatal(err)
	}
	if string(one.Codes) != string(four.Codes) || s1 != s4 {
		t.Error("four threads give another result than one")
	}
}

func TestNotFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		w := quanttest.Weights(2, 32)
		w[40] = bad
		if _, _, err := passtest.Quantize(quanttest.Engine(t, 1), w, 2, 32, recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.RTN}); !errors.Is(err, grid.ErrNotFinite) {
			t.Errorf("%v: %v, want ErrNotFinite", bad, err)
		}
	}
}
