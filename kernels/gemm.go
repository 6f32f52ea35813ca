package kernels

import (
	"context"
	"fmt"
	"sync"
	"unsafe"

	"nibble/kernels/layout"
)

// Matrix is a float32 matrix in row-major order, Stride elements between rows.
type Matrix struct {
	Rows, Cols, Stride int
	Data               []float32
}

// NewMatrix returns a matrix of zeros without gaps.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{rows, cols, cols, make([]float32, rows*cols)}
}

// Row returns row i.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Stride:][:m.Cols] }

// Sub returns the part of rows r0 to r1 and columns c0 to c1; it shares the data.
func (m Matrix) Sub(r0, r1, c0, c1 int) Matrix {
	return Matrix{r1 - r0, c1 - c0, m.Stride, m.Data[r0*m.Stride+c0:]}
}

// MulTransposed stores in dst the products of a and the transpose of b: dst[i][j]
// is the inner product of row i of a and row j of b. dst may not overlap either.
// The result does not depend on the number of threads. When ctx ends, so does
// MulTransposed, with its error.
func (e *Engine) MulTransposed(ctx context.Context, dst, a, b Matrix) error {
	return e.mulTransposed(ctx, dst, a, b, false)
}

// AddMulTransposed adds to dst what MulTransposed stores.
func (e *Engine) AddMulTransposed(ctx context.Context, dst, a, b Matrix) error {
	return e.mulTransposed(ctx, dst, a, b, true)
}

// floatActsPool keeps the memory of copies.
var floatActsPool = sync.Pool{New: func() any { return new(floatActs) }}

func (e *Engine) mulTransposed(ctx context.Context, dst, a, b Matrix, add bool) error {
	if a.Cols != b.Cols || dst.Rows != a.Rows || dst.Cols != b.Rows {
		panic(fmt.Sprintf("kernels: %dx%d times %dx%d transposed into %dx%d", a.Rows, a.Cols, b.Rows, b.Cols, dst.Rows, dst.Cols))
	}
	if dst.Rows == 0 || dst.Cols == 0 {
		return ctx.Err()
	}
	x, w := floatActsPool.Get().(*floatActs), floatRows{floatBytes(b.Data), F32, b.Stride}
	defer func() {
		x.x = nil // the caller's
		floatActsPool.Put(x)
	}()
	*x = floatActs{x: a.Data, ld: a.Stride, m: a.Rows, k: a.Cols, add: add, copied: x.copied}
	if err := x.prepare(ctx, e); err != nil {
		return err
	}
	return e.spread(ctx, e.Threads(), panelBlock, (b.Rows+layout.PanelRows-1)/layout.PanelRows, a.Rows, false, func(_, lo, hi, _, _ int) {
		e.float().mul(dst.Data, dst.Stride, w, x, lo*layout.PanelRows, min(hi*layout.PanelRows, b.Rows))
	})
}

// floatBytes views float32 as bytes, the form in which weights are stored.
func floatBytes(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
