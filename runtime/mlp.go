package runtime

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
)

// mlp is a feed-forward step, with a gate or without.
type mlp struct {
	*arch.MLP
	gate, up, gateUp, down linear
}

func (c *compiler) mlp(m *arch.MLP) *mlp {
	return &mlp{m, c.linear(m.Gate), c.linear(m.Up), c.linear(m.GateUp), c.linear(m.Down)}
}

func (m *mlp) run(ctx context.Context, s *Session, n int, x, dst []float32) error {
	if err := m.inner(ctx, s, n, x); err != nil {
		return err
	}
	return s.mul(ctx, s.buf.gate, n, m.Inner, output{&m.down, dst})
}

// inner leaves what enters the last matrix in b.gate.
func (m *mlp) inner(ctx context.Context, s *Session, n int, x []float32) error {
	b, hidden, f := &s.buf, s.m.Config.Hidden, m.Inner
	b.gate, b.up = resize(b.gate, n*f), resize(b.up, n*f)
	outs := []output{{&m.gate, b.gate}, {&m.up, b.up}}
	switch {
	case m.GateUp != nil:
		b.wide = resize(b.wide, n*2*f)
		outs = []output{{&m.gateUp, b.wide}}
	case m.Gate == nil:
		outs = []output{{&m.up, b.gate}}
	}
	if err := s.mul(ctx, x, n, hidden, outs...); err != nil {
		return err
	}
	s.rows(n, func(r int) { m.activateRow(s, r) })
	return nil
}

// activateRow applies the function to a row of what the first matrices gave.
func (m *mlp) activateRow(s *Session, r int) {
	b, f := &s.buf, m.Inner
	dst := b.gate[r*f : (r+1)*f]
	switch {
	case m.GateUp != nil:
		m.combine(s.m.Engine, dst, b.wide[2*r*f:(2*r+1)*f], b.wide[(2*r+1)*f:(2*r+2)*f])
	case m.Gate == nil:
		activate(s.m.Engine, m.Act, dst, dst, nil)
	default:
		m.combine(s.m.Engine, dst, dst, b.up[r*f:(r+1)*f])
	}
}

// combine is act(gate) * up, or what limits make of it.
func (m *mlp) combine(e *kernels.Engine, dst, gate, up []float32) {
	if m.Limit == 0 {
		activate(e, m.Act, dst, gate, up)
		return
	}
	for i, g := range gate {
		g, u := min(g, m.Limit), min(max(up[i], -m.Limit), m.Limit)
		dst[i] = (u + 1) * g * sigmoid(1.702*g)
	}
}

// activate stores act(gate) * up; a nil up is all ones. dst may be gate.
func activate(e *kernels.Engine, act arch.Activation, dst, gate, up []float32) {
	if act == arch.SiLU && up != nil {
		e.SwiGLU(dst, gate, up)
		return
	}
	f := activations[act]
	for i, g := range gate {
		v := f(float64(g))
		if up != nil {
			v *= float64(up[i])
		}
		dst[i] = float32(v)
	}
}

// activations are the functions by name.
var activations = map[arch.Activation]func(float64) float64{
	arch.SiLU: func(v float64) float64 { return v / (1 + math.Exp(-v)) },
	arch.GELU: func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) },
	arch.GELUTanh: func(v float64) float64 {
		return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	},
	arch.ReLU:        func(v float64) float64 { return max(v, 0) },
	arch.ReLUSquared: func(v float64) float64 { return max(v, 0) * max(v, 0) },
}
