package method

import (
	"context"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/grid"
	"nibble/quant/pass"
	"nibble/quant/train"
	"nibble/runtime/graph"
)

// AutoRoundBest is AutoRound, and then training all layers and the output head
// together, for the model's own outputs.
const AutoRoundBest = "autoround-best"

// AutoRoundBestTraining is how the model is trained as a whole.
var AutoRoundBestTraining = train.Training{Iterations: 600, Batch: 4, Rate: 1.2 / 600, Share: 0.1}

func init() {
	register(&pass.Method{
		Name: AutoRoundBest, Strength: 80, Recipe: "q4-best", StandIn: GPTQ, Error: 0.35,
		Does: "is " + AutoRound + ", then trains all layers together, for the least KL divergence of the model's outputs, where memory allows",
		Needs: pass.Needs{Inputs: 1, Floats: true, Samples: 128, // 32 are learnt by heart
			Whole: &pass.Whole{Bytes: wholeBytes, Seconds: wholeSeconds, Peak: wholePeak, Disk: wholeDisk,
				TooLarge: AutoRoundBest + ": the model is too large to be trained as a whole in 3 GiB; its layers are trained one by one, as by " + AutoRound}},
		Fits: func(m model.Module, whole bool) (instead, why string) {
			if whole {
				return fitsInputs(m, whole)
			}
			return fitsLayers(m, whole)
		},
		Cost: pass.Cost{Seconds: gptqSeconds, Held: trainingBytes,
			Layer: func(r *cost.Shape, layer int) float64 { return trainingSeconds(r, layer, AutoRoundTraining) }},
		Layer: trainModel,
	})
}

// trainModel trains each layer alone, as trainLayer does, and then all
// layers and the output head together, for the least KL divergence of the model's
// outputs from the float model's. The first stage does so for all; the others take
// what is theirs.
func trainModel(ctx context.Context, p *pass.Pass, s pass.Stage, ms []pass.PlannedModule, step func(rows int)) ([]pass.Quantized, error) {
	if wholeBytes(p.Checkpoint.Config) > pass.WholeMost {
		return trainLayer(ctx, p, s, ms, AutoRoundTraining, step)
	}
	if p.Whole == nil {
		var err error
		if p.Whole, err = trainWhole(ctx, p); err != nil {
			return nil, err
		}
	}
	var out []pass.Quantized
	for _, m := range ms {
		out = append(out, p.Whole[m.Module.Name])
		step(m.Module.Rows)
	}
	return out, nil
}

// wholeBytes is about what training a whole model takes: by weight, its float,
// offset, value, gradient and code, and twice what is being computed with.
func wholeBytes(c model.Config) int64 {
	layer, rest := int64(0), int64(0)
	for _, m := range c.Modules() {
		n := int64(m.Rows) * int64(m.Cols)
		if m.Layer < 0 {
			rest += n
		} else {
			layer += n
		}
	}
	return 18*layer + 22*rest + 16*layer/int64(c.Layers())
}

// wholeSeconds is how long training a whole model takes, once its layers are.
func wholeSeconds(r *cost.Shape) float64 {
	_, head := cost.WeightsOf(r.Config)
	sum := 2 * r.Forward(r.Tokens(), r.Rates.Float)
	for layer := range r.Config.Layers() {
		sum += trainingSeconds(r, layer, AutoRoundBestTraining)
	}
	// Logits of both models and, of an iteration, the gradients; their softmax.
	tokens := float64(AutoRoundBestTraining.Iterations*min(AutoRoundBestTraining.Batch, r.Samples)*r.Length) + 5*r.Tokens()
	return sum + tokens*(8*head/r.Rates.Float+4*float64(r.Config.Vocab)/r.Rates.Values)
}

// wholePeak is what training all layers together holds.
func wholePeak(r *cost.Shape, ms []pass.PlannedModule) int64 {
	layer, head := cost.WeightsOf(r.Config)
	codes, rest, trained := int64(0), int64(0), int64(0)
	for _, m := range ms {
		codes += m.Bytes
		if n := int64(m.Module.Rows) * int64(m.Module.Cols); m.Module.Layer < 0 {
			rest += n
			if m.Spec.Method == AutoRoundBest { // offset, value and gradient; transposes on the way
				trained += 12*n + 4*train.HeadRows*int64(r.Config.Vocab)
			}
		}
	}
	tokens, layers := int64(max(train.PassTokens, r.Length)), int64(r.Config.Layers())
	return 16*int64(layer)*layers + trained + 3*codes + 4*rest + 8*int64(head) + 4*int64(layer) +
		4*r.States() + 4*tokens*(layers*r.Computed()+2*r.ComputedBackward()+4*int64(r.Config.Hidden)) + 8*train.HeadRows*int64(r.Config.Vocab)
}

// wholeDisk is about what is kept of the training of a whole model while it
// lasts: each layer when it is finished, and the state, the one before it until it
// is replaced. By weight, an offset, and by group, the scale and zero point, of which
// gob writes each in 6 bytes.
func wholeDisk(modules []pass.PlannedModule) int64 {
	sum := int64(0)
	for _, m := range modules {
		sum += m.Bytes // of its layer
		if m.Spec.Method == AutoRoundBest {
			rows, cols := m.Module.Rows, m.Module.Cols
			groups := rows * ((cols-1)/m.Spec.Scheme().GroupWidth(cols) + 1)
			sum += 2 * (6*int64(rows*cols+2*groups) + m.Bytes)
		}
	}
	return sum
}

