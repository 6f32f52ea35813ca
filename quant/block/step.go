package block

import (
	"context"

	"nibble/kernels"
	rt "nibble/runtime"
)

// step adds its branches to the stream.
type step struct {
	branches    []branch
	norm, after *rt.Norm
	scale       float32

	sum, late kernels.Matrix // what norm and after read
}

// branch is an operation between its normalizations.
type branch struct {
	pre, post *rt.Norm
	op        operation

	in, out kernels.Matrix // what pre and post read
}

// forward returns the stream x after the step, whose branches read in.
func (s *step) forward(ctx context.Context, b *Block, in, x kernels.Matrix) (kernels.Matrix, error) {
	for i := range s.branches {
		y, err := s.branches[i].forward(ctx, b, in)
		if err != nil {
			return y, err
		}
		if i == 0 {
			s.sum = y
		} else {
			b.add(s.sum, y)
		}
	}
	y := b.normalize(s.norm, s.sum)
	b.multiplyBy(y, s.scale)
	b.add(y, x)
	s.late = y
	return b.normalize(s.after, y), nil
}

func (br *branch) forward(ctx context.Context, b *Block, in kernels.Matrix) (kernels.Matrix, error) {
	br.in, b.stream = in, in
	x := b.normalize(br.pre, in)
	br.out = b.kept.matrix(in.Rows, in.Cols)
	if err := br.op.forward(ctx, b, x, br.out); err != nil {
		return x, err
	}
	return b.normalize(br.post, br.out), nil
}

// backward stores in dx the gradient of what the branches read, or unless first adds
// it, and returns that of the stream that went past them.
func (s *step) backward(ctx context.Context, b *Block, d, dx kernels.Matrix, first bool) (past kernels.Matrix, err error) {
	past = b.normGradient(s.after, d, s.late)
	d = past
	if s.scale != 1 {
		d = b.room.matrix(past.Rows, past.Cols)
		b.copy(d, past)
		b.multiplyBy(d, s.scale)
	}
	d = b.normGradient(s.norm, d, s.sum)
	for i := range s.branches {
		if err := s.branches[i].backward(ctx, b, d, dx, first && i == 0); err != nil {
			return past, err
		}
	}
	return past, nil
}

func (br *branch) backward(ctx context.Context, b *Block, d, dx kernels.Matrix, first bool) error {
	r := b.room
	mark := r.next
	defer func() { r.next = mark }()
	own := r.matrix(dx.Rows, dx.Cols)
	b.stream = br.in
	if e, ok := br.op.(*experts); ok && e.routerNorm != nil {
		b.dstream = r.matrix(dx.Rows, dx.Cols)
		clear(b.dstream.Data)
	} else {
		b.dstream = kernels.Matrix{}
	}
	if err := br.op.backward(ctx, b, b.normGradient(br.post, d, br.out), own); err != nil {
		return err
	}
	switch {
	case first && br.pre != nil:
		b.each(dx.Rows, func(i int) { br.pre.Gradient(dx.Row(i), own.Row(i), br.in.Row(i)) })
	case first:
		b.copy(dx, own)
	default:
		b.add(dx, b.normGradient(br.pre, own, br.in))
	}
	if b.dstream.Data != nil {
		b.add(dx, b.dstream)
	}
	return nil
}

// normalize returns the rows of x, normalized if there is a norm.
func (b *Block) normalize(n *rt.Norm, x kernels.Matrix) kernels.Matrix {
	if n == nil {
		return x
	}
	y := b.kept.matrix(x.Rows, x.Cols)
	b.each(x.Rows, func(i int) { n.Row(b.eng, y.Row(i), x.Row(i)) })
	return y
}

// normGradient returns the gradient of x for that of what normalize gave.
func (b *Block) normGradient(n *rt.Norm, d, x kernels.Matrix) kernels.Matrix {
	if n == nil {
		return d
	}
	dx := b.room.matrix(x.Rows, x.Cols)
	b.each(x.Rows, func(i int) { n.Gradient(dx.Row(i), d.Row(i), x.Row(i)) })
	return dx
}

// each runs f for every row on all threads.
func (b *Block) each(n int, f func(i int)) {
	b.eng.For(n, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			f(i)
		}
	})
}

// eachHead runs f for every head of every text, with the text's first row and its
// length, those of a group one after the other: they share what they would write to.
func (b *Block) eachHead(groups, heads int, f func(h, first, n int)) {
	starts, at := []int(nil), 0
	for _, n := range b.texts.Lengths {
		starts, at = append(starts, at), at+n
	}
	per := heads / groups
	b.each(len(starts)*groups, func(i int) {
		text, g := i/groups, i%groups
		for h := g * per; h < (g+1)*per; h++ {
			f(h, starts[text], b.texts.Lengths[text])
		}
	})
}

func (b *Block) add(dst, x kernels.Matrix) {
	b.each(dst.Rows, func(i int) { b.eng.Add(dst.Row(i), x.Row(i)) })
}

func (b *Block) copy(dst, x kernels.Matrix) {
	b.each(dst.Rows, func(i int) { copy(dst.Row(i), x.Row(i)) })
}

// multiplyBy multiplies all elements by f.
func (b *Block) multiplyBy(x kernels.Matrix, f float32) {
	if f != 1 {
		b.each(x.Rows, func(i int) { multiplyRow(x.Row(i), f) })
	}
}
