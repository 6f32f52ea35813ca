package block

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// ssm is a selective state space: of each head, HeadDim x State cells that decay.
type ssm struct {
	*arch.SSM
	in, out       *linear
	conv          convolution
	aLog, d, bias []float32
	norm          *rt.Norm

	wide            kernels.Matrix // what in gave: gates, what enters the convolution, time steps
	mixed, ready    kernels.Matrix // x, B and C after the convolution, and after the activation
	read, activated kernels.Matrix // what heads give, and times the gates' activation
}

func (c *compiler) ssm(s *arch.SSM) operation {
	return &ssm{SSM: s, in: c.linear(s.In), out: c.linear(s.Out), conv: convolution{c.vector(s.Conv), c.vector(s.ConvBias), s.Kernel},
		aLog: c.vector(s.ALog), d: c.vector(s.D), bias: c.vector(s.DtBias), norm: c.norm(s.Norm)}
}

func (m *ssm) width() int    { return m.Heads * m.HeadDim }
func (m *ssm) channels() int { return m.width() + 2*m.Groups*m.State }

// parts are the columns of a matrix like wide: gates, channels, time steps.
func (m *ssm) parts(wide kernels.Matrix) (gates, channels, steps kernels.Matrix) {
	n, w, c := wide.Rows, m.width(), m.channels()
	return wide.Sub(0, n, 0, w), wide.Sub(0, n, w, w+c), wide.Sub(0, n, w+c, w+c+m.Heads)
}

func (m *ssm) forward(ctx context.Context, b *Block, x, dst kernels.Matrix) (err error) {
	if m.wide, err = b.multiply(ctx, m.in, x); err != nil {
		return err
	}
	n := x.Rows
	gates, channels, _ := m.parts(m.wide)
	m.mixed, m.ready = b.kept.matrix(n, m.channels()), b.kept.matrix(n, m.channels())
	m.conv.forward(b, m.mixed, channels)
	b.each(n, func(i int) {
		for j, v := range m.mixed.Row(i) {
			m.ready.Row(i)[j] = v * rt.Sigmoid(v)
		}
	})
	m.read, m.activated = b.kept.matrix(n, m.width()), b.kept.matrix(n, m.width())
	b.eachHead(m.Groups, m.Heads, func(h, first, n int) {
		cells := make([]float32, m.HeadDim*m.State)
		for t := first; t < first+n; t++ {
			token := m.token(h, t)
			token.step(cells, cells)
			for i, v := range token.x {
				m.read.Row(t)[h*m.HeadDim+i] = kernels.Dot(cells[i*m.State:(i+1)*m.State], token.c) + m.d[h]*v
			}
		}
	})
	b.each(n, func(i int) { rt.Activate(b.eng, arch.SiLU, 0, m.activated.Row(i), gates.Row(i), m.read.Row(i)) })
	return b.multiplyTo(ctx, m.out, dst, b.normalize(m.norm, m.activated))
}

// ssmToken is what a token does to the cells of a head.
type ssmToken struct {
	x, b, c []float32
	dt      float32 // the time step
	free    bool    // it is within its limits
	decay   float32 // exp(-dt * rate)
	rate    float64
}

// place returns the columns of a head's x, B and C.
func (m *ssm) place(h int) (x, b, c int) {
	group := h / (m.Heads / m.Groups) * m.State
	return h * m.HeadDim, m.width() + group, m.width() + m.Groups*m.State + group
}

func (m *ssm) token(h, t int) ssmToken {
	x, b, c := m.place(h)
	_, _, steps := m.parts(m.wide)
	row, rate := m.ready.Row(t), math.Exp(float64(m.aLog[h]))
	asked := rt.Softplus(float64(steps.Row(t)[h] + m.bias[h]))
	dt := max(asked, float64(m.DtMin))
	if m.DtMax > 0 {
		dt = min(dt, float64(m.DtMax))
	}
	return ssmToken{row[x:][:m.HeadDim], row[b:][:m.State], row[c:][:m.State], float32(dt), dt == asked, float32(math.Exp(-dt * rate)), rate}
}

