package pass

import (
	"context"
	"errors"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/grid"
)

// Weight returns the float weights of a matrix of this stage, as stored or as a
// transformation replaced them. They must not be changed.
func (p *Pass) Weight(ctx context.Context, m model.Module) (kernels.Matrix, error) {
	if w, ok := p.Weights[m.Name]; ok {
		return w, nil
	}
	t, err := p.Checkpoint.Tensor(m.Name + ".weight")
	if err != nil {
		return kernels.Matrix{}, err
	}
	if err := p.Checkpoint.CheckFinite(ctx, t.Name); err != nil {
		return kernels.Matrix{}, err
	}
	return kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: t.Floats()}, nil
}

// Settled returns what a matrix of this stage computes with from now on: its
// dequantized weights if it is quantized, else its float weights.
func (p *Pass) Settled(ctx context.Context, m model.Module) (kernels.Matrix, error) {
	q := p.done[m.Name]
	if q == nil {
		return p.Weight(ctx, m)
	}
	w := kernels.NewMatrix(m.Rows, m.Cols)
	p.Engine.For(m.Rows, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			q.DequantRow(w.Row(r), r)
		}
	})
	return w, nil
}

// ReplaceWeight gives a matrix of this stage, not quantized yet, other float
// weights, without gaps between rows. Those of a matrix that the recipe keeps
// are rounded in place to the type that it is stored in.
func (p *Pass) ReplaceWeight(m PlannedModule, w kernels.Matrix) error {
	if m.Spec.Kept() {
		if err := p.round(m.Module.Name+".weight", w.Data); err != nil {
			return err
		}
	}
	p.Weights[m.Module.Name] = w
	if p.Sequence != nil {
		l, err := kernels.NewMatrixLinear(w)
		if err != nil {
			return err
		}
		return p.Sequence.Put(m.Module, l)
	}
	return nil
}

// ReplaceVector gives a norm or bias of this stage ("model.norm.weight" belongs
// to the head's) other values, which it rounds in place to the type that the
// tensor is stored in.
func (p *Pass) ReplaceVector(name string, v []float32) error {
	if err := p.round(name, v); err != nil {
		return err
	}
	p.Vectors[name] = v
	if p.Sequence != nil {
		p.Sequence.PutVector(name, v)
	}
	return nil
}

// round rounds values to the type that a tensor is stored in.
func (p *Pass) round(name string, v []float32) error {
	t, err := p.Checkpoint.Tensor(name)
	if err != nil {
		return err
	}
	if t.Len() != len(v) {
		return fmt.Errorf("tensor %s: %d values replace %d", name, len(v), t.Len())
	}
	kernels.RoundFloats(v, t.DType)
	return nil
}

// QuantizeRows quantizes a matrix row by row. Weights as stored are decoded as
// they are needed: the matrix never exists as floats.
func (p *Pass) QuantizeRows(ctx context.Context, m PlannedModule, how grid.Search, step func(rows int)) (*kernels.QTensor, grid.Stats, error) {
	row, err := p.rows(m.Module)
	if err != nil {
		return nil, grid.Stats{}, err
	}
	q, stats, err := grid.Quantize(ctx, p.Engine, m.Module.Rows, m.Module.Cols, m.Spec.Scheme(), how, row, step)
	if _, replaced := p.Weights[m.Module.Name]; !replaced {
		err = TensorError(p.Checkpoint, m.Module, err)
	}
	if err == nil && m.Spec.Top > 0 {
		p.Raise(m, q, row)
		stats = grid.Measure(p.Engine, row, q)
	}
	return q, stats, err
}

// rows returns a function that gives a row of a matrix of this stage, in the buffer
// of its columns that it gets or where it is.
func (p *Pass) rows(m model.Module) (func(buf []float32, r int) []float32, error) {
	if w, ok := p.Weights[m.Name]; ok {
		return grid.RowsOf(w), nil
	}
	return StoredRows(p.Checkpoint, m)
}

// StoredRows is Pass.rows of a checkpoint's weights.
func StoredRows(ck *model.Checkpoint, m model.Module) (func(buf []float32, r int) []float32, error) {
	t, err := ck.Tensor(m.Name + ".weight")
	width := m.Cols * t.DType.Size()
	return func(buf []float32, r int) []float32 {
		kernels.DecodeFloats(buf, t.Data[r*width:(r+1)*width], t.DType)
		return buf
	}, err
}

// TensorError names the tensor whose stored weights are not finite, where that is the error.
func TensorError(ck *model.Checkpoint, m model.Module, err error) error {
	if errors.Is(err, grid.ErrNotFinite) {
		return fmt.Errorf("%s: tensor %s.weight: %w; the checkpoint is damaged", ck.Ref, m.Name, err)
	}
	return err
}

// Text repeats few tokens: of a vocabulary of thousands, a tenth is two thirds of
// what is read and written. An embedding's rows of these, and an output head's, are
// worth more bits than the rest, whatever method stores the rest (Spec.Top).

// Raise gives the rows of a matrix that its spec says have 8 bits these.
func (p *Pass) Raise(m PlannedModule, q *kernels.QTensor, row func(buf []float32, r int) []float32) {
	if n := m.Spec.Scheme().TopCount(m.Module.Rows); n > 0 {
		grid.Raise(p.Engine, q, row, calib.MostUsed(p.Calibration.Tokens, m.Module.Rows, n))
	}
}
