package train

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/quant/grid"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// A rounding begins with the codes and scales of the matrix it starts from, even
// where they are not the nearest to the weights.
func TestRoundingStart(t *testing.T) {
	const rows, cols = 24, 172
	eng := quanttest.Engine(t, 2)
	w := kernels.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: quanttest.Weights(rows, cols)}
	rng := rand.New(rand.NewPCG(5, 6))
	for _, s := range passtest.Specs() {
		q, _, err := passtest.Quantize(eng, w.Data, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		for range 500 { // as GPTQ moves codes
			r, c := rng.IntN(rows), rng.IntN(cols)
			if q.Scale(r, c/q.Scheme.GroupWidth(cols)) == 0 {
				continue
			}
			code := int(q.Code(r, c)) + rng.IntN(5) - 2
			q.SetCode(r, c, uint8(max(q.Scheme.MinCode(), min(q.Scheme.MaxCode(), code))))
		}
		r := NewRounding(eng, w, q)
		if !slices.Equal(r.Codes.Codes, q.Codes) || !slices.Equal(r.Codes.Scales, q.Scales) || !slices.Equal(r.Codes.Zeros, q.Zeros) {
			t.Errorf("%s: training starts from other codes", s)
		}
		back := make([]float32, cols)
		for i := range rows {
			r.Codes.DequantRow(back, i)
			if !slices.Equal(back, r.Value.Row(i)) {
				t.Errorf("%s: row %d is trained with other values than its codes have", s, i)
			}
		}
	}
}

// A step moves each offset against its gradient, but not where codes are at their
// end, and scales and zero points against theirs.
func TestRoundingStep(t *testing.T) {
	const rate, share = 0.01, 0.5
	eng := quanttest.Engine(t, 1)
	for _, s := range []recipe.Spec{{Bits: 4, Group: 32, Sym: true, Method: "mse"}, {Bits: 4, Group: 32, Sym: false, Method: "mse"}, {Bits: 8, Group: 32, Sym: true, Method: "mse"}, {Bits: 8, Group: 32, Sym: false, Method: "mse"}} {
		for _, scale := range []float32{0.5, -0.5} {
			if scale < 0 && !s.Sym {
				continue
			}
			q, err := kernels.NewQTensor(1, 32, s.Scheme())
			if err != nil {
				t.Fatal(err)
			}
			q.Scales[0] = kernels.F32ToF16(scale)
			if !s.Sym {
				q.Zeros[0] = uint8(s.Scheme().MidCode())
			}
			zero := int(q.Zero(0, 0))
			w := kernels.NewMatrix(1, 32)
			for i := range 32 {
				w.Data[i] = scale * (float32(i%5-2) + 0.25)
				q.SetCode(0, i, uint8(zero+i%5-2))
			}
			w.Data[31] = scale * 1000 // far beyond the last code
			q.SetCode(0, 31, uint8(s.Scheme().MaxCode()))
			r := NewRounding(eng, w, q)
			if r.offset[31] != 0 {
				t.Errorf("%s: a weight beyond the codes has offset %g", s, r.offset[31])
			}
			for i := range r.Grad.Data {
				r.Grad.Data[i] = float32(i%3-1) * 1e-3
			}
			r.Grad.Data[31] = 1 // the value should be less, so the scale, and the zero point more
			was := slices.Clone(r.offset)
			r.Step(eng, rate, share)
			for i := range 31 {
				want := -float32(rate) * float32(i%3-1) * sign(scale)
				if got := r.offset[i] - was[i]; math.Abs(float64(got-want)) > 1e-6 {
					t.Errorf("%s, scale %g: offset %d moved by %g, want %g", s, scale, i, got, want)
				}
			}
			if r.offset[31] != 0 {
				t.Errorf("%s: the offset of a clipped weight moved", s)
			}
			if want := scale - sign(scale)*rate*share*float32(math.Abs(float64(scale)))*sign(scale); math.Abs(float64(r.scale[0]-want)) > 1e-6 {
				t.Errorf("%s: scale %g became %g, want %g", s, scale, r.scale[0], want)
			}
			if !s.Sym && math.Abs(float64(r.zero[0])-float64(zero)-rate) > 1e-5 {
				t.Errorf("%s: zero point %d became %g", s, zero, r.zero[0])
			}
			if slices.Max(r.Grad.Data) != 0 {
				t.Errorf("%s: the gradient is kept", s)
			}
		}
	}
}

