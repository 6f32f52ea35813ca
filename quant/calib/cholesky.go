package calib

import (
	"context"
	"math"

	"nibble/kernels"
)

// choleskyBlock is the width of the blocks of the factorization; all but the
// blocks on the diagonal is products on the engine's kernels.
const choleskyBlock = 128

// cholesky replaces the lower triangle of a, symmetric, by its Cholesky factor.
// It reports false, and leaves a undefined, when a is not positive definite.
func cholesky(ctx context.Context, eng *kernels.Engine, a kernels.Matrix) (ok bool, err error) {
	n := a.Rows
	panel := kernels.NewMatrix(n, choleskyBlock)
	part := kernels.NewMatrix(min(n, 2*choleskyBlock), n)
	for k0 := 0; k0 < n; k0 += choleskyBlock {
		k1 := min(k0+choleskyBlock, n)
		inverse, ok := factorBlock(a.Sub(k0, k1, k0, k1))
		if !ok {
			return false, nil
		}
		if k1 == n {
			break
		}
		// The panel below the block, times the inverse of the block's transpose.
		below := a.Sub(k1, n, k0, k1)
		dst := panel.Sub(0, n-k1, 0, k1-k0)
		if err := eng.MulTransposed(ctx, dst, below, inverse); err != nil {
			return false, err
		}
		for i := range below.Rows {
			copy(below.Row(i), dst.Row(i))
		}
		// What is left, less the panel times its transpose; the lower triangle only.
		for r0 := 0; r0 < below.Rows; r0 += part.Rows {
			r1 := min(r0+part.Rows, below.Rows)
			product := part.Sub(0, r1-r0, 0, r1)
			if err := eng.MulTransposed(ctx, product, below.Sub(r0, r1, 0, below.Cols), below.Sub(0, r1, 0, below.Cols)); err != nil {
				return false, err
			}
			eng.For(r1-r0, func(_, lo, hi int) {
				for i := lo; i < hi; i++ {
					Subtract(a.Row(k1 + r0 + i)[k1:k1+r0+i+1], product.Row(i))
				}
			})
		}
	}
	return true, nil
}

// Subtract takes x, which may be longer, from dst.
func Subtract(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] -= v
	}
}

// factorBlock factorizes a small block in float64 and returns the inverse of the
// factor, lower triangular with zeros above.
func factorBlock(a kernels.Matrix) (inverse kernels.Matrix, ok bool) {
	n := a.Rows
	l := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			sum := float64(a.Row(i)[j])
			for k := range j {
				sum -= l[i*n+k] * l[j*n+k]
			}
			if i != j {
				l[i*n+j] = sum / l[j*n+j]
				continue
			}
			if !(sum > 0) || math.IsInf(sum, 0) {
				return kernels.Matrix{}, false
			}
			l[i*n+i] = math.Sqrt(sum)
		}
	}
	inverse = kernels.NewMatrix(n, n)
	inv := make([]float64, n*n)
	for j := range n {
		inv[j*n+j] = 1 / l[j*n+j]
		for i := j + 1; i < n; i++ {
			sum := 0.0
			for k := j; k < i; k++ {
				sum -= l[i*n+k] * inv[k*n+j]
			}
			inv[i*n+j] = sum / l[i*n+i]
		}
	}
	for i := range n {
		for j := range i + 1 {
			a.Row(i)[j] = float32(l[i*n+j])
			inverse.Row(i)[j] = float32(inv[i*n+j])
		}
	}
	return inverse, true
}

// invertLower returns the inverse of a lower triangular matrix, transposed: row
// c, column a holds its element (a, c).
func invertLower(ctx context.Context, eng *kernels.Engine, l kernels.Matrix) (kernels.Matrix, error) {
	n := l.Rows
	x := kernels.NewMatrix(n, n)
	part, turned := kernels.NewMatrix(n, choleskyBlock), kernels.NewMatrix(choleskyBlock, n)
	for i0 := 0; i0 < n; i0 += choleskyBlock {
		i1 := min(i0+choleskyBlock, n)
		inverse := invertBlock(l.Sub(i0, i1, i0, i1))
		for i := range inverse.Rows {
			for j := range i + 1 {
				x.Row(i0 + j)[i0+i] = inverse.Row(i)[j]
			}
		}
		if i0 == 0 {
			continue
		}
		// X[i,:] = -inverse(L[i,i]) * L[i,:i] * X[:i,:], all transposed.
		// The first factor is copied on the way: it is the smaller one.
		product, other := part.Sub(0, i0, 0, i1-i0), turned.Sub(0, i1-i0, 0, i0)
		if err := eng.MulTransposed(ctx, other, l.Sub(i0, i1, 0, i0), x.Sub(0, i0, 0, i0)); err != nil {
			return kernels.Matrix{}, err
		}
		eng.Transpose(product, other)
		dst := x.Sub(0, i0, i0, i1)
		if err := eng.MulTransposed(ctx, dst, product, inverse); err != nil {
			return kernels.Matrix{}, err
		}
		for i := range dst.Rows {
			row := dst.Row(i)
			for j := range row {
				row[j] = -row[j]
			}
		}
	}
	return x, nil
}

// invertBlock inverts a small lower triangular block.
func invertBlock(l kernels.Matrix) kernels.Matrix {
	n := l.Rows
	out := kernels.NewMatrix(n, n)
	for j := range n {
		column := make([]float64, n)
		column[j] = 1 / float64(l.Row(j)[j])
		for i := j + 1; i < n; i++ {
			sum := 0.0
			for k := j; k < i; k++ {
				sum -= float64(l.Row(i)[k]) * column[k]
			}
			column[i] = sum / float64(l.Row(i)[i])
		}
		for i := j; i < n; i++ {
			out.Row(i)[j] = float32(column[i])
		}
	}
	return out
}
