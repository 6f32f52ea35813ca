package block

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// Weight is a matrix, outputs x inputs, and where its gradient is added; without
// data that is not computed.
type Weight struct{ Value, Gradient kernels.Matrix }

// linear is a matrix with its optional bias, and what entered it last.
type linear struct {
	Weight
	bias []float32
	in   kernels.Matrix
}

// linear resolves a matrix of the description; nil stays nil.
func (c *compiler) linear(l *arch.Linear) *linear {
	if l == nil || c.err != nil {
		return nil
	}
	out := &linear{bias: c.parts.Bias(l.Path)}
	out.Weight, c.err = c.parts.Weight(l)
	c.b.linears[l.Path] = out
	return out
}

// multiply returns what a matrix gives for x, in memory that is kept.
func (b *Block) multiply(ctx context.Context, l *linear, x kernels.Matrix) (kernels.Matrix, error) {
	y := b.kept.matrix(x.Rows, l.Value.Rows)
	return y, b.multiplyTo(ctx, l, y, x)
}

func (b *Block) multiplyTo(ctx context.Context, l *linear, dst, x kernels.Matrix) error {
	l.in = x
	if err := b.eng.MulTransposed(ctx, dst, x, l.Value); err != nil {
		return err
	}
	if l.bias != nil {
		b.each(dst.Rows, func(i int) { b.eng.Add(dst.Row(i), l.bias) })
	}
	return nil
}

// back is a matrix and the gradient of what it gave.
type back struct {
	l *linear
	d kernels.Matrix
}

// through stores in dx the gradient of what matrices read, all the same, and adds
// those of the matrices to theirs.
func (b *Block) through(ctx context.Context, dx kernels.Matrix, all ...back) error {
	mark := b.room.next
	defer func() { b.room.next = mark }()
	for i, m := range all {
		dst := dx
		if i > 0 {
			b.room.next = mark
			dst = b.room.matrix(dx.Rows, dx.Cols)
		}
		w := m.l.Value
		b.room.weights = apart(b.room.weights, w.Cols, w.Rows)
		b.eng.Transpose(b.room.weights, w)
		if err := b.eng.MulTransposed(ctx, dst, m.d, b.room.weights); err != nil {
			return err
		}
		if err := b.addGradient(ctx, m.l.Gradient, m.d, m.l.in); err != nil {
			return err
		}
		if i > 0 {
			b.add(dx, dst)
		}
	}
	return nil
}

// addGradient adds to g, if that has data, the products of outputs' gradients and
// inputs, summed over tokens.
func (b *Block) addGradient(ctx context.Context, g, d, x kernels.Matrix) error {
	if g.Data == nil {
		return nil
	}
	r := b.room
	r.left = apart(r.left, d.Cols, d.Rows)
	b.eng.Transpose(r.left, d)
	if r.turnedOf != &x.Data[0] { // matrices that share their inputs come one after the other
		r.right = apart(r.right, x.Cols, x.Rows)
		b.eng.Transpose(r.right, x)
		r.turnedOf = &x.Data[0]
	}
	return b.eng.AddMulTransposed(ctx, g, r.left, r.right)
}
