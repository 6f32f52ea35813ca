package graph

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// Weight is a matrix, outputs x inputs: prepared for the kernels, or as floats that may
// change between passes.
type Weight struct {
	Packed   *kernels.Linear
	Value    kernels.Matrix // instead
	Gradient kernels.Matrix // where that of Value is added; without data it is not computed
}

// Linear is a matrix of the graph with its optional bias.
type Linear struct {
	Weight
	Path  string
	Input string // what it reads, see [arch.Linear]
	bias  []float32
	id    int // its place among the inputs that a tape keeps
}

// linear resolves a matrix of the description; nil stays nil.
func (c *compiler) linear(l *arch.Linear) *Linear {
	if l == nil || c.err != nil {
		return nil
	}
	out := &Linear{Path: l.Path, Input: l.Input, bias: c.parts.Bias(l.Path), id: len(c.g.linears)}
	out.Weight, c.err = c.parts.Weight(l)
	c.g.linears = append(c.g.linears, out)
	return out
}

// outputs is the number of rows.
func (l *Linear) outputs() int {
	if l.Packed != nil {
		return l.Packed.N()
	}
	return l.Value.Rows
}

// row stores a row of the matrix: an embedding lookup.
func (l *Linear) row(dst []float32, r int) {
	if l.Packed != nil {
		l.Packed.Row(dst, r)
	} else {
		copy(dst, l.Value.Row(r))
	}
}

// product is a matrix and where its result goes.
type product struct {
	l   *Linear
	dst kernels.Matrix
}

// multiply runs matrices that read the same, in one parallel region where they are
// prepared for it.
func (p *Pass) multiply(ctx context.Context, x kernels.Matrix, all ...product) error {
	if err := p.read(x, all...); err != nil {
		return err
	}
	if all[0].l.Packed == nil {
		for _, o := range all {
			if err := p.eng.MulTransposed(ctx, o.dst, x, o.l.Value); err != nil {
				return err
			}
		}
	} else {
		products := p.products[:0]
		for _, o := range all {
			products = append(products, kernels.Product{W: o.l.Packed, Dst: o.dst.Data})
		}
		p.products = products
		p.acts.Set(x.Data, x.Rows, x.Cols)
		if err := p.eng.MatMul(ctx, &p.acts, products...); err != nil {
			return err
		}
	}
	p.addBiases(all...)
	return nil
}

// read tells of what matrices are about to read.
func (p *Pass) read(x kernels.Matrix, all ...product) error {
	for _, o := range all {
		if p.keeps {
			p.inputs[o.l.id] = x
		}
		if p.Site != nil {
			if err := p.Site(o.l, x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Pass) addBiases(all ...product) {
	for _, o := range all {
		if o.l.bias != nil {
			p.each(o.dst.Rows, func(i int) { p.eng.Add(o.dst.Row(i), o.l.bias) })
		}
	}
}

// output is where the result of a matrix goes for n rows.
func (p *Pass) output(l *Linear, n int) product { return product{l, p.matrix(n, l.outputs())} }

// apply returns what a matrix gives for x.
func (p *Pass) apply(ctx context.Context, l *Linear, x kernels.Matrix) (kernels.Matrix, error) {
	o := p.output(l, x.Rows)
	return o.dst, p.multiply(ctx, x, o)
}

// back is a matrix and the gradient of what it gave.
type back struct {
	l *Linear
	d kernels.Matrix
}

// through stores in dx the gradient of what matrices read, all the same, for those of
// what they gave, and adds those of the matrices to theirs.
func (p *Pass) through(ctx context.Context, dx kernels.Matrix, all ...back) error {
	r := p.room
	defer r.rewind(r.next)
	for i, o := range all {
		dst := dx
		if i > 0 {
			dst = r.matrix(dx.Rows, dx.Cols)
		}
		w := o.l.Value
		r.weights = apart(r.weights, w.Cols, w.Rows)
		p.eng.Transpose(r.weights, w)
		if err := p.eng.MulTransposed(ctx, dst, o.d, r.weights); err != nil {
			return err
		}
		if err := p.addGradient(ctx, o.l.Gradient, o.d, p.inputs[o.l.id]); err != nil {
			return err
		}
		if i > 0 {
			p.add(dx, dst)
			r.next--
		}
	}
	return nil
}

// addGradient adds to g, if that has data, the products of outputs' gradients and
// inputs, summed over tokens.
func (p *Pass) addGradient(ctx context.Context, g, d, x kernels.Matrix) error {
	if g.Data == nil {
		return nil
	}
	r := p.room
	r.left = apart(r.left, d.Cols, d.Rows)
	p.eng.Transpose(r.left, d)
	if r.turnedOf != &x.Data[0] { // matrices that share their inputs come one after the other
		r.right = apart(r.right, x.Cols, x.Rows)
		p.eng.Transpose(r.right, x)
		r.turnedOf = &x.Data[0]
	}
	return p.eng.AddMulTransposed(ctx, g, r.left, r.right)
}