// step stores in next the cells after the token; next may be cells.
func (t *ssmToken) step(next, cells []float32) {
	for i, v := range t.x {
		gain := t.dt * v
		for j, b := range t.b {
			at := i*len(t.b) + j
			next[at] = cells[at]*t.decay + gain*b
		}
	}
}

// back turns dcells, the gradient of the cells next after the token, into that of the
// cells before, given that of what the head gave; d is the head's. It adds to the
// gradients of B and C and returns that of the time step.
func (t *ssmToken) back(dx, db, dc, dcells, dout, cells, next []float32, d float32) (ddt float32) {
	ddecay, n := float32(0), len(t.b)
	for i, v := range t.x {
		row := dcells[i*n : (i+1)*n]
		addTimes(row, t.c, dout[i])
		addTimes(dc, next[i*n:(i+1)*n], dout[i])
		addTimes(db, row, t.dt*v)
		dgain := kernels.Dot(row, t.b)
		dx[i] = dgain*t.dt + d*dout[i]
		ddt += dgain * v
		ddecay += kernels.Dot(row, cells[i*n:(i+1)*n])
		for j := range row {
			row[j] *= t.decay
		}
	}
	return ddt - ddecay*t.decay*float32(t.rate)
}

// headBackward goes back through a text, and stores or adds the gradients of what a
// head reads.
func (m *ssm) headBackward(h, first, n int, dread, dready, dsteps kernels.Matrix) {
	size := m.HeadDim * m.State
	starts := make([]float32, (n+stretch-1)/stretch*size)
	cells := make([]float32, (stretch+1)*size)
	at := func(i int) []float32 { return cells[i*size : (i+1)*size] }
	for t := range n {
		if t%stretch == 0 {
			copy(starts[t/stretch*size:], at(0))
		}
		token := m.token(h, first+t)
		token.step(at(0), at(0))
	}
	_, _, steps := m.parts(m.wide)
	dcells := make([]float32, size)
	x, b, c := m.place(h)
	for from := (n - 1) / stretch * stretch; from >= 0; from -= stretch {
		copy(at(0), starts[from/stretch*size:])
		tokens := make([]ssmToken, min(stretch, n-from))
		for i := range tokens {
			tokens[i] = m.token(h, first+from+i)
			tokens[i].step(at(i+1), at(i))
		}
		for i := len(tokens) - 1; i >= 0; i-- {
			row := first + from + i
			to := dready.Row(row)
			ddt := tokens[i].back(to[x:][:m.HeadDim], to[b:][:m.State], to[c:][:m.State], dcells, dread.Row(row)[h*m.HeadDim:][:m.HeadDim], at(i), at(i+1), m.d[h])
			if dsteps.Row(row)[h] = 0; tokens[i].free {
				dsteps.Row(row)[h] = ddt * rt.Sigmoid(steps.Row(row)[h]+m.bias[h])
			}
		}
	}
}

func (m *ssm) backward(ctx context.Context, b *Block, d, dx kernels.Matrix) error {
	r, n := b.room, d.Rows
	mark := r.next
	defer func() { r.next = mark }()
	dnormed, dread, dready, dwide := r.matrix(n, m.width()), r.matrix(n, m.width()), r.matrix(n, m.channels()), r.matrix(n, m.wide.Cols)
	if err := b.through(ctx, dnormed, back{m.out, d}); err != nil {
		return err
	}
	gates, _, _ := m.parts(m.wide)
	dgates, dchannels, dsteps := m.parts(dwide)
	dactivated := b.normGradient(m.norm, dnormed, m.activated)
	b.each(n, func(i int) {
		rt.ActivateGradient(b.eng, arch.SiLU, 0, dgates.Row(i), dread.Row(i), dactivated.Row(i), gates.Row(i), m.read.Row(i))
		clear(dready.Row(i))
	})
	b.eachHead(m.Groups, m.Heads, func(h, first, n int) {
		if ctx.Err() == nil {
			m.headBackward(h, first, n, dread, dready, dsteps)
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	b.each(n, func(i int) { siluBackward(dready.Row(i), m.mixed.Row(i)) })
	m.conv.backward(b, dchannels, dready)
	return b.through(ctx, dx, back{m.in, dwide})
}
