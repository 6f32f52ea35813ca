package calib_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/quant/calib"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
)

func TestHessian(t *testing.T) {
	const tokens, cols = 1300, 70
	x := quanttest.Inputs(rand.New(rand.NewPCG(1, 1)), tokens, cols)
	h := passtest.HessianOf(t, quanttest.Engine(t, 2), x, tokens, cols)
	if h.Tokens != tokens {
		t.Fatalf("%d tokens", h.Tokens)
	}
	for i := range cols {
		for j := range cols {
			want, size := 0.0, 0.0
			for k := range tokens {
				p := float64(x[k*cols+i]) * float64(x[k*cols+j])
				want += p
				size += math.Abs(p)
			}
			if math.Abs(float64(h.At(i, j))-want) > 1e-5*size {
				t.Fatalf("element %d, %d is %g, want %g", i, j, h.At(i, j), want)
			}
		}
	}
}

// The factor belongs to the inverse: with X the transposed inverse of L in the
// order of a, X Xᵀ... is (H + damping)^-1, so the product with H is the identity.
func TestFactor(t *testing.T) {
	for _, cols := range []int{1, 5, 128, 129, 300} {
		eng := quanttest.Engine(t, 2)
		h := passtest.HessianOf(t, eng, quanttest.Inputs(rand.New(rand.NewPCG(2, 2)), 2*cols+10, cols), 2*cols+10, cols)
		f, err := h.NewFactor(context.Background(), 32)
		if err != nil {
			t.Fatal(err)
		}
		if sorted := slices.Sorted(slices.Values(f.Column)); sorted[0] != 0 || sorted[cols-1] != cols-1 || len(slices.Compact(sorted)) != cols {
			t.Fatalf("%d columns: the order is not a permutation", cols)
		}
		mean := 0.0
		for c := range cols {
			mean += float64(h.At(c, c)) / float64(cols)
		}
		damped := func(i, j int) float64 {
			v := float64(h.At(f.Column[i], f.Column[j]))
			if i == j {
				v += f.Damping * mean
			}
			return v
		}
		// (L^-1) H (L^-1)ᵀ is the identity.
		half := make([]float64, cols*cols) // L^-1 H
		for i := range cols {
			for j := range cols {
				for k := range i + 1 {
					half[i*cols+j] += float64(f.Inverse.Row(k)[i]) * damped(k, j)
				}
			}
		}
		for i := range cols {
			for j := range cols {
				got, want := 0.0, 0.0
				for k := range j + 1 {
					got += half[i*cols+k] * float64(f.Inverse.Row(k)[j])
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
	eng := quanttest.Engine(t, 1)
	const cols = 64
	few := passtest.HessianOf(t, eng, quanttest.Inputs(rand.New(rand.NewPCG(3, 3)), 3, cols), 3, cols)
	if f, err := few.NewFactor(context.Background(), 32); err != nil || f.Damping < cols/3 {
		t.Errorf("three tokens: %+v, %v", f, err)
	}
	if many := passtest.HessianOf(t, eng, quanttest.Inputs(rand.New(rand.NewPCG(3, 3)), 200*cols, cols), 200*cols, cols); many.Damping() != calib.LeastDamping {
		t.Errorf("many tokens are damped by %g", many.Damping())
	}
	if _, err := calib.NewHessian(eng, cols).NewFactor(context.Background(), 32); err != nil {
		t.Errorf("no inputs: %v", err)
	}
	bad := quanttest.Inputs(rand.New(rand.NewPCG(3, 3)), 3, cols)
	bad[5] = float32(math.NaN())
	if _, err := passtest.HessianOf(t, eng, bad, 3, cols).NewFactor(context.Background(), 32); !errors.Is(err, calib.ErrSingular) {
		t.Errorf("a NaN: %v", err)
	}
}

// Groups stay together, those with the largest inputs are quantized first, and in
// each the columns with the largest.
func TestOrderOfColumns(t *testing.T) {
	const cols, width = 70, 32
	h := passtest.HessianOf(t, quanttest.Engine(t, 2), quanttest.Inputs(rand.New(rand.NewPCG(3, 3)), 200, cols), 200, cols)
	f, err := h.NewFactor(context.Background(), width)
	if err != nil {
		t.Fatal(err)
	}
	most := math.Inf(1)
	for _, g := range f.Groups { // in the order in which they are quantized, each from its end
		size := 0.0
		for a := g[0]; a < g[1]; a++ {
			c := f.Column[a]
			size = max(size, float64(h.At(c, c)))
			if c/width != f.Column[g[0]]/width {
				t.Errorf("columns %d and %d are in one group", c, f.Column[g[0]])
			}
			if a > g[0] && h.At(c, c) < h.At(f.Column[a-1], f.Column[a-1]) {
				t.Errorf("column %d comes before %d, whose inputs are larger", c, f.Column[a-1])
			}
		}
		if size > most {
			t.Errorf("the group of column %d comes after one with smaller inputs", f.Column[g[0]])
		}
		most = size
	}
}
