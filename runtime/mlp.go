package runtime

import (
	"context"

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
		Activate(s.m.Engine, m.Act, m.Limit, dst, b.wide[2*r*f:(2*r+1)*f], b.wide[(2*r+1)*f:(2*r+2)*f])
	case m.Gate == nil:
		activate(s.m.Engine, m.Act, dst, dst, nil)
	default:
		Activate(s.m.Engine, m.Act, m.Limit, dst, dst, b.up[r*f:(r+1)*f])
	}
}
