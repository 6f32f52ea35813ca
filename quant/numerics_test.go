package quant

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels"
)

// What is said to be lost is what the codes lose: of weights, and of outputs for
// some inputs, beside plain rounding.
func TestStatsAreAsDefined(t *testing.T) {
	const rows, cols, tokens = 300, 70, 9 // more rows than are measured at once
	eng := engine(t, 2)
	w := kernels.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: weights(rows, cols)}
	x := kernels.Matrix{Rows: tokens, Cols: cols, Stride: cols, Data: inputs(rand.New(rand.NewPCG(4, 4)), tokens, cols)}
	lost := func(q *kernels.QTensor) (s Stats, outputs float64) {
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
	is := func(s Spec, what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-4*want {
			t.Errorf("%s: %s is said to be %g, it is %g", s, what, got, want)
		}
	}
	for _, s := range specs() {
		q, stats, err := Quantize(eng, w.Data, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		plain := s
		plain.Method = RTN
		rounded, _, err := Quantize(eng, w.Data, rows, cols, plain)
		if err != nil {
			t.Fatal(err)
		}
		want, outputs := lost(q)
		_, outputsRTN := lost(rounded)
		measured, err := measureOn(context.Background(), eng, w, q, x)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []Stats{stats, measured} {
			is(s, "the mean squared error", got.MSE, want.MSE)
			is(s, "the relative error", got.RelErr, want.RelErr)
			is(s, "the largest error", got.MaxErr, want.MaxErr)
		}
		is(s, "the outputs' error", measured.OutErr, outputs)
		is(s, "the outputs' error by plain rounding", measured.OutErrRTN, outputsRTN)
	}
}

// Polishing takes the line of least weighted squares through codes and weights,
// and then the scale that fits the codes which that zero point gives.
func TestPolishIsLeastSquares(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 7))
	for _, spec := range []Spec{{Bits: 4, Group: 32, Method: MSE}, {Bits: 4, Group: 32, Sym: true, Method: MSE}, {Bits: 8, Group: 32, Method: MSE}} {
		moved := 0
		for range 50 {
			x, h := make([]float32, 32), make([]float32, 32)
			shift := rng.NormFloat64()
			for i := range x {
				x[i], h[i] = float32(rng.NormFloat64()+shift), float32(0.1+rng.ExpFloat64())
			}
			top, bottom := float64(spec.Scheme().MaxCode()), float64(spec.Scheme().MinCode())
			g := grid{roundScale((3 + rng.Float64()) / top * 1.6), spec.Scheme().MidCode()}
			if !spec.Sym {
				g.zero = int(top/4) + rng.IntN(int(top/2))
			}
			codes := func(scale float64, zero int) []float64 { // less the zero point
				out := make([]float64, len(x))
				for i, v := range x {
					out[i] = max(bottom-float64(zero), min(top-float64(zero), math.RoundToEven(float64(v)/scale)))
				}
				return out
			}
			scale, zero := float64(kernels.F16ToF32(g.scale)), g.zero
			if !spec.Sym {
				y, n, mx, my := codes(scale, zero), 0.0, 0.0, 0.0
				for i := range x {
					k := float64(h[i])
					n, mx, my = n+k, mx+k*float64(x[i]), my+k*y[i]
				}
				mx, my = mx/n, my/n
				cov, vary := 0.0, 0.0
				for i := range x {
					cov += float64(h[i]) * (float64(x[i]) - mx) * (y[i] - my)
					vary += float64(h[i]) * (y[i] - my) * (y[i] - my)
				}
				slope := cov / vary // weights by codes
				offset := mx - slope*my
				zero = int(max(0, min(top, float64(zero)-math.RoundToEven(offset/slope))))
			}
			xy, yy := 0.0, 0.0
			for i, y := range codes(scale, zero) {
				xy, yy = xy+float64(h[i])*float64(x[i])*y, yy+float64(h[i])*y*y
			}
			want := grid{roundScale(xy / yy), zero}
			if got := polish(x, h, g, spec.Scheme()); got != want {
				t.Fatalf("%s: %+v becomes %+v, want %+v", spec, g, got, want)
			}
			if zero != g.zero {
				moved++
			}
		}
		if spec.Sym != (moved == 0) {
			t.Errorf("%s: the zero point moved %d times", spec, moved)
		}
	}
}

// A step of a matrix is a step of each of its rows.
func TestRoundingStepOfRows(t *testing.T) {
	const rows, cols = 5, 80
	eng := engine(t, 2)
	rng := rand.New(rand.NewPCG(2, 9))
	for _, s := range []Spec{{Bits: 4, Group: 32, Sym: true, Method: MSE}, {Bits: 4, Group: 32, Method: MSE}} {
		w := kernels.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: weights(rows, cols)}
		start := func(w kernels.Matrix) *rounding {
			q, _, err := Quantize(eng, w.Data, w.Rows, cols, s)
			if err != nil {
				t.Fatal(err)
			}
			return newRounding(eng, w, q)
		}
		all := start(w)
		var grads [3][]float32
		for i := range grads {
			for range rows * cols {
				grads[i] = append(grads[i], float32(rng.NormFloat64()))
			}
			copy(all.grad.Data, grads[i])
			all.step(eng, 0.3, 0.5)
			all.round(eng)
		}
		for r := range rows {
			one := start(kernels.Matrix{Rows: 1, Cols: cols, Stride: cols, Data: w.Row(r)})
			for i := range grads {
				copy(one.grad.Data, grads[i][r*cols:(r+1)*cols])
				one.step(eng, 0.3, 0.5)
				one.round(eng)
			}
			if !slices.Equal(one.value.Row(0), all.value.Row(r)) {
				t.Errorf("%s: row %d is trained in other ways among others", s, r)
			}
		}
		best := start(w)
		all.settle(eng, best.q)
		if all.q != best.q || !slices.Equal(all.value.Data, best.value.Data) {
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

// Groups stay together, those with the largest inputs are quantized first, and in
// each the columns with the largest.
func TestOrderOfColumns(t *testing.T) {
	const cols, width = 70, 32
	h := hessianOf(t, newEngine(t, 2), inputs(rand.New(rand.NewPCG(3, 3)), 200, cols), 200, cols)
	f, err := h.newFactor(context.Background(), width)
	if err != nil {
		t.Fatal(err)
	}
	most := math.Inf(1)
	for _, g := range f.groups { // in the order in which they are quantized, each from its end
		size := 0.0
		for a := g[0]; a < g[1]; a++ {
			c := f.column[a]
			size = max(size, float64(h.at(c, c)))
			if c/width != f.column[g[0]]/width {
				t.Errorf("columns %d and %d are in one group", c, f.column[g[0]])
			}
			if a > g[0] && h.at(c, c) < h.at(f.column[a-1], f.column[a-1]) {
				t.Errorf("column %d comes before %d, whose inputs are larger", c, f.column[a-1])
			}
		}
		if size > most {
			t.Errorf("the group of column %d comes after one with smaller inputs", f.column[g[0]])
		}
		most = size
	}
}
