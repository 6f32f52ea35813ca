package block

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// experts is a mixture of experts. The tokens that chose an expert go through it
// together. The weights of the chosen are differentiated; the choice has no
// derivative.
type experts struct {
	*arch.MoE
	router, sharedGate *linear
	routerNorm         *rt.Norm
	routerScale        []float32
	rule               rt.Routing
	all                []expert
	shared             *mlp

	routed, logits kernels.Matrix // what the router read and gave
	given, gates   kernels.Matrix // what the shared expert and its gate gave
}

// expert is one of them, with the tokens that chose it last.
type expert struct {
	*mlp
	tokens  []int
	weights []float32
	given   kernels.Matrix
}

func (c *compiler) experts(m *arch.MoE) operation {
	out := &experts{MoE: m, router: c.linear(m.Router), sharedGate: c.linear(m.SharedGate), routerNorm: c.norm(m.RouterNorm), routerScale: c.vector(m.RouterScale),
		rule: rt.NewRouting(m, c.parts.Vector)}
	for i := range m.Experts {
		out.all = append(out.all, expert{mlp: c.mlp(&m.Experts[i])})
	}
	if m.Shared != nil {
		out.shared = c.mlp(m.Shared)
	}
	return out
}

func (m *experts) forward(ctx context.Context, b *Block, x, dst kernels.Matrix) error {
	if err := m.choose(ctx, b, x); err != nil {
		return err
	}
	b.each(dst.Rows, func(i int) { clear(dst.Row(i)) })
	for i := range m.all {
		e := &m.all[i]
		in := b.kept.matrix(len(e.tokens), x.Cols)
		e.given = b.kept.matrix(len(e.tokens), x.Cols)
		e.down.in = kernels.Matrix{Cols: e.Inner} // of an expert that no token chose
		for _, l := range []*linear{e.gate, e.up, e.gateUp} {
			if l != nil {
				l.in = in
			}
		}
		if len(e.tokens) == 0 {
			continue
		}
		b.each(in.Rows, func(r int) { copy(in.Row(r), x.Row(e.tokens[r])) })
		if err := e.mlp.forward(ctx, b, in, e.given); err != nil {
			return err
		}
		b.each(in.Rows, func(r int) { addTimes(dst.Row(e.tokens[r]), e.given.Row(r), e.weights[r]) })
	}
	if m.shared == nil {
		return nil
	}
	m.given = b.kept.matrix(x.Rows, x.Cols)
	if err := m.shared.forward(ctx, b, x, m.given); err != nil {
		return err
	}
	if m.sharedGate == nil {
		b.add(dst, m.given)
		return nil
	}
	var err error
	if m.gates, err = b.multiply(ctx, m.sharedGate, x); err == nil {
		b.each(x.Rows, func(i int) { addTimes(dst.Row(i), m.given.Row(i), rt.Sigmoid(m.gates.Row(i)[0])) })
	}
	return err
}

// choose finds the tokens of each expert.
func (m *experts) choose(ctx context.Context, b *Block, x kernels.Matrix) (err error) {
	m.routed = x
	if m.routerNorm != nil {
		m.routed = b.normalize(m.routerNorm, b.stream)
	}
	if m.routerScale != nil || m.RouterFactor != 1 {
		scaled := b.kept.matrix(x.Rows, x.Cols)
		b.copy(scaled, m.routed)
		m.scaleRouted(b, scaled)
		m.routed = scaled
	}
	if m.logits, err = b.multiply(ctx, m.router, m.routed); err != nil {
		return err
	}
	for i := range m.all {
		m.all[i].tokens, m.all[i].weights = m.all[i].tokens[:0], m.all[i].weights[:0]
	}
	for t := range x.Rows {
		m.rule.Choose(m.logits.Row(t), func(i int, weight float32) {
			e := &m.all[i]
			e.tokens, e.weights = append(e.tokens, t), append(e.weights, weight)
		})
	}
	return nil
}

// scaleRouted multiplies what the router reads, or its gradient.
func (m *experts) scaleRouted(b *Block, x kernels.Matrix) {
	b.multiplyBy(x, m.RouterFactor)
	if m.routerScale == nil {
		return
	}
	b.each(x.Rows, func(i int) {
		for j, s := range m.routerScale {
			x.Row(i)[j] *= s
		}
	})
}

func (m *experts) backward(ctx context.Context, b *Block, d, dx kernels.Matrix) error {
	r := b.room
	mark := r.next
	defer func() { r.next = mark }()
	dlogits, dweights := r.matrix(d.Rows, len(m.all)), r.matrix(d.Rows, len(m.all))
	clear(dweights.Data)
	b.each(dx.Rows, func(i int) { clear(dx.Row(i)) })
	for i := range m.all {
		if err := m.expertBackward(ctx, b, i, d, dx, dweights); err != nil {
			return err
		}
	}
	b.each(d.Rows, func(i int) { m.rule.Gradient(dlogits.Row(i), m.logits.Row(i), dweights.Row(i)) })
	drouted := r.matrix(dx.Rows, dx.Cols)
	if err := b.through(ctx, drouted, back{m.router, dlogits}); err != nil {
		return err
	}
	m.scaleRouted(b, drouted)
	if m.routerNorm != nil {
		b.add(b.dstream, b.normGradient(m.routerNorm, drouted, b.stream))
	} else {
		b.add(dx, drouted)
	}
	return m.sharedBackward(ctx, b, d, dx)
}

// expertBackward adds the gradient of what an expert's tokens are.
func (m *experts) expertBackward(ctx context.Context, b *Block, i int, d, dx, dweights kernels.Matrix) error {
	e, r := &m.all[i], b.room
	n := len(e.tokens)
	if n == 0 {
		return nil
	}
	mark := r.next
	defer func() { r.next = mark }()
	dgiven, din := r.matrix(n, d.Cols), r.matrix(n, dx.Cols)
	b.each(n, func(j int) {
		from := d.Row(e.tokens[j])
		dweights.Row(e.tokens[j])[i] = kernels.Dot(from, e.given.Row(j))
		clear(dgiven.Row(j))
		addTimes(dgiven.Row(j), from, e.weights[j])
	})
	if err := e.mlp.backward(ctx, b, dgiven, din); err != nil {
		return err
	}
	b.each(n, func(j int) { b.eng.Add(dx.Row(e.tokens[j]), din.Row(j)) })
	return nil
}

// sharedBackward adds the gradient of what the expert of all tokens reads.
func (m *experts) sharedBackward(ctx context.Context, b *Block, d, dx kernels.Matrix) error {
	if m.shared == nil {
		return nil
	}
	r := b.room
	din := r.matrix(dx.Rows, dx.Cols)
	if m.sharedGate != nil {
		dgates, dgiven := r.matrix(d.Rows, 1), r.matrix(d.Rows, d.Cols)
		b.each(d.Rows, func(i int) {
			s := rt.Sigmoid(m.gates.Row(i)[0])
			dgates.Row(i)[0] = kernels.Dot(d.Row(i), m.given.Row(i)) * s * (1 - s)
			clear(dgiven.Row(i))
			addTimes(dgiven.Row(i), d.Row(i), s)
		})
		if err := b.through(ctx, din, back{m.sharedGate, dgates}); err != nil {
			return err
		}
		b.add(dx, din)
		d = dgiven
	}
	if err := m.shared.backward(ctx, b, d, din); err != nil {
		return err
	}
	b.add(dx, din)
	return nil
}

// addTimes adds x times f to dst.
func addTimes(dst, x []float32, f float32) {
	for i, v := range x {
		dst[i] += f * v
	}
}
