package matmul

import (
	"context"
	"fmt"
	"sync"

	"nibble/kernels/layout"
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

// MulTransposed stores in dst the products of a and the transpose of b: dst[i][j]
// is the inner product of row i of a and row j of b. dst may not overlap either.
// The result does not depend on the number of threads. When ctx ends, so does
// MulTransposed, with its error.
func (e *Products) MulTransposed(ctx context.Context, dst, a, b vector.Matrix) error {
	return e.mulTransposed(ctx, dst, a, b, false)
}

// AddMulTransposed adds to dst what MulTransposed stores.
func (e *Products) AddMulTransposed(ctx context.Context, dst, a, b vector.Matrix) error {
	return e.mulTransposed(ctx, dst, a, b, true)
}

// floatActsPool keeps the memory of copies.
var floatActsPool = sync.Pool{New: func() any { return new(floatActs) }}

func (e *Products) mulTransposed(ctx context.Context, dst, a, b vector.Matrix, add bool) error {
	if a.Cols != b.Cols || dst.Rows != a.Rows || dst.Cols != b.Rows {
		panic(fmt.Sprintf("kernels: %dx%d times %dx%d transposed into %dx%d", a.Rows, a.Cols, b.Rows, b.Cols, dst.Rows, dst.Cols))
	}
	if dst.Rows == 0 || dst.Cols == 0 {
		return ctx.Err()
	}
	x, w := floatActsPool.Get().(*floatActs), floatRows{number.Bytes(b.Data), number.F32, b.Stride}
	defer func() {
		x.x = nil // the caller's
		floatActsPool.Put(x)
	}()
	*x = floatActs{x: a.Data, ld: a.Stride, m: a.Rows, k: a.Cols, add: add, copied: x.copied}
	if err := x.prepare(ctx, e); err != nil {
		return err
	}
	return e.Spread(ctx, e.Pool.Threads(), PanelBlock, (b.Rows+layout.PanelRows-1)/layout.PanelRows, a.Rows, false, func(_, lo, hi, _, _ int) {
		e.float().mul(dst.Data, dst.Stride, w, x, lo*layout.PanelRows, min(hi*layout.PanelRows, b.Rows))
	})
}
