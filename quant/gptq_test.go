package quant

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
)

func newEngine(t testing.TB, threads int) *kernels.Engine {
	t.Helper()
	eng, err := kernels.New(kernels.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eng.Close)
	return eng
}

// inputs makes correlated inputs of very different sizes, as models have them.
func inputs(rng *rand.Rand, tokens, cols int) []float32 {
	x := make([]float32, tokens*cols)
	for i := range tokens {
		common := rng.NormFloat64()
		for c := range cols {
			x[i*cols+c] = float32((rng.NormFloat64() + 2*common) * math.Exp(float64(c%7)-3))
		}
	}
	return x
}

func hessianOf(t testing.TB, eng *kernels.Engine, x []float32, tokens, cols int) *hessian {
	t.Helper()
	h := newHessian(eng, cols)
	for at := 0; at < tokens; at += 100 { // in pieces, as texts come
		n := min(100, tokens-at)
		if err := h.add(context.Background(), x[at*cols:], n, cols); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHessian(t *testing.T) {
	const tokens, cols = 1300, 70
	x := inputs(rand.New(rand.NewPCG(1, 1)), tokens, cols)
	h := hessianOf(t, newEngine(t, 2), x, tokens, cols)
	if h.tokens != tokens {
		t.Fatalf("%d tokens", h.tokens)
	}
	for i := range cols {
		for j := range cols {
			want, size := 0.0, 0.0
			for k := range tokens {
				p := float64(x[k*cols+i]) * float64(x[k*cols+j])
				want += p
				size += math.Abs(p)
			}
			if math.Abs(float64(h.at(i, j))-want) > 1e-5*size {
				t.Fatalf("element %d, %d is %g, want %g", i, j, h.at(i, j), want)
			}
		}
	}
}

// The factor belongs to the inverse: with X the transposed inverse of L in the
// order of a, X Xᵀ... is (H + damping)^-1, so the product with H is the identity.
func TestFactor(t *testing.T) {
	for _, cols := range []int{1, 5, 128, 129, 300} {
		eng := newEngine(t, 2)
		h := hessianOf(t, eng, inputs(rand.New(rand.NewPCG(2, 2)), 2*cols+10, cols), 2*cols+10, cols)
		f, err := h.newFactor(context.Background(), 32)
		if err != nil {
			t.Fatal(err)
		}
		if sorted := slices.Sorted(slices.Values(f.column)); sorted[0] != 0 || sorted[cols-1] != cols-1 || len(slices.Compact(sorted)) != cols {
			t.Fatalf("%d columns: the order is not a permutation", cols)
		}
		mean := 0.0
		for c := range cols {
			mean += float64(h.at(c, c)) / float64(cols)
		}
		damped := func(i, j int) float64 {
			v := float64(h.at(f.column[i], f.column[j]))
			if i == j {
				v += f.damping * mean
			}
			return v
		}
		// (L^-1) H (L^-1)ᵀ is the identity.
		half := make([]float64, cols*cols) // L^-1 H
		for i := range cols {
			for j := range cols {
				for k := range i + 1 {
					half[i*cols+j] += float64(f.inverse.Row(k)[i]) * damped(k, j)
				}
			}
		}
		for i := range cols {
			for j := range cols {
				got, want := 0.0, 0.0
				for k := range j + 1 {
					got += half[i*cols+k] * float64(f.inverse.Row(k)[j])
				}
				if i == j {
					want = 1
				}
				if math.Abs(got-want) > 2e-2 {
					t.Fatalf("%d columns: element %d, %d of the identity is %g", cols, i, j, got)
				}
			}
		}
	}
}

// Inputs that do not span the columns need the damping, and those that are not
// finite are refused.
func TestFactorOfPoorInputs(t *testing.T) {
	eng := newEngine(t, 1)
	const cols = 64
	few := hessianOf(t, eng, inputs(rand.New(rand.NewPCG(3, 3)), 3, cols), 3, cols)
	if f, err := few.newFactor(context.Background(), 32); err != nil || f.damping < cols/3 {
		t.Errorf("three tokens: %+v, %v", f, err)
	}
	if many := hessianOf(t, eng, inputs(rand.New(rand.NewPCG(3, 3)), 200*cols, cols), 200*cols, cols); many.damping() != leastDamping {
		t.Errorf("many tokens are damped by %g", many.damping())
	}
	if _, err := newHessian(eng, cols).newFactor(context.Background(), 32); err != nil {
		t.Errorf("no inputs: %v", err)
	}
	bad := inputs(rand.New(rand.NewPCG(3, 3)), 3, cols)
	bad[5] = float32(math.NaN())
	if _, err := hessianOf(t, eng, bad, 3, cols).newFactor(context.Background(), 32); !errors.Is(err, ErrSingular) {
		t.Errorf("a NaN: %v", err)
	}
}

// textbook is GPTQ one column and one weight at a time, in float64, from the
// inverse Hessian itself: after each column the inverse loses its row and column
// by Gaussian elimination (Frantar et al., 2022, equations 2 and 3).
func textbook(w kernels.Matrix, h *hessian, f *factor, spec Spec) *kernels.QTensor {
	n := w.Cols
	inv := invert(n, func(i, j int) float64 {
		v := float64(h.at(i, j))
		if i == j {
			mean := 0.0
			for c := range n {
				mean += float64(h.at(c, c)) / float64(n)
			}
			v += f.damping * mean
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
		c := f.column[a]
		group := c / width
		for r, row := range rows {
			at := r*q.Groups() + group
			if !started[group] {
				first := a - min(width, n-group*width) + 1
				x := make([]float32, 0, width)
				for _, col := range f.column[first : a+1] {
					x = append(x, float32(row[col]))
				}
				g := searchGrid(x, f.weights[first:a+1], spec.Scheme())
				q.Scales[at] = g.scale
				if !spec.Sym {
					q.Zeros[at] = uint8(g.zero)
				}
			}
			scale := kernels.F16ToF32(q.Scales[at])
			k := code(float32(row[c]), scale, int(q.Zero(r, group)), q.Scheme)
			q.SetCode(r, c, uint8(k))
			e := (row[c] - float64(float32(k-int(q.Zero(r, group)))*scale)) / inv[c*n+c]
			for _, other := range f.column[:a] {
				row[other] -= e * inv[c*n+other]
			}
		}
		started[group] = true
		for _, i := range f.column[:a] {
			for _, j := range f.column[:a] {
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
	eng := newEngine(t, 2)
	rng := rand.New(rand.NewPCG(4, 4))
	for _, short := range []string{"w4 g32 sym gptq", "w4 channel asym gptq", "w4 g64 asym gptq", "w8 g32 sym gptq"} {
		r, err := ParseRecipe(short)
		if err != nil {
			t.Fatal(err)
		}
		spec := r.Default
		for _, cols := range []int{32, 100, 300} {
			h := hessianOf(t, eng, inputs(rng, 600, cols), 600, cols)
			w := kernels.NewMatrix(9, cols)
			for i := range w.Data {
				w.Data[i] = float32(rng.NormFloat64())
			}
			f, err := h.newFactor(context.Background(), spec.Scheme().GroupWidth(cols))
			if err != nil {
				t.Fatal(err)
			}
			got, err := gptq(context.Background(), eng, w, f, spec.Scheme(), nil)
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
			plain, _, err := Quantize(eng, w.Data, w.Rows, cols, Spec{Bits: spec.Bits, Group: spec.Group, Sym: spec.Sym, Method: MSE})
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
	eng := newEngine(t, 2)
	rng := rand.New(rand.NewPCG(6, 6))
	const cols = 96
	x := make([]float32, 4000*cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	fresh := hessianOf(t, eng, x[2000*cols:], 2000, cols)
	spec := Spec{Bits: 4, Group: 32, Sym: true, Method: GPTQ}
	w := kernels.NewMatrix(40, cols)
	for i := range w.Data {
		w.Data[i] = float32(rng.NormFloat64())
	}
	plain, _, err := Quantize(eng, w.Data, w.Rows, cols, Spec{Bits: 4, Group: 32, Sym: true, Method: MSE})
	if err != nil {
		t.Fatal(err)
	}
	most := outputLoss(fresh, w, plain)
	for _, tokens := range []int{1, 8, 48, 96, 300, 2000} {
		f, err := hessianOf(t, eng, x, tokens, cols).newFactor(context.Background(), spec.Group)
		if err != nil {
			t.Fatal(err)
		}
		q, err := gptq(context.Background(), eng, w, f, spec.Scheme(), nil)
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
func outputLoss(h *hessian, w kernels.Matrix, q *kernels.QTensor) float64 {
	loss := 0.0
	back := make([]float32, w.Cols)
	for r := range w.Rows {
		q.DequantRow(back, r)
		for i := range back {
			for j := range back {
				loss += float64(w.Row(r)[i]-back[i]) * float64(h.at(i, j)) * float64(w.Row(r)[j]-back[j])
			}
		}
	}
	return loss
}

func TestCalibration(t *testing.T) {
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	a, err := NewCalibration(ck, CalibrationOptions{Samples: 4, Length: 32, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := NewCalibration(ck, CalibrationOptions{Samples: 4, Length: 32, Seed: 1})
	c, _ := NewCalibration(ck, CalibrationOptions{Samples: 4, Length: 32, Seed: 2})
	if len(a.Tokens) != 4 || len(a.Tokens[0]) != 32 || len(a.Notes) > 0 {
		t.Errorf("%d samples of %d, notes %q", len(a.Tokens), len(a.Tokens[0]), a.Notes)
	}
	if !slices.EqualFunc(a.Tokens, b.Tokens, slices.Equal) || slices.EqualFunc(a.Tokens, c.Tokens, slices.Equal) {
		t.Error("the seed does not decide the samples")
	}
	most, err := NewCalibration(ck, CalibrationOptions{Name: "t", Text: []byte(strings.Repeat("A dog and a cat. ", 100)), Samples: 1000, Length: 64})
	if err != nil || most.Samples >= 1000 || most.Samples != len(most.Tokens) || len(most.Notes) != 1 || !strings.Contains(most.Notes[0], "not 1000") {
		t.Errorf("a short text: %+v, %v", most, err)
	}
	said := "{\"text\": \"A dog and a cat. \"}\n"
	lines, err := NewCalibration(ck, CalibrationOptions{Name: "t", Text: []byte(strings.Repeat(said, 100)), Samples: 1, Length: 64})
	if err != nil || strings.Contains(ck.Tokenizer.Decode(lines.Tokens[0]), "text") {
		t.Errorf("JSON lines: %+v, %v", lines, err)
	}
	for what, o := range map[string]CalibrationOptions{
		"too short":        {Name: "t", Text: []byte("hi")},
		"broken lines":     {Name: "t", Text: []byte("{\"text\": \"a\"}\n{")},
		"nothing in lines": {Name: "t", Text: []byte("{\"x\": 1}")},
		"negative samples": {Samples: -1},
		"single tokens":    {Length: 1},
		"empty":            {Name: "t", Text: []byte(" \n")},
		"binary":           {Name: "t", Text: []byte("text\x00and more")},
		"not UTF-8":        {Name: "t", Text: []byte("caf\xe9 and more")},
	} {
		if _, err := NewCalibration(ck, o); !errors.Is(err, ErrCalibration) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := One(context.Background(), newEngine(t, 1), ck, ck.Config.Modules()[1], Spec{Bits: 4, Group: 32, Sym: true, Method: GPTQ}); !errors.Is(err, ErrRecipe) {
		t.Errorf("a single matrix by gptq: %v", err)
	}
}
