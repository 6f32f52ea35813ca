//go:build (amd64 || arm64) && !noasm

package matmul

import (
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

// dotsFunc is an assembly kernel for a fixed number of rows, times over, and of
// tokens; it adds to what is at c if add is 1. See kernels/_asm.
type dotsFunc func(c *float32, ldc int, w *byte, ldw int, x *float32, ldx int, k int, times int, add int)

// dotsTile is the kernels for a number of tokens and four rows, or one.
type dotsTile struct {
	tokens    int
	four, one dotsFunc
}

// dotsSet holds the kernels of one tier and storage type.
type dotsSet struct {
	tiles []dotsTile // in descending order of tokens, the last of one unless there is alone

	// alone takes one token through any number of rows, in stretches of depth
	// columns.
	alone func(c *float32, w *byte, ldw int, x *float32, k int, depth int, rows int)
}

// tiledDots covers rows and tokens with tiles. Every sum is formed in the same
// order in each of them, so that a token's result does not depend on its batch.
func tiledDots(sets number.PerDType[dotsSet]) func(dst []float32, ldd int, w []byte, ldw int, dt number.DType, x []float32, ldx, k, rows, tokens int, add bool) {
	return func(dst []float32, ldd int, w []byte, ldw int, dt number.DType, x []float32, ldx, k, rows, tokens int, add bool) {
		s, size := sets[dt], dt.Size()
		_, _, _ = w[((rows-1)*ldw+k)*size-1], x[(tokens-1)*ldx+k-1], dst[(tokens-1)*ldd+rows-1]
		for t, ti := 0, 0; t < tokens; {
			for ti < len(s.tiles) && s.tiles[ti].tokens > tokens-t {
				ti++
			}
			if ti == len(s.tiles) {
				s.last(dst[t*ldd:][:rows], w, ldw*size, x[t*ldx:], k, add)
				break
			}
			f := s.tiles[ti]
			if n := rows / 4; n > 0 {
				f.four(&dst[t*ldd], 4*ldd, &w[0], ldw*size, &x[t*ldx], 4*ldx, k, n, number.Flag(add))
			}
			if r := rows &^ 3; r < rows {
				f.one(&dst[t*ldd+r], 4*ldd, &w[r*ldw*size], ldw*size, &x[t*ldx], 4*ldx, k, rows-r, number.Flag(add))
			}
			t += f.tokens
		}
	}
}

// last takes the one token that no tile does.
func (s dotsSet) last(dst []float32, w []byte, ldw int, x []float32, k int, add bool) {
	depth := number.RoundUp(k, 16) // a single stretch
	if !add {
		s.alone(&dst[0], &w[0], ldw, &x[0], k, depth, len(dst))
		return
	}
	sums := make([]float32, len(dst))
	s.alone(&sums[0], &w[0], ldw, &x[0], k, depth, len(dst))
	vector.AddGeneric(dst, sums)
}

// tiledRow is the product of one token by the kernels that take it alone.
func tiledRow(sets number.PerDType[dotsSet]) func(dst []float32, w []byte, ldw int, dt number.DType, x []float32, k, depth, rows int) {
	return func(dst []float32, w []byte, ldw int, dt number.DType, x []float32, k, depth, rows int) {
		s, size := sets[dt], dt.Size()
		_, _, _ = w[((rows-1)*ldw+k)*size-1], x[k-1], dst[rows-1]
		s.alone(&dst[0], &w[0], ldw*size, &x[0], k, depth, rows)
	}
}
