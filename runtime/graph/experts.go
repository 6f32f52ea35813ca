package graph

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
)

// experts is a mixture of experts. The tokens that chose an expert go through it
// together. Sums are taken expert by expert, so that a token's result does not
// depend on the others. The weights of the chosen are differentiated; the choice has
// no derivative.
type experts struct {
	*arch.MoE
	router, sharedGate *Linear
	routerNorm         *Norm
	routerScale        []float32
	rule               routing
	all                []*mlp
	shared             *mlp
	number             int
}

// expertsRecord is what a mixture keeps of a pass.
type expertsRecord struct {
	logits       kernels.Matrix // what the router gave
	chosen       []chosen       // of each expert
	given, gates kernels.Matrix // what the shared expert and its gate gave
}

// chosen are the tokens of an expert, their weights, and what it gave for them.
type chosen struct {
	tokens  []int
	weights []float32
	given   kernels.Matrix
}

func (c *compiler) experts(m *arch.MoE) operation {
	out := &experts{MoE: m, router: c.linear(m.Router), sharedGate: c.linear(m.SharedGate), routerNorm: c.norm(m.RouterNorm), routerScale: c.vector(m.RouterScale),
		rule: newRouting(m, c.parts.Vector), number: c.number()}
	for i := range m.Experts {
		out.all = append(out.all, c.mlp(&m.Experts[i]))
	}
	if m.Shared != nil {
		out.shared = c.mlp(m.Shared)
	}
	return out
}

func (m *experts) forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) error {
	r := record[expertsRecord](p, m.number)
	if err := m.choose(ctx, p, r, x); err != nil {
		return err
	}
	p.each(dst.Rows, func(i int) { clear(dst.Row(i)) })
	if err := m.routed(ctx, p, r, x, dst); err != nil {
		return err
	}
	if m.shared == nil {
		return nil
	}
	r.given = p.matrix(x.Rows, x.Cols)
	if err := m.shared.forward(ctx, p, x, r.given); err != nil {
		return err
	}
	if m.sharedGate == nil {
		p.add(dst, r.given)
		return nil
	}
	var err error
	if r.gates, err = p.apply(ctx, m.sharedGate, x); err == nil {
		p.each(x.Rows, func(i int) { addTimes(dst.Row(i), r.given.Row(i), sigmoid(r.gates.Row(i)[0])) })
	}
	return err
}

// choose finds the tokens of each expert.
func (m *experts) choose(ctx context.Context, p *Pass, r *expertsRecord, x kernels.Matrix) (err error) {
	routed := x
	if m.routerNorm != nil {
		routed = p.matrix(x.Rows, x.Cols)
		p.each(x.Rows, func(i int) { m.routerNorm.Row(p.eng, routed.Row(i), p.source.Row(i)) })
	}
	if m.routerScale != nil || m.RouterFactor != 1 {
		scaled := p.matrix(x.Rows, x.Cols)
		p.copy(scaled, routed)
		m.scaleRouted(p, scaled)
		routed = scaled
	}
	if r.logits, err = p.apply(ctx, m.router, routed); err != nil {
		return err
	}
	if r.chosen == nil {
		r.chosen = make([]chosen, len(m.all))
	}
	for i := range r.chosen {
		r.chosen[i].tokens, r.chosen[i].weights = r.chosen[i].tokens[:0], r.chosen[i].weights[:0]
	}
	for t := range x.Rows {
		m.rule.choose(r.logits.Row(t), func(i int, weight float32) {
			c := &r.chosen[i]
			c.tokens, c.weights = append(c.tokens, t), append(c.weights, weight)
		})
	}
	return nil
}

// scaleRouted multiplies what the router reads, or its gradient.
func (m *experts) scaleRouted(p *Pass, x kernels.Matrix) {
	p.each(x.Rows, func(i int) {
		row := x.Row(i)
		for j, s := range m.routerScale {
			row[j] *= s
		}
		scaleRow(row, m.RouterFactor)
	})
}

// routed adds what the experts give for their tokens. Those of a single token read the
// same: their first matrices go in one parallel region.
func (m *experts) routed(ctx context.Context, p *Pass, r *expertsRecord, x, dst kernels.Matrix) error {
	var first []product
	for i, e := range m.all {
		switch c := &r.chosen[i]; {
		case len(c.tokens) == 0:
			e.unused(p, x.Cols)
		case x.Rows == 1:
			first = e.first(first, p, record[mlpRecord](p, e.number), 1)
		default:
			if err := m.expert(ctx, p, e, c, x, dst); err != nil {
				return err
			}
		}
	}
	if len(first) == 0 {
		return nil
	}
	if err := p.multiply(ctx, x, first...); err != nil {
		return err
	}
	for i, e := range m.all {
		c := &r.chosen[i]
		if len(c.tokens) == 0 {
			continue
		}
		c.given = p.matrix(1, x.Cols)
		if err := p.multiply(ctx, e.inner(p, record[mlpRecord](p, e.number)), product{e.down, c.given}); err != nil {
			return err
		}
		addTimes(dst.Row(0), c.given.Row(0), c.weights[0])
	}
	return nil
}

