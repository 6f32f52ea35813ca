//go:build (amd64 || arm64) && !noasm

package kernels

// dotsFunc is an assembly kernel for a fixed number of rows and tokens. See
// kernels/_asm.
type dotsFunc func(c *float32, ldc int, w *byte, ldw int, x *float32, ldx int, k int)

// dotsSet holds the kernels of one tier and storage type for 1 and 4 rows, by 1
// and tokens tokens.
type dotsSet struct {
	tokens                 int
	multiple               int // k must be one of it
	one, row, column, tile dotsFunc

	// alone takes one token through any number of rows, in the place of one and
	// column.
	alone func(c *float32, w *byte, ldw int, x *float32, k int, rows int)
}

// tiledDots covers rows and tokens with tiles. Every sum is formed in the same
// order in each of them, so that a token's result does not depend on its batch.
func tiledDots(sets map[DType]dotsSet) func(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, k, rows, tokens int) {
	return func(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, k, rows, tokens int) {
		s, size := sets[dt], dt.Size()
		main := k / s.multiple * s.multiple
		_, _, _ = w[((rows-1)*ldw+k)*size-1], x[(tokens-1)*ldx+k-1], dst[(tokens-1)*ldd+rows-1]
		if main == 0 {
			dotsGeneric(dst, ldd, w, ldw, dt, x, ldx, k, rows, tokens)
			return
		}
		for t := 0; t < tokens; {
			nt := 1
			if tokens-t >= s.tokens {
				nt = s.tokens
			}
			if nt == 1 && s.alone != nil {
				s.alone(&dst[t*ldd], &w[0], ldw*size, &x[t*ldx], main, rows)
				t++
				continue
			}
			for r := 0; r < rows; {
				nr, f := 1, s.one
				switch {
				case rows-r >= 4 && nt > 1:
					nr, f = 4, s.tile
				case rows-r >= 4:
					nr, f = 4, s.column
				case nt > 1:
					f = s.row
				}
				f(&dst[t*ldd+r], 4*ldd, &w[r*ldw*size], ldw*size, &x[t*ldx], 4*ldx, main)
				r += nr
			}
			t += nt
		}
		if main < k {
			for t := range tokens {
				for r := range rows {
					dst[t*ldd+r] += dotGeneric(w[(r*ldw+main)*size:], x[t*ldx+main:t*ldx+k], dt)
				}
			}
		}
	}
}
