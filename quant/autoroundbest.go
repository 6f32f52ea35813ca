package quant

import (
	"context"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/runtime/graph"
)

// AutoRoundBest is AutoRound, and then training all layers and the output head
// together, for the model's own outputs.
const AutoRoundBest = "autoround-best"

var wholeTraining = training{iterations: 600, batch: 4, rate: 1.2 / 600, share: 0.1}

func init() {
	register(&Method{
		Name: AutoRoundBest, Strength: 80, Recipe: "q4-best", StandIn: GPTQ, Error: 0.35,
		Does: "is " + AutoRound + ", then trains all layers together, for the least KL divergence of the model's outputs, where memory allows",
		Needs: Needs{Inputs: 1, Floats: true, Samples: 128, // 32 are learnt by heart
			Whole: &Whole{Bytes: wholeBytes, Seconds: wholeSeconds, Peak: wholePeak, Disk: wholeDisk,
				TooLarge: AutoRoundBest + ": the model is too large to be trained as a whole in 3 GiB; its layers are trained one by one, as by " + AutoRound}},
		Fits: func(m model.Module, whole bool) (instead, why string) {
			if whole {
				return fitsInputs(m, whole)
			}
			return fitsLayers(m, whole)
		},
		Cost: Cost{Seconds: gptqSeconds, Held: trainingBytes,
			Layer: func(r *Shape, layer int) float64 { return trainingSeconds(r, layer, autoroundTraining) }},
		Layer: trainModel,
	})
}