// expert adds what an expert gives for its tokens.
func (m *experts) expert(ctx context.Context, p *Pass, e *mlp, c *chosen, x, dst kernels.Matrix) error {
	defer p.forget(p.mark())
	n := len(c.tokens)
	in := p.matrix(n, x.Cols)
	c.given = p.matrix(n, x.Cols)
	p.each(n, func(i int) { copy(in.Row(i), x.Row(c.tokens[i])) })
	if err := e.forward(ctx, p, in, c.given); err != nil {
		return err
	}
	p.each(n, func(i int) { addTimes(dst.Row(c.tokens[i]), c.given.Row(i), c.weights[i]) })
	return nil
}

// unused notes that no token entered the matrices.
func (m *mlp) unused(p *Pass, width int) {
	if !p.keeps {
		return
	}
	for _, l := range []*Linear{m.gate, m.up, m.gateUp} {
		if l != nil {
			p.inputs[l.id] = kernels.Matrix{Cols: width}
		}
	}
	p.inputs[m.down.id] = kernels.Matrix{Cols: m.Inner}
}

func (m *experts) backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error {
	rec, r := record[expertsRecord](p, m.number), p.room
	defer r.rewind(r.next)
	dlogits, dweights := r.matrix(d.Rows, len(m.all)), r.matrix(d.Rows, len(m.all))
	clear(dweights.Data)
	p.each(dx.Rows, func(i int) { clear(dx.Row(i)) })
	for i, e := range m.all {
		if err := m.expertBackward(ctx, p, e, i, &rec.chosen[i], d, dx, dweights); err != nil {
			return err
		}
	}
	p.each(d.Rows, func(i int) { m.rule.gradient(dlogits.Row(i), rec.logits.Row(i), dweights.Row(i)) })
	drouted := r.matrix(dx.Rows, dx.Cols)
	if err := p.through(ctx, drouted, back{m.router, dlogits}); err != nil {
		return err
	}
	m.scaleRouted(p, drouted)
	if m.routerNorm != nil {
		p.add(p.dsource, p.normGradient(m.routerNorm, drouted, p.source))
	} else {
		p.add(dx, drouted)
	}
	return m.sharedBackward(ctx, p, rec, d, dx)
}

// expertBackward adds the gradient of what an expert's tokens are.
func (m *experts) expertBackward(ctx context.Context, p *Pass, e *mlp, number int, c *chosen, d, dx, dweights kernels.Matrix) error {
	r, n := p.room, len(c.tokens)
	if n == 0 {
		return nil
	}
	defer r.rewind(r.next)
	dgiven, din := r.matrix(n, d.Cols), r.matrix(n, dx.Cols)
	p.each(n, func(j int) {
		from := d.Row(c.tokens[j])
		dweights.Row(c.tokens[j])[number] = kernels.Dot(from, c.given.Row(j))
		clear(dgiven.Row(j))
		addTimes(dgiven.Row(j), from, c.weights[j])
	})
	if err := e.backward(ctx, p, dgiven, din); err != nil {
		return err
	}
	p.each(n, func(j int) { p.eng.Add(dx.Row(c.tokens[j]), din.Row(j)) })
	return nil
}

// sharedBackward adds the gradient of what the expert of all tokens reads.
func (m *experts) sharedBackward(ctx context.Context, p *Pass, rec *expertsRecord, d, dx kernels.Matrix) error {
	if m.shared == nil {
		return nil
	}
	r := p.room
	din := r.matrix(dx.Rows, dx.Cols)
	if m.sharedGate != nil {
		dgates, dgiven := r.matrix(d.Rows, 1), r.matrix(d.Rows, d.Cols)
		p.each(d.Rows, func(i int) {
			s := sigmoid(rec.gates.Row(i)[0])
			dgates.Row(i)[0] = kernels.Dot(d.Row(i), rec.given.Row(i)) * s * (1 - s)
			clear(dgiven.Row(i))
			addTimes(dgiven.Row(i), d.Row(i), s)
		})
		if err := p.through(ctx, din, back{m.sharedGate, dgates}); err != nil {
			return err
		}
		p.add(dx, din)
		d = dgiven
	}
	if err := m.shared.backward(ctx, p, d, din); err != nil {
		return err
	}
	p.add(dx, din)
	return nil
}
