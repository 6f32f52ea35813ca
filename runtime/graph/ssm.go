package graph

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
)

// ssm is a selective state space: of each head, HeadDim x State cells that decay.
type ssm struct {
	*arch.SSM
	in, out       *Linear
	conv          convolution
	aLog, d, bias []float32
	norm          *Norm
	state         int
	number        int
}

// ssmRecord is what a state space keeps of a pass.
type ssmRecord struct {
	wide            kernels.Matrix // what in gave: gates, what enters the convolution, time steps
	mixed, ready    kernels.Matrix // x, B and C after the convolution, and after the activation
	read, activated kernels.Matrix // what heads give, and times the gates' activation
}

func (c *compiler) ssm(s *arch.SSM) operation {
	out := &ssm{SSM: s, in: c.linear(s.In), out: c.linear(s.Out), conv: c.convolution(s.Conv, s.ConvBias, s.Kernel),
		aLog: c.vector(s.ALog), d: c.vector(s.D), bias: c.vector(s.DtBias), norm: c.norm(s.Norm), number: c.number()}
	out.state = c.state(recurrence{out.channels(), s.Kernel, out.width() * s.State})
	return out
}

func (m *ssm) width() int    { return m.Heads * m.HeadDim }
func (m *ssm) channels() int { return m.width() + 2*m.Groups*m.State }

// parts are the columns of a matrix like wide: gates, channels, time steps.
func (m *ssm) parts(wide kernels.Matrix) (gates, channels, steps kernels.Matrix) {
	n, w, c := wide.Rows, m.width(), m.channels()
	return wide.Sub(0, n, 0, w), wide.Sub(0, n, w, w+c), wide.Sub(0, n, w+c, w+c+m.Heads)
}

func (m *ssm) forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) (err error) {
	r, n := record[ssmRecord](p, m.number), x.Rows
	if r.wide, err = p.apply(ctx, m.in, x); err != nil {
		return err
	}
	gates, channels, _ := m.parts(r.wide)
	r.mixed = p.matrix(n, m.channels())
	r.ready = p.another(r.mixed)
	r.read = p.matrix(n, m.width())
	for _, t := range p.texts {
		kept := p.state(m.state)
		m.conv.forward(p, t, kept, r.mixed, channels)
		p.eachPlace(t, func(i, _ int) { activate(p.eng, arch.SiLU, 0, r.ready.Row(i), r.mixed.Row(i), nil) })
		p.each(m.Heads, func(h int) {
			size := m.HeadDim * m.State
			cells := kept.cells[h*size:][:size]
			for i := t.first; i < t.first+t.n; i++ {
				token := m.token(r, h, i)
				token.step(cells, cells)
				for j, v := range token.x {
					r.read.Row(i)[h*m.HeadDim+j] = kernels.Dot(cells[j*m.State:(j+1)*m.State], token.c) + m.d[h]*v
				}
			}
		})
	}
	r.activated = p.another(r.read)
	p.each(n, func(i int) { activate(p.eng, arch.SiLU, 0, r.activated.Row(i), gates.Row(i), r.read.Row(i)) })
	return p.multiply(ctx, p.normalize(m.norm, r.activated), product{m.out, dst})
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

func (m *ssm) token(r *ssmRecord, h, t int) ssmToken {
	x, b, c := m.place(h)
	_, _, steps := m.parts(r.wide)
	row, rate := r.ready.Row(t), math.Exp(float64(m.aLog[h]))
	asked := softplus(float64(steps.Row(t)[h] + m.bias[h]))
	dt := max(asked, float64(m.DtMin))
	if m.DtMax > 0 {
		dt = min(dt, float64(m.DtMax))
	}
	return ssmToken{row[x:][:m.HeadDim], row[b:][:m.State], row[c:][:m.State], float32(dt), dt == asked, float32(math.Exp(-dt * rate)), rate}
}

// step stores in next the cells after the token; next may be cells.
func (t *ssmToken) step(next, cells []float32) {
	decay, b := t.decay, t.b
	for i, v := range t.x {
		gain := t.dt * v
		row, to := cells[i*len(b):][:len(b)], next[i*len(b):][:len(b)]
		for j, w := range b {
			to[j] = row[j]*decay + gain*w
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
func (m *ssm) headBackward(r *ssmRecord, h int, t text, dread, dready, dsteps kernels.Matrix) {
	size := m.HeadDim * m.State
	starts := make([]float32, (t.n+stretch-1)/stretch*size)
	cells := make([]float32, (stretch+1)*size)
	at := func(i int) []float32 { return cells[i*size : (i+1)*size] }
	for i := range t.n {
		if i%stretch == 0 {
			copy(starts[i/stretch*size:], at(0))
		}
		token := m.token(r, h, t.first+i)
		token.step(at(0), at(0))
	}
	_, _, steps := m.parts(r.wide)
	dcells := make([]float32, size)
	x, b, c := m.place(h)
	for from := (t.n - 1) / stretch * stretch; from >= 0; from -= stretch {
		copy(at(0), starts[from/stretch*size:])
		tokens := make([]ssmToken, min(stretch, t.n-from))
		for i := range tokens {
			tokens[i] = m.token(r, h, t.first+from+i)
			tokens[i].step(at(i+1), at(i))
		}
		for i := len(tokens) - 1; i >= 0; i-- {
			row := t.first + from + i
			to := dready.Row(row)
			ddt := tokens[i].back(to[x:][:m.HeadDim], to[b:][:m.State], to[c:][:m.State], dcells, dread.Row(row)[h*m.HeadDim:][:m.HeadDim], at(i), at(i+1), m.d[h])
			if dsteps.Row(row)[h] = 0; tokens[i].free {
				dsteps.Row(row)[h] = ddt * sigmoid(steps.Row(row)[h]+m.bias[h])
			}
		}
	}
}

func (m *ssm) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error {
	rec, r, n := record[ssmRecord](p, m.number), p.room, d.Rows
	defer r.rewind(r.next)
	dnormed, dread, dready, dwide := r.matrix(n, m.width()), r.matrix(n, m.width()), r.matrix(n, m.channels()), r.matrix(n, rec.wide.Cols)
	if err := p.through(ctx, dnormed, back{m.out, d}); err != nil {
		return err
	}
	gates, _, _ := m.parts(rec.wide)
	dgates, dchannels, dsteps := m.parts(dwide)
	dactivated := p.normGradient(m.norm, dnormed, rec.activated)
	p.each(n, func(i int) {
		activateGradient(p.eng, arch.SiLU, 0, dgates.Row(i), dread.Row(i), dactivated.Row(i), gates.Row(i), rec.read.Row(i))
		clear(dready.Row(i))
	})
	p.eachGroup(m.Groups, m.Heads, func(h int, t text) {
		if ctx.Err() == nil {
			m.headBackward(rec, h, t, dread, dready, dsteps)
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	p.each(n, func(i int) { siluGradient(dready.Row(i), rec.mixed.Row(i)) })
	m.conv.backward(p, dchannels, dready)
	return p.through(ctx, dx, back{m.in, dwide})
}
