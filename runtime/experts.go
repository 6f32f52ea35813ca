package runtime

import (
	"context"

	"nibble/model/arch"
)

// experts is a mixture of experts. The tokens that chose an expert go through it
// together. Sums are taken expert by expert, so that a token's result does not
// depend on the others.
type experts struct {
	*arch.MoE
	router, sharedGate linear
	routerNorm         *Norm
	routerScale        []float32
	rule               Routing
	all                []*mlp
	shared             *mlp
}

func (c *compiler) experts(m *arch.MoE) operation {
	out := &experts{MoE: m, router: c.linear(m.Router), sharedGate: c.linear(m.SharedGate), routerNorm: c.norm(m.RouterNorm), routerScale: c.vector(m.RouterScale),
		rule: NewRouting(m, c.tensor)}
	for i := range m.Experts {
		out.all = append(out.all, c.mlp(&m.Experts[i]))
	}
	if m.Shared != nil {
		out.shared = c.mlp(m.Shared)
	}
	return out
}

func (m *experts) run(ctx context.Context, s *Session, n int, x, dst []float32) error {
	b, h := &s.buf, s.m.Config.Hidden
	chosen, err := m.choose(ctx, s, n, x)
	if err != nil {
		return err
	}
	b.mixed = resize(b.mixed, n*h)
	clear(b.mixed)
	for e, expert := range m.all {
		if err := m.expert(ctx, s, expert, chosen[e], x); err != nil {
			return err
		}
	}
	if m.shared != nil {
		if err := m.addShared(ctx, s, n, x); err != nil {
			return err
		}
	}
	copy(dst[:n*h], b.mixed)
	return nil
}

// share is a token that chose an expert, and the weight it has for it.
type share struct {
	token  int
	weight float32
}

// choose returns the tokens of each expert.
func (m *experts) choose(ctx context.Context, s *Session, n int, x []float32) ([][]share, error) {
	b, h, e := &s.buf, s.m.Config.Hidden, s.m.Engine
	if m.routerNorm != nil || m.routerScale != nil || m.RouterFactor != 1 {
		b.routed = resize(b.routed, n*h)
		s.rows(n, func(r int) {
			row := b.routed[r*h : (r+1)*h]
			if m.routerNorm != nil {
				m.routerNorm.Row(e, row, b.x[r*h:(r+1)*h])
			} else {
				copy(row, x[r*h:])
			}
			for i := range row {
				if m.routerScale != nil {
					row[i] *= m.routerScale[i]
				}
				row[i] *= m.RouterFactor
			}
		})
		x = b.routed
	}
	count := len(m.all)
	b.scores = resize(b.scores, n*count)
	if err := s.mul(ctx, x, n, h, output{&m.router, b.scores}); err != nil {
		return nil, err
	}
	chosen := make([][]share, count)
	for t := range n {
		m.rule.Choose(b.scores[t*count:(t+1)*count], func(expert int, weight float32) {
			chosen[expert] = append(chosen[expert], share{t, weight})
		})
	}
	return chosen, nil
}

// expert adds what an expert gives for its tokens.
func (m *experts) expert(ctx context.Context, s *Session, expert *mlp, tokens []share, x []float32) error {
	if len(tokens) == 0 {
		return nil
	}
	b, h := &s.buf, s.m.Config.Hidden
	b.gathered = resize(b.gathered, len(tokens)*h)
	for i, t := range tokens {
		copy(b.gathered[i*h:(i+1)*h], x[t.token*h:])
	}
	b.given = resize(b.given, len(tokens)*h)
	if err := expert.run(ctx, s, len(tokens), b.gathered, b.given); err != nil {
		return err
	}
	s.rows(len(tokens), func(i int) {
		out := b.mixed[tokens[i].token*h:][:h]
		for j, v := range b.given[i*h : (i+1)*h] {
			out[j] += tokens[i].weight * v
		}
	})
	return nil
}

// addShared adds what the expert of all tokens gives.
func (m *experts) addShared(ctx context.Context, s *Session, n int, x []float32) error {
	b, h := &s.buf, s.m.Config.Hidden
	if m.SharedGate != nil {
		b.scores = resize(b.scores, n)
		if err := s.mul(ctx, x, n, h, output{&m.sharedGate, b.scores}); err != nil {
			return err
		}
	}
	b.given = resize(b.given, n*h)
	if err := m.shared.run(ctx, s, n, x, b.given); err != nil {
		return err
	}
	s.rows(n, func(r int) {
		row := b.given[r*h : (r+1)*h]
		if m.SharedGate != nil {
			g := Sigmoid(b.scores[r])
			for i := range row {
				row[i] *= g
			}
		}
		s.m.Engine.Add(b.mixed[r*h:(r+1)*h], row)
	})
	return nil
}
