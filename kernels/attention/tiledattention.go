//go:build (amd64 || arm64) && !noasm

package attention

import (
	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// scoresTile is an assembly kernel of scoresGeneric for a number of queries;
// valuesTile of valuesGeneric. Leading dimensions and steps count bytes.
type (
	scoresTile struct {
		rows int
		f    func(dst *float32, ldd int, q *float32, keys *byte, step int, blocks int, dim int)
	}
	valuesTile struct {
		rows int
		f    func(dst *float32, ldd int, weights *float32, ldw int, rows *byte, step int, n int, width int, add int)
	}
)

// tiledScores covers queries with tiles, in descending order and ending with
// one. Each query's sums are formed in the same order in each of them.
func tiledScores(tiles number.PerDType[[]scoresTile]) func(dst []float32, ldd int, q []float32, keys []byte, step int, dt number.DType, blocks, dim, rows int) {
	return func(dst []float32, ldd int, q []float32, keys []byte, step int, dt number.DType, blocks, dim, rows int) {
		size := dt.Size()
		_, _, _ = dst[(rows-1)*ldd+blocks*layout.KeyBlock-1], q[rows*dim-1], keys[((blocks-1)*step+layout.KeyBlock*dim)*size-1]
		for r, i := 0, 0; r < rows; {
			t := tiles[dt][i]
			if t.rows > rows-r {
				i++
				continue
			}
			t.f(&dst[r*ldd], 4*ldd, &q[r*dim], &keys[0], step*size, blocks, dim)
			r += t.rows
		}
	}
}

func tiledValues(tiles number.PerDType[[]valuesTile]) func(dst []float32, ldd int, weights []float32, ldw int, values []byte, step int, dt number.DType, n, width, rows int, add bool) {
	return func(dst []float32, ldd int, weights []float32, ldw int, values []byte, step int, dt number.DType, n, width, rows int, add bool) {
		size, last := dt.Size(), n-1
		_, _, _ = dst[(rows-1)*ldd+width-1], weights[(rows-1)*ldw+last], values[(last/layout.KeyBlock*step+(last%layout.KeyBlock+1)*width)*size-1]
		for r, i := 0, 0; r < rows; {
			t := tiles[dt][i]
			if t.rows > rows-r {
				i++
				continue
			}
			t.f(&dst[r*ldd], 4*ldd, &weights[r*ldw], 4*ldw, &values[0], step*size, n, width, number.Flag(add))
			r += t.rows
		}
	}
}

// tiledValuesHeads is valuesHeads by assembly.
func tiledValuesHeads(kernels number.PerDType[func(dst *float32, weights *float32, ldw int, rows *byte, n int, width int, heads int, add int)]) func(dst []float32, weights []float32, ldw int, values []byte, dt number.DType, n, width, heads int, add bool) {
	return func(dst []float32, weights []float32, ldw int, values []byte, dt number.DType, n, width, heads int, add bool) {
		_, _, _ = dst[heads*width-1], weights[(heads-1)*ldw+n-1], values[((heads-1)*layout.KeyBlock+n)*width*dt.Size()-1]
		kernels[dt](&dst[0], &weights[0], 4*ldw, &values[0], n, width, heads, number.Flag(add))
	}
}
