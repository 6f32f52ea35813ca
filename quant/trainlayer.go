package quant

import (
	"context"
	"slices"
	"time"

	"nibble/model/arch"
	"nibble/runtime/graph"
)

// tapeOf returns the current layer as it is so far, but for matrices that are being
// trained.
func (p *pass) tapeOf(ctx context.Context, s Stage, trained map[string]*rounding) (*graph.Tape, error) {
	m := p.seq.cur
	parts := m.Parts()
	parts.Weight = func(l *arch.Linear) (graph.Weight, error) {
		if r := trained[l.Path]; r != nil {
			return graph.Weight{Value: r.value, Gradient: r.grad}, nil
		}
		if i := slices.IndexFunc(s.Modules, func(pm PlannedModule) bool { return pm.Module.Name == l.Path }); i >= 0 {
			w, err := p.settled(ctx, s.Modules[i].Module)
			return graph.Weight{Value: w}, err
		}
		return graph.Weight{Value: floats(m.Linear(l.Path))}, nil
	}
	g, err := graph.CompileBlock(p.eng, &m.Config.Blocks[s.Layer], parts)
	if err != nil {
		return nil, err
	}
	return g.NewTape(longest(p.seq.stack.Texts())), nil
}

// trainLayer trains the roundings of a layer's matrices together, so that the
// quantized layer gives what the float one does, for the inputs that each gets
// (Cheng et al., "Optimize Weight Rounding via Signed Gradient Descent", 2023).
// It starts from what GPTQ gives, and a layer may end with that. Training wins most
// of what it does by making up for what the layers before lost; the first has
// nothing to make up for, and steps of one size for all weights first spoil what
// GPTQ balanced for inputs as alike as embeddings. On the demo its loss is 1.4 times
// the first after 200 iterations, 0.95 times with a tenth of the rate, with which
// other layers gain less; going back to the start halfway and on with that rate gave 0.99.
func trainLayer(ctx context.Context, p *pass, s Stage, ms []PlannedModule, how training, step func(rows int)) ([]Quantized, error) {
	rs, out, err := p.startRoundings(ctx, ms)
	if err != nil {
		return nil, err
	}
	t := &layerTrainee{eng: p.eng, hidden: p.ck.Config.Hidden, x: p.seq.states()}
	if t.y, err = p.seq.outputs(ctx); err != nil {
		return nil, err
	}
	if t.perLayer, err = p.seq.stack.LayerInputs(ctx, p.seq.cur); err != nil {
		return nil, err
	}
	t.keys, t.values = p.seq.stack.Borrowed(p.seq.cur)
	rows, trained := 0, map[string]*rounding{}
	for i, m := range ms {
		trained[m.Module.Name] = rs[i]
		rows += m.Module.Rows
	}
	if t.tape, err = p.tapeOf(ctx, s, trained); err != nil {
		return nil, err
	}
	start, told := time.Now(), 0
	err = train(ctx, p.eng, t, rs, how, p.cal.Seed, saver{}, func(i int, before, loss float64) {
		seconds := time.Since(start).Seconds()
		p.l.send(Trained{s.Layer, i, how.iterations, before, loss, seconds, seconds * float64(how.iterations-i) / float64(i)})
		now := rows * i / how.iterations
		step(now - told)
		told = now
	})
	if err != nil {
		return nil, err
	}
	if _, err := t.loss(ctx, firstSamples(t.x, t.hidden), false); err != nil { // for what enters each matrix now
		return nil, err
	}
	for i, r := range rs {
		if out[i].Stats, err = measureOn(ctx, p.eng, r.w, r.q, t.tape.Input(ms[i].Module.Name)); err != nil {
			return nil, err
		}
		out[i].Q = r.q
	}
	return out, nil
}

// startRoundings quantizes matrices of a layer one after the other, and makes
// them the start of training.
func (p *pass) startRoundings(ctx context.Context, ms []PlannedModule) (rs []*rounding, begin []Quantized, err error) {
	for _, m := range ms {
		w, q, err := p.gptq(ctx, m, nil)
		if err != nil {
			return nil, nil, err
		}
		if err := p.follow(m.Module, q); err != nil {
			return nil, nil, err
		}
		rs, begin = append(rs, newRounding(p.eng, w, q)), append(begin, Quantized{Q: q, Silent: p.seq.moments.silent()})
	}
	return rs, begin, nil
}

// trainingSeconds estimates training a layer. Judging all samples is five passes
// forward, a third of an iteration.
func trainingSeconds(r *Shape, layer int, how training) float64 {
	return r.Train(layer, float64(how.iterations*min(how.batch, r.Samples)*r.Length)+5*r.Tokens()/3)
}

// trainingBytes is, by weight, offset, value and gradient, and the float; codes at
// first, now and at best, scales; and, by token, what the layer computes, and its
// gradient.
func trainingBytes(r *Shape, l LayerCost) int64 {
	tokens := int64(max(passTokens, r.Length))
	return (12+l.Floats)*l.Weights + 2*l.Codes + 4*l.Largest + 4*tokens*(r.Computed()+r.ComputedBackward())
}