// trainWhole quantizes all of the model and trains the roundings of the matrices
// whose method is AutoRoundBest.
func trainWhole(ctx context.Context, p *pass.Pass) (map[string]pass.Quantized, error) {
	first := newWholeSink(p.Sink, p.Checkpoint.Config.Layers())
	var planned []pass.PlannedModule
	for _, m := range p.Planned {
		if m.Spec.Method == AutoRoundBest {
			if m.Spec.Method = AutoRound; m.Module.Layer < 0 {
				m.Spec.Method = GPTQ
			}
			m.Method = Named(m.Spec.Method)
			first.trained = append(first.trained, m)
		}
		planned = append(planned, m)
	}
	begin, err := pass.New(p.Checkpoint, planned, p.Base, p.Calibration, p.Engine, first, func(e pass.Event) {
		if t, ok := e.(train.Trained); ok {
			p.Listener.Send(t)
		}
	})
	if err != nil {
		return nil, err
	}
	if _, err := begin.Run(ctx); err != nil {
		return nil, err
	}
	t, rs, err := newWholeTrainee(ctx, p, first)
	if err != nil {
		return nil, err
	}
	start, how := time.Now(), AutoRoundBestTraining
	err = train.Train(ctx, p.Engine, t, rs, how, p.Calibration.Seed, train.Saver{To: p.Sink, Name: "whole"}, func(i int, before, loss float64) {
		seconds := time.Since(start).Seconds()
		p.Listener.Send(train.Trained{Layer: -1, Iteration: i, Iterations: how.Iterations, Before: before, Loss: loss, Seconds: seconds, Estimate: seconds * float64(how.Iterations-i) / float64(i)})
	})
	if err != nil {
		return nil, err
	}
	if _, err := t.Loss(ctx, train.FirstSamples(t.Head.Want, p.Checkpoint.Config.Hidden), false); err != nil { // for what enters each matrix now
		return nil, err
	}
	out := map[string]pass.Quantized{}
	for i, r := range rs {
		m := first.trained[i].Module
		in := t.Head.Normed
		if m.Layer >= 0 {
			in = t.Tape.Input(m.Name)
		}
		stats, err := grid.MeasureOutputs(ctx, p.Engine, r.Weights, r.Codes, in)
		if err != nil {
			return nil, err
		}
		line, _ := first.Line(m)
		out[m.Name] = pass.Quantized{Q: r.Codes, Stats: stats, Silent: line.Silent}
	}
	return out, nil
}

// newWholeTrainee prepares the training of a model that is quantized already.
func newWholeTrainee(ctx context.Context, p *pass.Pass, from *wholeSink) (*train.Model, []*train.Rounding, error) {
	c := p.Checkpoint.Config
	weights, rs, err := wholeWeights(p, from)
	if err != nil {
		return nil, nil, err
	}
	g, err := graph.Compile(p.Engine, c.Model, wholeParts(p, from, weights))
	if err != nil {
		return nil, nil, err
	}
	t := &train.Model{Tape: g.NewTape(train.Longest(p.Calibration.Tokens)), Layers: c.Layers(), Tokens: p.Calibration.Tokens}
	t.Head, err = train.NewHead(ctx, p.Base, p.Calibration.Tokens, g)
	return t, rs, err
}

// wholeParts are those of the model, quantized, with weights of their own.
func wholeParts(p *pass.Pass, from *wholeSink, weights map[string]graph.Weight) graph.Parts {
	base := p.Base
	or := func(name string, v []float32) []float32 { // as a transformation replaced it
		if to, err := from.Floats(name); err == nil {
			return to
		}
		return v
	}
	parts := base.Parts()
	parts.Weight = func(l *arch.Linear) (graph.Weight, error) {
		if w, ok := weights[l.Path]; ok {
			return w, nil
		}
		return graph.Weight{Value: train.Floats(base.Linear(l.Path))}, nil
	}
	parts.Bias = func(path string) []float32 { return or(path+".bias", base.Bias(path)) }
	parts.Vector = func(tensor string) []float32 { return or(tensor, base.Vector(tensor)) }
	return parts
}

// wholeWeights returns the matrices that can be quantized, by path, and the roundings
// of those that are trained.
func wholeWeights(p *pass.Pass, from *wholeSink) (map[string]graph.Weight, []*train.Rounding, error) {
	weights := map[string]graph.Weight{}
	var rs []*train.Rounding
	for _, m := range p.Checkpoint.Config.Modules() {
		t, err := p.Checkpoint.Tensor(m.Name + ".weight")
		if err != nil {
			return nil, nil, err
		}
		q, _ := from.Q(m) // nil if it is kept
		w := graph.Weight{Value: kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols}}
		if w.Value.Data, err = from.Floats(m.Name + ".weight"); err != nil {
			w.Value.Data = t.Floats()
		}
		i := slices.IndexFunc(from.trained, func(pm pass.PlannedModule) bool { return pm.Module.Name == m.Name })
		switch {
		case i >= 0:
			r := train.NewRounding(p.Engine, w.Value, q)
			if m.Layer < 0 {
				r.Rows = occurring(p.Calibration.Tokens, m.Rows)
			}
			rs = append(rs, r)
			w = graph.Weight{Value: r.Value, Gradient: r.Grad}
		case q != nil:
			w.Value = kernels.NewMatrix(m.Rows, m.Cols)
			for r := range m.Rows {
				q.DequantRow(w.Value.Row(r), r)
			}
		}
		weights[m.Name] = w
	}
	return weights, rs, nil
}

// occurring tells which tokens of a vocabulary occur in texts. The rows of others
// are not trained: what the head gives for them is next to nothing everywhere, and
// what it would be elsewhere, or as an embedding, the texts do not tell.
func occurring(texts [][]int32, vocabulary int) []bool {
	out := make([]bool, vocabulary)
	for token, n := range calib.TokenCounts(texts, vocabulary) {
		out[token] = n > 0
	}
	return out
}