// trainModel trains each layer alone, as trainLayer does, and then all
// layers and the output head together, for the least KL divergence of the model's
// outputs from the float model's. The first stage does so for all; the others take
// what is theirs.
func trainModel(ctx context.Context, p *pass, s Stage, ms []PlannedModule, step func(rows int)) ([]Quantized, error) {
	if wholeBytes(p.ck.Config) > WholeMost {
		return trainLayer(ctx, p, s, ms, autoroundTraining, step)
	}
	if p.whole == nil {
		var err error
		if p.whole, err = p.trainWhole(ctx); err != nil {
			return nil, err
		}
	}
	var out []Quantized
	for _, m := range ms {
		out = append(out, p.whole[m.Module.Name])
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
func wholeSeconds(r *Shape) float64 {
	_, head := weightsOf(r.Config)
	sum := 2 * r.Forward(r.Tokens(), r.Rates.Float)
	for layer := range r.Config.Layers() {
		sum += trainingSeconds(r, layer, wholeTraining)
	}
	// Logits of both models and, of an iteration, the gradients; their softmax.
	tokens := float64(wholeTraining.iterations*min(wholeTraining.batch, r.Samples)*r.Length) + 5*r.Tokens()
	return sum + tokens*(8*head/r.Rates.Float+4*float64(r.Config.Vocab)/r.Rates.Values)
}

// wholePeak is what training all layers together holds.
func wholePeak(r *Shape, ms []PlannedModule) int64 {
	layer, head := weightsOf(r.Config)
	codes, rest, trained := int64(0), int64(0), int64(0)
	for _, m := range ms {
		codes += m.Bytes
		if n := int64(m.Module.Rows) * int64(m.Module.Cols); m.Module.Layer < 0 {
			rest += n
			if m.Spec.Method == AutoRoundBest { // offset, value and gradient; transposes on the way
				trained += 12*n + 4*headRows*int64(r.Config.Vocab)
			}
		}
	}
	tokens, layers := int64(max(passTokens, r.Length)), int64(r.Config.Layers())
	return 16*int64(layer)*layers + trained + 3*codes + 4*rest + 8*int64(head) + 4*int64(layer) +
		4*r.States() + 4*tokens*(layers*r.Computed()+2*r.ComputedBackward()+4*int64(r.Config.Hidden)) + 8*headRows*int64(r.Config.Vocab)
}

// wholeDisk is about what is kept of the training of a whole model while it
// lasts: each layer when it is finished, and the state, the one before it until it
// is replaced. By weight, an offset, and by group, the scale and zero point, of which
// gob writes each in 6 bytes.
func wholeDisk(modules []PlannedModule) int64 {
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
func (p *pass) trainWhole(ctx context.Context) (map[string]Quantized, error) {
	first := newWholeSink(p.out, p.ck.Config.Layers())
	plan := p.plan
	plan.Modules = nil
	for _, m := range p.plan.Modules {
		if m.Spec.Method == AutoRoundBest {
			if m.Spec.Method = AutoRound; m.Module.Layer < 0 {
				m.Spec.Method = GPTQ
			}
			m.Method = registered[m.Spec.Method]
			first.trained = append(first.trained, m)
		}
		plan.Modules = append(plan.Modules, m)
	}
	begin, err := newPass(p.ck, plan, p.base, p.cal, p.eng, first, func(e Event) {
		if t, ok := e.(Trained); ok {
			p.l.send(t)
		}
	})
	if err != nil {
		return nil, err
	}
	if _, err := begin.run(ctx); err != nil {
		return nil, err
	}
	t, rs, err := p.wholeTrainee(ctx, first)
	if err != nil {
		return nil, err
	}
	start, how := time.Now(), wholeTraining
	err = train(ctx, p.eng, t, rs, how, p.cal.Seed, saver{to: p.out, name: "whole"}, func(i int, before, loss float64) {
		seconds := time.Since(start).Seconds()
		p.l.send(Trained{-1, i, how.iterations, before, loss, seconds, seconds * float64(how.iterations-i) / float64(i)})
	})
	if err != nil {
		return nil, err
	}
	if _, err := t.loss(ctx, firstSamples(t.head.want, p.ck.Config.Hidden), false); err != nil { // for what enters each matrix now
		return nil, err
	}
	out := map[string]Quantized{}
	for i, r := range rs {
		m := first.trained[i].Module
		in := t.head.normed
		if m.Layer >= 0 {
			in = t.tape.Input(m.Name)
		}
		stats, err := measureOn(ctx, p.eng, r.w, r.q, in)
		if err != nil {
			return nil, err
		}
		line, _ := first.line(m)
		out[m.Name] = Quantized{r.q, stats, line.Silent}
	}
	return out, nil
}

// wholeTrainee prepares the training of a model that is quantized already.
func (p *pass) wholeTrainee(ctx context.Context, from *wholeSink) (*wholeTrainee, []*rounding, error) {
	c := p.ck.Config
	weights, rs, err := p.wholeWeights(from)
	if err != nil {
		return nil, nil, err
	}
	g, err := graph.Compile(p.eng, c.Model, p.wholeParts(from, weights))
	if err != nil {
		return nil, nil, err
	}
	t := &wholeTrainee{tape: g.NewTape(longest(p.cal.Tokens)), layers: c.Layers(), tokens: p.cal.Tokens}
	t.head, err = p.newWholeHead(ctx, g)
	return t, rs, err
}

// wholeParts are those of the model, quantized, with weights of their own.
func (p *pass) wholeParts(from *wholeSink, weights map[string]graph.Weight) graph.Parts {
	base := p.base
	or := func(name string, v []float32) []float32 { // as a transformation replaced it
		if to, err := from.floats(name); err == nil {
			return to
		}
		return v
	}
	parts := base.Parts()
	parts.Weight = func(l *arch.Linear) (graph.Weight, error) {
		if w, ok := weights[l.Path]; ok {
			return w, nil
		}
		return graph.Weight{Value: floats(base.Linear(l.Path))}, nil
	}
	parts.Bias = func(path string) []float32 { return or(path+".bias", base.Bias(path)) }
	parts.Vector = func(tensor string) []float32 { return or(tensor, base.Vector(tensor)) }
	return parts
}

// wholeWeights returns the matrices that can be quantized, by path, and the roundings
// of those that are trained.
func (p *pass) wholeWeights(from *wholeSink) (map[string]graph.Weight, []*rounding, error) {
	weights := map[string]graph.Weight{}
	var rs []*rounding
	for _, m := range p.ck.Config.Modules() {
		t, err := p.ck.Tensor(m.Name + ".weight")
		if err != nil {
			return nil, nil, err
		}
		q, _ := from.q(m) // nil if it is kept
		w := graph.Weight{Value: kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols}}
		if w.Value.Data, err = from.floats(m.Name + ".weight"); err != nil {
			w.Value.Data = t.Floats()
		}
		i := slices.IndexFunc(from.trained, func(pm PlannedModule) bool { return pm.Module.Name == m.Name })
		switch {
		case i >= 0:
			r := newRounding(p.eng, w.Value, q)
			if m.Layer < 0 {
				r.rows = occurring(p.cal.Tokens, m.Rows)
			}
			rs = append(rs, r)
			w = graph.Weight{Value: r.value, Gradient: r.grad}
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
	for token, n := range tokenCounts(texts, vocabulary) {
		out[token] = n > 0
	}
	return out
}
