package method

import (
	"context"
	"slices"
	"time"

	"nibble/model/arch"
	"nibble/quant/cost"
	"nibble/quant/grid"
	"nibble/quant/pass"
	"nibble/quant/train"
	"nibble/runtime/graph"
)

// tapeOf returns the current layer as it is so far, but for matrices that are being
// trained.
func tapeOf(ctx context.Context, p *pass.Pass, s pass.Stage, trained map[string]*train.Rounding) (*graph.Tape, error) {
	m := p.Sequence.Cur
	parts := m.Parts()
	parts.Weight = func(l *arch.Linear) (graph.Weight, error) {
		if r := trained[l.Path]; r != nil {
			return graph.Weight{Value: r.Value, Gradient: r.Grad}, nil
		}
		if i := slices.IndexFunc(s.Modules, func(pm pass.PlannedModule) bool { return pm.Module.Name == l.Path }); i >= 0 {
			w, err := p.Settled(ctx, s.Modules[i].Module)
			return graph.Weight{Value: w}, err
		}
		return graph.Weight{Value: train.Floats(m.Linear(l.Path))}, nil
	}
	g, err := graph.CompileBlock(p.Engine, &m.Config.Blocks[s.Layer], parts)
	if err != nil {
		return nil, err
	}
	return g.NewTape(train.Longest(p.Sequence.Stack.Texts())), nil
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
func trainLayer(ctx context.Context, p *pass.Pass, s pass.Stage, ms []pass.PlannedModule, how train.Training, step func(rows int)) ([]pass.Quantized, error) {
	rs, out, err := startRoundings(ctx, p, ms)
	if err != nil {
		return nil, err
	}
	t := &train.Layer{Engine: p.Engine, Hidden: p.Checkpoint.Config.Hidden, X: p.Sequence.States()}
	if t.Y, err = p.Sequence.Outputs(ctx); err != nil {
		return nil, err
	}
	if t.PerLayer, err = p.Sequence.Stack.LayerInputs(ctx, p.Sequence.Cur); err != nil {
		return nil, err
	}
	t.Keys, t.Values = p.Sequence.Stack.Borrowed(p.Sequence.Cur)
	rows, trained := 0, map[string]*train.Rounding{}
	for i, m := range ms {
		trained[m.Module.Name] = rs[i]
		rows += m.Module.Rows
	}
	if t.Tape, err = tapeOf(ctx, p, s, trained); err != nil {
		return nil, err
	}
	start, told := time.Now(), 0
	err = train.Train(ctx, p.Engine, t, rs, how, p.Calibration.Seed, train.Saver{}, func(i int, before, loss float64) {
		seconds := time.Since(start).Seconds()
		p.Listener.Send(train.Trained{Layer: s.Layer, Iteration: i, Iterations: how.Iterations, Before: before, Loss: loss, Seconds: seconds, Estimate: seconds * float64(how.Iterations-i) / float64(i)})
		now := rows * i / how.Iterations
		step(now - told)
		told = now
	})
	if err != nil {
		return nil, err
	}
	if _, err := t.Loss(ctx, train.FirstSamples(t.X, t.Hidden), false); err != nil { // for what enters each matrix now
		return nil, err
	}
	for i, r := range rs {
		if out[i].Stats, err = grid.MeasureOutputs(ctx, p.Engine, r.Weights, r.Codes, t.Tape.Input(ms[i].Module.Name)); err != nil {
			return nil, err
		}
		out[i].Q = r.Codes
	}
	return out, nil
}

// startRoundings quantizes matrices of a layer one after the other, and makes
// them the start of training.
func startRoundings(ctx context.Context, p *pass.Pass, ms []pass.PlannedModule) (rs []*train.Rounding, begin []pass.Quantized, err error) {
	for _, m := range ms {
		w, q, err := correct(ctx, p, m, nil)
		if err != nil {
			return nil, nil, err
		}
		if err := p.Follow(m.Module, q); err != nil {
			return nil, nil, err
		}
		rs, begin = append(rs, train.NewRounding(p.Engine, w, q)), append(begin, pass.Quantized{Q: q, Silent: p.Sequence.Moments.Silent()})
	}
	return rs, begin, nil
}

// trainingSeconds estimates training a layer. Judging all samples is five passes
// forward, a third of an iteration.
func trainingSeconds(r *cost.Shape, layer int, how train.Training) float64 {
	return r.Train(layer, float64(how.Iterations*min(how.Batch, r.Samples)*r.Length)+5*r.Tokens()/3)
}

// trainingBytes is, by weight, offset, value and gradient, and the float; codes at
// first, now and at best, scales; and, by token, what the layer computes, and its
// gradient.
func trainingBytes(r *cost.Shape, l cost.Layer) int64 {
	tokens := int64(max(train.PassTokens, r.Length))
	return (12+l.Floats)*l.Weights + 2*l.Codes + 4*l.Largest + 4*tokens*(r.Computed()+r.ComputedBackward())
}
