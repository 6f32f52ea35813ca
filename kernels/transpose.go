package kernels

import "nibble/kernels/vector"

// transposeTile is the rows and columns that are transposed together: their lines
// stay in the first-level cache.
const transposeTile = 64

// Transpose stores the transpose of src in dst, which may not overlap it.
func (e *Engine) Transpose(dst, src vector.Matrix) {
	if dst.Rows != src.Cols || dst.Cols != src.Rows {
		panic("kernels: the transpose has another shape")
	}
	tiles := (src.Cols + transposeTile - 1) / transposeTile
	e.For(tiles, func(_, lo, hi int) {
		for c := lo * transposeTile; c < min(hi*transposeTile, src.Cols); c += transposeTile {
			c1 := min(c+transposeTile, src.Cols)
			e.transpose(dst.Sub(c, c1, 0, src.Rows), src.Sub(0, src.Rows, c, c1))
		}
	})
}

// transpose is Transpose on the calling thread.
func (e *Engine) transpose(dst, src vector.Matrix) {
	for r := 0; r < src.Rows; r += transposeTile {
		r1 := min(r+transposeTile, src.Rows)
		e.vectors.Transpose(dst.Data[r:], dst.Stride, src.Data[r*src.Stride:], src.Stride, r1-r, src.Cols)
	}
}
