package block

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// convolution is causal, of each channel alone.
type convolution struct {
	weights []float32 // channels x kernel
	bias    []float32 // nil for none
	kernel  int
}

// forward stores in dst the convolution of each text of x, which is not dst.
func (c *convolution) forward(b *Block, dst, x kernels.Matrix) {
	b.eachText(func(first, n int) {
		for t := range n {
			out := dst.Row(first + t)
			clear(out)
			copy(out, c.bias)
			for j := max(0, c.kernel-1-t); j < c.kernel; j++ {
				for i, v := range x.Row(first + t - c.kernel + 1 + j) {
					out[i] += c.weights[i*c.kernel+j] * v
				}
			}
		}
	})
}

// backward stores in dx the gradient of x for that of what forward gave, d.
func (c *convolution) backward(b *Block, dx, d kernels.Matrix) {
	b.eachText(func(first, n int) {
		for t := range n {
			out := dx.Row(first + t)
			clear(out)
			for j := max(0, c.kernel-n+t); j < c.kernel; j++ {
				for i, v := range d.Row(first + t + c.kernel - 1 - j) {
					out[i] += c.weights[i*c.kernel+j] * v
				}
			}
		}
	})
}

// eachText runs f for every text, with its first row and its length, on all threads.
func (b *Block) eachText(f func(first, n int)) {
	starts, at := make([]int, len(b.texts.Lengths)), 0
	for i, n := range b.texts.Lengths {
		starts[i], at = at, at+n
	}
	b.each(len(starts), func(i int) { f(starts[i], b.texts.Lengths[i]) })
}

// shortConv is a gated short convolution.
type shortConv struct {
	in, out *linear
	conv    convolution

	wide, product, mixed kernels.Matrix // what in gave, b * x, and its convolution
}

func (c *compiler) shortConv(s *arch.ShortConv) operation {
	return &shortConv{in: c.linear(s.In), out: c.linear(s.Out), conv: convolution{c.vector(s.Conv), c.vector(s.Bias), s.Kernel}}
}

// thirds takes a row of b, c and x apart.
func thirds(row []float32) (b, c, x []float32) {
	w := len(row) / 3
	return row[:w], row[w : 2*w], row[2*w:]
}

func (s *shortConv) forward(ctx context.Context, b *Block, x, dst kernels.Matrix) (err error) {
	if s.wide, err = b.multiply(ctx, s.in, x); err != nil {
		return err
	}
	n, w := x.Rows, s.wide.Cols/3
	s.product, s.mixed = b.kept.matrix(n, w), b.kept.matrix(n, w)
	b.each(n, func(i int) {
		rate, _, value := thirds(s.wide.Row(i))
		for j, v := range value {
			s.product.Row(i)[j] = rate[j] * v
		}
	})
	s.conv.forward(b, s.mixed, s.product)
	gated := b.kept.matrix(n, w)
	b.each(n, func(i int) {
		_, gate, _ := thirds(s.wide.Row(i))
		for j, v := range s.mixed.Row(i) {
			gated.Row(i)[j] = v * gate[j]
		}
	})
	return b.multiplyTo(ctx, s.out, dst, gated)
}

func (s *shortConv) backward(ctx context.Context, b *Block, d, dx kernels.Matrix) error {
	r, n, w := b.room, d.Rows, s.mixed.Cols
	mark := r.next
	defer func() { r.next = mark }()
	dgated, dproduct, dwide := r.matrix(n, w), r.matrix(n, w), r.matrix(n, 3*w)
	if err := b.through(ctx, dgated, back{s.out, d}); err != nil {
		return err
	}
	b.each(n, func(i int) {
		_, gate, _ := thirds(s.wide.Row(i))
		_, dgate, _ := thirds(dwide.Row(i))
		for j, v := range dgated.Row(i) {
			dgate[j] = v * s.mixed.Row(i)[j]
			dgated.Row(i)[j] = v * gate[j]
		}
	})
	s.conv.backward(b, dproduct, dgated)
	b.each(n, func(i int) {
		rate, _, value := thirds(s.wide.Row(i))
		drate, _, dvalue := thirds(dwide.Row(i))
		for j, v := range dproduct.Row(i) {
			drate[j], dvalue[j] = v*value[j], v*rate[j]
		}
	})
	return b.through(ctx, dx, back{s.in, dwide})
}
