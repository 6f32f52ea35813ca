package method

import (
	"context"
	"math/rand/v2"
	"testing"

	"nibble/kernels"
	"nibble/quant/calib"
	"nibble/quant/grid"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// textbook is GPTQ one column and one weight at a time, in float64, from the
// inverse Hessian itself: after each column the inverse loses its row and column
// by Gaussian elimination (Frantar et al., 2022, equations 2 and 3).
func textbook(w kernels.Matrix, h *calib.Hessian, f *calib.Factor, spec recipe.Spec) *kernels.QTensor {
	n := w.Cols
	inv := invert(n, func(i, j int) float64 {
		v := float64(h.At(i, j))
		if i == j {
			mean := 0.0
			for c := range n {
				mean += float64(h.At(c, c)) / float64(n)
			}
			v += f.Damping * mean
		}
		return v
	})
	q, _ := kernels.NewQTensor(w.Rows, n, spec.Scheme())
	width := spec.Scheme().GroupWidth(n)
	rows := make([][]float64, w.Rows)
	for r := range rows {
		rows[r] = make([]float64, n)
		for c, v := range w.Row(r) {
			rows[r][c] = float64(v)
		}
	}
	started := map[int]bool{}
	for a := n - 1; a >= 0; a-- {
		c := f.Column[a]
		group := c / width
		for r, row := range rows {
			at := r*q.Groups() + group
			if !started[group] {
				first := a - min(width, n-group*width) + 1
				x := make([]float32, 0, width)
				for _, col := range f.Column[first : a+1] {
					x = append(x, float32(row[col]))
				}
				g := grid.Find(x, f.Weights[first:a+1], spec.Scheme())
				q.Scales[at] = g.Scale
				if !spec.Sym {
					q.Zeros[at] = uint8(g.Zero)
				}
			}
			scale := kernels.F16ToF32(q.Scales[at])
			k := grid.Code(float32(row[c]), scale, int(q.Zero(r, group)), q.Scheme)
			q.SetCode(r, c, uint8(k))
			e := (row[c] - float64(float32(k-int(q.Zero(r, group)))*scale)) / inv[c*n+c]
			for _, other := range f.Column[:a] {
				row[other] -= e * inv[c*n+other]
			}
		}
		started[group] = true
		for _, i := range f.Column[:a] {
			for _, j := range f.Column[:a] {
				inv[i*n+j] -= inv[i*n+c] * inv[c*n+j] / inv[c*n+c]
			}
		}
	}
	return q
}

func invert(n int, at func(i, j int) float64) []float64 {
	a, inv := make([]float64, n*n), make([]float64, n*n)
	for i := range n {
		for j := range n {
			a[i*n+j] = at(i, j)
		}
		inv[i*n+i] = 1
	}
	for c := range n {
		p := a[c*n+c]
		for j := range n {
			a[c*n+j] /= p
			inv[c*n+j] /= p
		}
		for i := range n {
			if m := a[i*n+c]; i != c {
				for j := range n {
					a[i*n+j] -= m * a[c*n+j]
					inv[i*n+j] -= m * inv[c*n+j]
				}
			}
		}
	}
	return inv
}

func TestGPTQAgainstTextbook(t *testing.T) {
	eng := quanttest.Engine(t, 2)
	rng := rand.New(rand.NewPCG(4, 4))
	for _, short := range []string{"w4 g32 sym gptq", "w4 channel asym gptq", "w4 g64 asym gptq", "w8 g32 sym gptq"} {
		r, err := recipe.Parse(short)
		if err != nil {
			t.Fatal(err)
		}
		spec := r.Default
		for _, cols := range []int{32, 100, 300} {
			h := passtest.HessianOf(t, eng, quanttest.Inputs(rng, 600, cols), 600, cols)
			w := kernels.NewMatrix(9, cols)
			for i := range w.Data {
				w.Data[i] = float32(rng.NormFloat64())
			}
			f, err := h.NewFactor(context.Background(), spec.Scheme().GroupWidth(cols))
			if err != nil {
				t.Fatal(err)
			}
			got, err := QuantizeColumns(context.Background(), eng, w, f, spec.Scheme(), nil)
			if err != nil {
				t.Fatal(err)
			}
			want := textbook(w, h, f, spec)
			differ := 0
			for r := range w.Rows {
				for c := range cols {
					if got.Code(r, c) != want.Code(r, c) {
						differ++
					}
				}
			}
			// A weight halfway between two codes may fall to either side, and its row
			// then goes on differently; most rows have none.
			if differ > w.Rows*cols/5 {
				t.Errorf("%s, %d columns: %d of %d codes differ", short, cols, differ, w.Rows*cols)
			}
			plain, _, err := passtest.Quantize(eng, w.Data, w.Rows, cols, recipe.Spec{Bits: spec.Bits, Group: spec.Group, Sym: spec.Sym, Method: MSE})
			if err != nil {
				t.Fatal(err)
			}
			loss, textLoss, plainLoss := outputLoss(h, w, got), outputLoss(h, w, want), outputLoss(h, w, plain)
			if loss > 1.05*textLoss+1e-9 || loss > 0.8*plainLoss {
				t.Errorf("%s, %d columns: output error %g; textbook %g, without %g", short, cols, loss, textLoss, plainLoss)
			}
		}
	}
}

// Of inputs that are independent there is nothing to learn, and GPTQ learns nothing
// harmful from a few of them: on others it loses what the search alone does.
func TestGPTQOfFewTokens(t *testing.T) {
	eng := quanttest.Engine(t, 2)
	rng := rand.New(rand.NewPCG(6, 6))
	const cols = 96
	x := make([]float32, 4000*cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	fresh := passtest.HessianOf(t, eng, x[2000*cols:], 2000, cols)
	spec := recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: GPTQ}
	w := kernels.NewMatrix(40, cols)
	for i := range w.Data {
		w.Data[i] = float32(rng.NormFloat64())
	}
	plain, _, err := passtest.Quantize(eng, w.Data, w.Rows, cols, recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: MSE})
	if err != nil {
		t.Fatal(err)
	}
	most := outputLoss(fresh, w, plain)
	for _, tokens := range []int{1, 8, 48, 96, 300, 2000} {
		f, err := passtest.HessianOf(t, eng, x, tokens, cols).NewFactor(context.Background(), spec.Group)
		if err != nil {
			t.Fatal(err)
		}
		q, err := QuantizeColumns(context.Background(), eng, w, f, spec.Scheme(), nil)
		if err != nil {
			t.Fatal(err)
		}
		loss := outputLoss(fresh, w, q)
		t.Logf("%4d tokens: %.3f of the loss without any", tokens, loss/most)
		if loss > 1.1*most {
			t.Errorf("%d tokens: the outputs lose %g, without any %g", tokens, loss, most)
		}
	}
}

// outputLoss is the squared error of the outputs, summed over rows and tokens.
func outputLoss(h *calib.Hessian, w kernels.Matrix, q *kernels.QTensor) float64 {
	loss := 0.0
	back := make([]float32, w.Cols)
	for r := range w.Rows {
		q.DequantRow(back, r)
		for i := range back {
			for j := range back {
				loss += float64(w.Row(r)[i]-back[i]) * float64(h.At(i, j)) * float64(w.Row(r)[j]-back[j])
			}
		}
	}
	return loss
}
