package method

import (
	"context"

	"nibble/kernels"
	"nibble/quant/calib"
	"nibble/quant/grid"
)

// ColumnBlock is about how many columns are quantized before the columns left are
// corrected for all of their errors in one product.
const ColumnBlock = 128

// QuantizeColumns quantizes w, rows x columns: column by column, each
// error made up for by the columns still to come, so that the outputs for the
// inputs behind f change least (Frantar et al., "GPTQ", 2022). A group's grid is
// searched for the weights as they are when its turn comes.
func QuantizeColumns(ctx context.Context, eng *kernels.Engine, w kernels.Matrix, f *calib.Factor, s kernels.Scheme, step func(rows int)) (*kernels.QTensor, error) {
	q, err := kernels.NewQTensor(w.Rows, w.Cols, s)
	if err != nil {
		return nil, err
	}
	g := &columns{eng: eng, q: q, f: f, width: s.GroupWidth(w.Cols), w: arrange(eng, w, f.Column)}
	blocks := g.blocks()
	told := 0
	for i, b := range blocks {
		if err := g.block(ctx, b); err != nil {
			return nil, err
		}
		if step != nil { // in rows, as the other methods tell
			now := w.Rows * (i + 1) / len(blocks)
			step(now - told)
			told = now
		}
	}
	return q, nil
}

// arrange copies a matrix with its columns in the order of a.
func arrange(eng *kernels.Engine, w kernels.Matrix, column []int) kernels.Matrix {
	out := kernels.NewMatrix(w.Rows, w.Cols)
	eng.For(w.Rows, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			in, dst := w.Row(r), out.Row(r)
			for a, c := range column {
				dst[a] = in[c]
			}
		}
	})
	return out
}

// columns is the state of one matrix.
type columns struct {
	eng   *kernels.Engine
	q     *kernels.QTensor
	f     *calib.Factor
	width int            // of a group
	w     kernels.Matrix // columns in the order of a; those done are not kept
}

// blocks cuts the columns, from the last a down, where groups end; a group wider
// than a block is cut as well.
func (g *columns) blocks() [][2]int {
	var out [][2]int
	for _, gr := range g.f.Groups {
		if n := len(out); n > 0 && out[n-1][1]-gr[0] <= ColumnBlock {
			out[n-1][0] = gr[0] // the group before it ends where this one begins
			continue
		}
		for hi := gr[1]; hi > gr[0]; hi -= ColumnBlock {
			out = append(out, [2]int{max(gr[0], hi-ColumnBlock), hi})
		}
	}
	return out
}

// block quantizes the columns of a block in all rows and corrects the columns
// left.
func (g *columns) block(ctx context.Context, b [2]int) error {
	lo, hi := b[0], b[1]
	inverse := kernels.NewMatrix(hi-lo, hi-lo) // row a: what an error there does to columns before it
	for a := lo; a < hi; a++ {
		for c := lo; c <= a; c++ {
			inverse.Row(a - lo)[c-lo] = g.f.Inverse.Row(c)[a]
		}
	}
	const band = 512 // rows at a time
	errs := kernels.NewMatrix(min(band, g.w.Rows), hi-lo)
	part := kernels.NewMatrix(errs.Rows, lo)
	for r0 := 0; r0 < g.w.Rows; r0 += band {
		n := min(band, g.w.Rows-r0)
		g.eng.For(n, func(_, from, to int) {
			for i := from; i < to; i++ {
				g.row(r0+i, b, inverse, errs.Row(i))
			}
		})
		if lo == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		product := part.Sub(0, n, 0, lo)
		if err := g.eng.MulTransposed(ctx, product, errs.Sub(0, n, 0, hi-lo), g.f.Inverse.Sub(0, lo, lo, hi)); err != nil {
			return err
		}
		g.eng.For(n, func(_, from, to int) {
			for i := from; i < to; i++ {
				calib.Subtract(g.w.Row(r0 + i)[:lo], product.Row(i))
			}
		})
	}
	return nil
}

// row quantizes the columns of a block in one row; errs receives the errors, in
// units of the factor's diagonal.
func (g *columns) row(r int, b [2]int, inverse kernels.Matrix, errs []float32) {
	w, scheme, groups := g.w.Row(r), g.q.Scheme, g.q.Groups()
	var scale float32
	var zero int
	for a := b[1] - 1; a >= b[0]; a-- {
		group := g.f.Column[a] / g.width
		at := r*groups + group
		if a == b[1]-1 || g.f.Column[a+1]/g.width != group {
			if a+1 == len(w) || g.f.Column[a+1]/g.width != group { // its first column
				first := a - min(g.width, g.q.Cols-group*g.width) + 1
				best := grid.Find(w[first:a+1], g.f.Weights[first:a+1], g.q.Scheme)
				g.q.Scales[at] = best.Scale
				if !scheme.Sym {
					g.q.Zeros[at] = uint8(best.Zero)
				}
			}
			scale, zero = kernels.F16ToF32(g.q.Scales[at]), int(g.q.Zero(r, group))
		}
		c := grid.Code(w[a], scale, zero, scheme)
		g.q.SetCode(r, g.f.Column[a], uint8(c))
		row := inverse.Row(a - b[0])[:a-b[0]+1]
		e := (w[a] - float32(scheme.Value(uint8(c), uint8(zero)))*scale) / row[a-b[0]]
		errs[a-b[0]] = e
		left := w[b[0] : a+1]
		for i, v := range row {
			left[i] -= e * v
		}
	}
}