// A step of a matrix is a step of each of its rows.
func TestRoundingStepOfRows(t *testing.T) {
	const rows, cols = 5, 80
	eng := quanttest.Engine(t, 2)
	rng := rand.New(rand.NewPCG(2, 9))
	for _, s := range []recipe.Spec{{Bits: 4, Group: 32, Sym: true, Method: "mse"}, {Bits: 4, Group: 32, Method: "mse"}} {
		w := kernels.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: quanttest.Weights(rows, cols)}
		start := func(w kernels.Matrix) *Rounding {
			q, _, err := passtest.Quantize(eng, w.Data, w.Rows, cols, s)
			if err != nil {
				t.Fatal(err)
			}
			return NewRounding(eng, w, q)
		}
		all := start(w)
		var grads [3][]float32
		for i := range grads {
			for range rows * cols {
				grads[i] = append(grads[i], float32(rng.NormFloat64()))
			}
			copy(all.Grad.Data, grads[i])
			all.Step(eng, 0.3, 0.5)
			all.Round(eng)
		}
		for r := range rows {
			one := start(kernels.Matrix{Rows: 1, Cols: cols, Stride: cols, Data: w.Row(r)})
			for i := range grads {
				copy(one.Grad.Data, grads[i][r*cols:(r+1)*cols])
				one.Step(eng, 0.3, 0.5)
				one.Round(eng)
			}
			if !slices.Equal(one.Value.Row(0), all.Value.Row(r)) {
				t.Errorf("%s: row %d is trained in other ways among others", s, r)
			}
		}
		best := start(w)
		all.settle(eng, best.Codes)
		if all.Codes != best.Codes || !slices.Equal(all.Value.Data, best.Value.Data) {
			t.Errorf("%s: training does not end with the best codes", s)
		}
	}
}

// The rate of training falls in a line from the first iteration to 0 after the last.
func TestDecay(t *testing.T) {
	for i, want := range []float32{2, 1.5, 1, 0.5, 0} {
		if got := decay(2, i, 4); got != want {
			t.Errorf("a rate of %g in iteration %d, want %g", got, i, want)
		}
	}
}

// Training leaves rows of eight bits alone.
func TestTopRowsAreNotTrained(t *testing.T) {
	eng := quanttest.Engine(t, 1)
	w := kernels.NewMatrix(4, 32)
	for i := range w.Data {
		w.Data[i] = float32(i%13) - 6
	}
	spec := recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: "rtn"}
	q, _, err := passtest.Quantize(eng, w.Data, w.Rows, w.Cols, spec)
	if err != nil {
		t.Fatal(err)
	}
	q.Scheme.Top = 50
	grid.Raise(eng, q, grid.RowsOf(w), []int32{0, 2})
	r := NewRounding(eng, w, q)
	for range 300 {
		for i := range r.Grad.Data {
			r.Grad.Data[i] = 1
		}
		r.Step(eng, 0.01, 0.1)
		r.Round(eng)
	}
	want, got := make([]float32, 32), make([]float32, 32)
	for i := range w.Rows {
		q.DequantRow(want, i)
		r.Codes.DequantRow(got, i)
		if same, fixed := slices.Equal(got, want), i%2 == 0; same != fixed {
			t.Errorf("row %d: as it was %t, want %t", i, same, fixed)
		}
		if !slices.Equal(got, r.Value.Row(i)) {
			t.Errorf("row %d: trained with %v, stored as %v", i, r.Value.Row(i), got)
		}
		if slices.ContainsFunc(r.Grad.Row(i), func(x float32) bool { return x != 0 }) {
			t.Errorf("row %d: its gradient was not cleared", i)
		}
	}
}
