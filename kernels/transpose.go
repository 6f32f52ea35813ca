package kernels

// transposeTile is the rows and columns that are transposed together: their lines
// stay in the first-level cache.
const transposeTile = 64

// Transpose stores the transpose of src in dst, which may not overlap it.
func (e *Engine) Transpose(dst, src Matrix) {
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
func (e *Engine) transpose(dst, src Matrix) {
	for r := 0; r < src.Rows; r += transposeTile {
		r1 := min(r+transposeTile, src.Rows)
		e.ops.transpose(dst.Data[r:], dst.Stride, src.Data[r*src.Stride:], src.Stride, r1-r, src.Cols)
	}
}

// transposeGeneric stores dst[c*ldd+r] = src[r*lds+c].
func transposeGeneric(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	const width = 16 // columns of src whose cache lines are read together
	for c := 0; c < cols; c += width {
		for r := range rows {
			for i, v := range src[r*lds+c : r*lds+min(c+width, cols)] {
				dst[(c+i)*ldd+r] = v
			}
		}
	}
}
