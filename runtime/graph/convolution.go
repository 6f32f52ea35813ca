package graph

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// convolution is causal, of each channel alone. The inputs of the last tokens are kept.
type convolution struct {
	weights  []float32 // kernel x channels: a description has channels x kernel
	bias     []float32 // nil for none
	kernel   int
	channels int
}

func (c *compiler) convolution(weights, bias *arch.Vector, kernel int) convolution {
	own := c.vector(weights)
	out := convolution{make([]float32, len(own)), c.vector(bias), kernel, len(own) / kernel}
	for i, v := range own {
		out.weights[i%kernel*out.channels+i/kernel] = v
	}
	return out
}

// of are the weights of the inputs that lie so many places after the first.
func (c *convolution) of(place int) []float32 { return c.weights[place*c.channels:][:c.channels] }

// channelBlock is how many channels a thread takes at a time.
const channelBlock = 64

// forward stores in dst, which is not x, the convolution of a text's rows of x and of the
// inputs before them, and keeps the last.
func (c *convolution) forward(p *Pass, t text, kept *State, dst, x kernels.Matrix) {
	before := c.kernel - 1
	row := func(i int) []float32 { // counted from the first of the text's
		if i >= 0 {
			return x.Row(t.first + i)
		}
		return kept.tail[(before+i)*c.channels:][:c.channels]
	}
	p.each((c.channels+channelBlock-1)/channelBlock, func(block int) {
		lo, hi := block*channelBlock, min((block+1)*channelBlock, c.channels)
		for i := range t.n {
			out := dst.Row(t.first + i)[lo:hi]
			clear(out)
			if c.bias != nil {
				copy(out, c.bias[lo:hi])
			}
			for j := range c.kernel {
				multiplyAdd(out, c.of(j)[lo:hi], row(i - before + j)[lo:hi])
			}
		}
	})
	for i := range before { // the oldest first: it may be among those that are kept
		copy(kept.tail[i*c.channels:], row(t.n-before+i))
	}
}

// multiplyAdd adds the products of two rows to dst.
func multiplyAdd(dst, a, b []float32) {
	b, dst = b[:len(a)], dst[:len(a)]
	for i, v := range a {
		dst[i] += v * b[i]
	}
}

// backward stores in dx the gradient of x for that of what forward gave, d, whole texts.
func (c *convolution) backward(p *Pass, dx, d kernels.Matrix) {
	p.each(len(p.texts), func(i int) {
		t := p.texts[i]
		for i := range t.n {
			out := dx.Row(t.first + i)
			clear(out)
			for j := max(0, c.kernel-t.n+i); j < c.kernel; j++ {
				multiplyAdd(out, c.of(j), d.Row(t.first+i+c.kernel-1-j))
			}
		}
	})
}

// shortConv is a gated short convolution.
type shortConv struct {
	in, out *Linear
	conv    convolution
	width   int
	state   int
	number  int
}

// shortConvRecord is what in gave, b * x, and its convolution.
type shortConvRecord struct{ wide, product, mixed kernels.Matrix }

func (c *compiler) shortConv(s *arch.ShortConv) operation {
	return &shortConv{c.linear(s.In), c.linear(s.Out), c.convolution(s.Conv, s.Bias, s.Kernel), s.Width,
		c.state(recurrence{channels: s.Width, kernel: s.Kernel}), c.number()}
}

// thirds takes a row of b, c and x apart.
func thirds(row []float32) (b, c, x []float32) {
	w := len(row) / 3
	return row[:w], row[w : 2*w], row[2*w:]
}

func (s *shortConv) forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) (err error) {
	r, n := record[shortConvRecord](p, s.number), x.Rows
	if r.wide, err = p.apply(ctx, s.in, x); err != nil {
		return err
	}
	r.product, r.mixed = p.matrix(n, s.width), p.matrix(n, s.width)
	p.each(n, func(i int) {
		rate, _, value := thirds(r.wide.Row(i))
		for j, v := range value {
			r.product.Row(i)[j] = rate[j] * v
		}
	})
	for _, t := range p.texts {
		s.conv.forward(p, t, p.state(s.state), r.mixed, r.product)
	}
	gated := p.another(r.mixed)
	p.each(n, func(i int) {
		_, gate, _ := thirds(r.wide.Row(i))
		for j, v := range r.mixed.Row(i) {
			gated.Row(i)[j] = v * gate[j]
		}
	})
	return p.multiply(ctx, gated, product{s.out, dst})
}

func (s *shortConv) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error {
	rec, r, n := record[shortConvRecord](p, s.number), p.room, d.Rows
	defer r.rewind(r.next)
	dgated, dproduct, dwide := r.matrix(n, s.width), r.matrix(n, s.width), r.matrix(n, 3*s.width)
	if err := p.through(ctx, dgated, back{s.out, d}); err != nil {
		return err
	}
	p.each(n, func(i int) {
		_, gate, _ := thirds(rec.wide.Row(i))
		_, dgate, _ := thirds(dwide.Row(i))
		for j, v := range dgated.Row(i) {
			dgate[j] = v * rec.mixed.Row(i)[j]
			dgated.Row(i)[j] = v * gate[j]
		}
	})
	s.conv.backward(p, dproduct, dgated)
	p.each(n, func(i int) {
		rate, _, value := thirds(rec.wide.Row(i))
		drate, _, dvalue := thirds(dwide.Row(i))
		for j, v := range dproduct.Row(i) {
			drate[j], dvalue[j] = v*value[j], v*rate[j]
		}
	})
	return p.through(ctx, dx, back{s.in, dwide})
}
