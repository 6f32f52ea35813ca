package graph

import (
	"context"

	"nibble/kernels"
)

// Block is one layer.
type Block struct {
	Caches []int // of keys and values that it uses
	Shared []int // those of them that later blocks use as well

	steps []step
	scale float32 // of what leaves it; 0 for none
}

// step adds its branches to the stream.
type step struct {
	branches []branch
	before   *Norm // of the stream that the step adds to,
	norm     *Norm // of the branches' sum,
	after    *Norm // of the stream after the addition
	scale    float32
	number   int
}

// stepRecord is what before, norm and after read.
type stepRecord struct{ early, sum, late kernels.Matrix }

// branch is an operation between its normalizations.
type branch struct {
	pre, post *Norm
	op        operation
	number    int
}

// branchRecord is what pre and post read.
type branchRecord struct{ in, out kernels.Matrix }

// forward leaves what the last step adds pending, unless the stream is normalized or scaled
// after it.
func (b *Block) forward(ctx context.Context, p *Pass) error {
	for i := range b.steps {
		if err := b.steps[i].forward(ctx, p); err != nil {
			return err
		}
	}
	if b.scale != 0 {
		p.settle()
		p.scale(p.stream, b.scale)
	}
	return nil
}

func (s *step) forward(ctx context.Context, p *Pass) error {
	early := p.stream
	if s.before != nil {
		p.settle()
		early = p.stream
		p.stream = p.normalize(s.before, p.stream)
	}
	var x, sum kernels.Matrix
	for i := range s.branches {
		br := &s.branches[i]
		if i == 0 || br.pre != s.branches[i-1].pre { // else it reads the same
			if br.pre == nil {
				p.settle()
				x = p.stream
			} else {
				x = p.hold(1, p.stream.Rows, p.stream.Cols)
				p.enter(br.pre, x)
			}
		}
		y := p.hold(2, x.Rows, x.Cols)
		if err := br.forward(ctx, p, x, y); err != nil {
			return err
		}
		switch y = p.normalize(br.post, y); {
		case i > 0:
			p.add(sum, y)
		case len(s.branches) > 1:
			sum = y
			p.held[2], p.held[3] = p.held[3], p.held[2]
		default:
			sum = y
		}
	}
	p.pending = p.normalize(s.norm, sum)
	p.scale(p.pending, s.scale)
	var late kernels.Matrix
	if s.after != nil {
		p.settle()
		late = p.stream
		p.stream = p.normalize(s.after, p.stream)
	}
	if p.keeps {
		*record[stepRecord](p, s.number) = stepRecord{early, sum, late}
	}
	return nil
}

func (br *branch) forward(ctx context.Context, p *Pass, x, y kernels.Matrix) error {
	mark := p.mark()
	p.source = p.stream
	if err := br.op.forward(ctx, p, x, y); err != nil {
		return err
	}
	if p.forget(mark); p.keeps {
		*record[branchRecord](p, br.number) = branchRecord{p.source, y}
	}
	return nil
}

// backward returns the gradient of what entered the block for that of what left it.
func (b *Block) backward(ctx context.Context, p *Pass, d kernels.Matrix) (kernels.Matrix, error) {
	r := p.room
	dx, other := r.matrix(d.Rows, d.Cols), r.matrix(d.Rows, d.Cols)
	if b.scale != 0 {
		scaled := r.matrix(d.Rows, d.Cols)
		p.copy(scaled, d)
		p.scale(scaled, b.scale)
		d = scaled
	}
	for i := len(b.steps) - 1; i >= 0; i-- {
		mark := r.next
		if err := b.steps[i].backward(ctx, p, d, dx); err != nil {
			return d, err
		}
		r.next, d, dx, other = mark, dx, other, dx
	}
	return d, nil
}

// backward stores in dx the gradient of the stream before the step.
func (s *step) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error {
	r := record[stepRecord](p, s.number)
	past := p.normGradient(s.after, d, r.late)
	d = past
	if s.scale != 1 {
		d = p.room.matrix(past.Rows, past.Cols)
		p.copy(d, past)
		p.scale(d, s.scale)
	}
	d = p.normGradient(s.norm, d, r.sum)
	for i := range s.branches {
		if err := s.branches[i].backward(ctx, p, d, dx, i == 0); err != nil {
			return err
		}
	}
	p.add(dx, past)
	if s.before != nil {
		p.copy(dx, p.normGradient(s.before, dx, r.early))
	}
	return nil
}

// backward stores in dx the gradient of the stream that the branch reads, or unless it is
// the first adds it.
func (br *branch) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix, first bool) error {
	r, kept := p.room, record[branchRecord](p, br.number)
	defer r.rewind(r.next)
	own := r.matrix(dx.Rows, dx.Cols)
	p.source, p.dsource = kept.in, kernels.Matrix{}
	if e, ok := br.op.(*experts); ok && e.routerNorm != nil {
		p.dsource = r.matrix(dx.Rows, dx.Cols)
		clear(p.dsource.Data)
	}
	if err := br.op.backward(ctx, p, p.normGradient(br.post, d, kept.out), own); err != nil {
		return err
	}
	switch {
	case first && br.pre != nil:
		p.each(dx.Rows, func(i int) { br.pre.Gradient(dx.Row(i), own.Row(i), kept.in.Row(i)) })
	case first:
		p.copy(dx, own)
	default:
		p.add(dx, p.normGradient(br.pre, own, kept.in))
	}
	if p.dsource.Data != nil {
		p.add(dx, p.dsource)
	}
	return nil
}
