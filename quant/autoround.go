package quant

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/quant/block"
)

// training is how long and how fast roundings are trained.
type training struct {
	iterations int
	batch      int     // samples of an iteration
	rate       float64 // of offsets, at first; it falls in a line to 0
	share      float64 // the rate of scales, in their size, over that of offsets
}

// look reports whether all samples are judged after n iterations: now and then,
// and more often the nearer the end, where little moves.
func (t training) look(n int) bool {
	left := t.iterations - n
	return left == 0 || left == t.iterations/16 || left == t.iterations/6 || left == t.iterations/2
}

// trainings are the defaults, by method; wholeModel is of all layers together.
var trainings = map[string]training{
	AutoRoundLight: {50, 2, 1. / 50, 0.1},
	AutoRound:      {200, 2, 1. / 200, 0.1},
	wholeModel:     {600, 4, 1.2 / 600, 0.1},
}

const wholeModel = "whole model"

// Trained reports an iteration of training, and what is lost.
type Trained struct {
	Layer      int     `json:"layer"` // -1: all layers together
	Iteration  int     `json:"iteration"`
	Iterations int     `json:"iterations"`
	Before     float64 `json:"before"` // the loss of what training began with, on all samples
	Loss       float64 `json:"loss"`   // the least so far
	Seconds    float64 `json:"seconds"`
	Estimate   float64 `json:"eta_seconds"`
}

// EventName implements Event.
func (Trained) EventName() string { return "quantize_trained" }

// trainee is what training needs of the roundings of a layer or a model.
type trainee interface {
	// loss is that of some samples, per token; with gradient, its derivatives are
	// added to the roundings'.
	loss(ctx context.Context, samples []int, gradient bool) (float64, error)
	samples() int
}

// train trains roundings and leaves in each the codes of the least loss on all
// samples. It goes on from what s kept of it.
func train(ctx context.Context, eng *kernels.Engine, t trainee, rs []*rounding, how training, seed uint64, s saver, tell func(i int, before, loss float64)) error {
	all := make([]int, t.samples())
	for i := range all {
		all[i] = i
	}
	var st trainingState
	keep := func() {
		st.Best = st.Best[:0]
		for _, r := range rs {
			st.Best = append(st.Best, cloneQ(r.q))
		}
	}
	if !s.recall(eng, &st, rs) {
		before, err := t.loss(ctx, all, false)
		if err != nil {
			return err
		}
		st.Before, st.Least, st.Random = before, before, *rand.NewPCG(seed, 1)
		keep()
	}
	rng, n := rand.New(&st.Random), min(how.batch, len(all))
	for i := st.Iteration; i < how.iterations; i++ {
		if len(st.Order) < n {
			st.Order = append(st.Order, rng.Perm(len(all))...)
		}
		if _, err := t.loss(ctx, st.Order[:n], true); err != nil {
			return errors.Join(err, s.save(&st, rs))
		}
		st.Order = st.Order[n:]
		for _, r := range rs {
			r.step(eng, decay(how.rate, i, how.iterations), float32(how.share))
			r.round(eng)
		}
		if how.look(i + 1) {
			now, err := t.loss(ctx, all, false)
			if err != nil {
				return err
			}
			if now < st.Least {
				st.Least = now
				keep()
			}
		}
		st.Iteration = i + 1
		tell(i+1, st.Before, st.Least)
		if s.due() || i+1 == how.iterations {
			if err := s.save(&st, rs); err != nil {
				return err
			}
		}
	}
	for i, r := range rs {
		r.settle(eng, st.Best[i])
	}
	return nil
}

// texts is samples that go through a layer together.
type texts struct {
	x       kernels.Matrix // one after the other, tokens x hidden
	lengths []int
	samples []int
}

// passTokens is about how many tokens go through a layer together: enough to
// occupy all threads, few enough for what a large model computes to fit in memory.
const passTokens = 1024

// together cuts samples into parts that go through a layer together, and gives
// each to f; the inputs are valid during the call.
func together(inputs [][]float32, hidden int, samples []int, f func(texts) error) error {
	var part texts
	flush := func() error {
		if len(part.samples) == 0 {
			return nil
		}
		part.x.Rows, part.x.Cols, part.x.Stride = len(part.x.Data)/hidden, hidden, hidden
		err := f(part)
		part.x.Data, part.lengths, part.samples = part.x.Data[:0], part.lengths[:0], part.samples[:0]
		return err
	}
	for _, s := range samples {
		if len(part.samples) > 0 && len(part.x.Data)+len(inputs[s]) > passTokens*hidden {
			if err := flush(); err != nil {
				return err
			}
		}
		part.x.Data = append(part.x.Data, inputs[s]...)
		part.lengths, part.samples = append(part.lengths, len(inputs[s])/hidden), append(part.samples, s)
	}
	return flush()
}

// firstSamples returns those that have the tokens which errors of outputs are
// measured on.
func firstSamples(inputs [][]float32, hidden int) []int {
	var out []int
	for s, tokens := 0, 0; s < len(inputs) && tokens < sampleRows; s++ {
		out = append(out, s)
		tokens += len(inputs[s]) / hidden
	}
	return out
}

// layerTrainee is a layer that is to give the float layer's outputs.
type layerTrainee struct {
	eng   *kernels.Engine
	run   *block.Run
	layer block.Layer
	grads block.Gradients
	x, y  [][]float32 // inputs and outputs by sample
	dy    []float32
}

func (t *layerTrainee) samples() int { return len(t.x) }

func (t *layerTrainee) loss(ctx context.Context, samples []int, gradient bool) (float64, error) {
	h := len(t.layer.AttnNorm)
	total, tokens := 0.0, 0
	err := together(t.x, h, samples, func(part texts) error {
		out, err := t.run.Forward(ctx, &t.layer, part.x, part.lengths)
		if err != nil {
			return err
		}
		if cap(t.dy) < len(out.Data) {
			t.dy = make([]float32, len(out.Data))
		}
		dy := kernels.Matrix{Rows: out.Rows, Cols: h, Stride: h, Data: t.dy[:len(out.Data)]}
		at := 0
		for i, s := range part.samples {
			total += t.distance(dy.Sub(at, at+part.lengths[i], 0, h), out.Sub(at, at+part.lengths[i], 0, h), t.y[s])
			at += part.lengths[i]
		}
		tokens += at
		if gradient {
			_, err = t.run.Backward(ctx, dy, &t.grads)
		}
		return err
	})
	return total / float64(tokens) / float64(h), err
}

// distance returns the squared distance of outputs from those wanted, and stores
// their difference.
func (t *layerTrainee) distance(diff, out kernels.Matrix, want []float32) float64 {
	sums := make([]float64, out.Rows)
	t.eng.For(out.Rows, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			d := diff.Row(r)
			for i, v := range out.Row(r) {
				d[i] = v - want[r*out.Cols+i]
				sums[r] += float64(d[i]) * float64(d[i])
			}
		}
	})
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total
}

// blockOf returns the current layer as it is so far, without the matrices of ms.
func (p *pass) blockOf(ctx context.Context, s stage, ms []PlannedModule) (block.Layer, error) {
	m := p.seq.cur
	shape, err := block.ShapeOf(m.Config.Model, s.layer)
	if err != nil {
		return block.Layer{}, fmt.Errorf("%s: %w", p.ck.Ref, err)
	}
	cos, sin := m.Rotations(shape.Rope, longest(p.seq.stack.Texts()))
	l := block.Of(shape, cos, sin)
	l.AttnNorm, l.MLPNorm = m.Vector(shape.AttnNorm), m.Vector(shape.MLPNorm)
	for _, pm := range s.modules {
		i := slices.Index(block.Kinds[:], pm.Module.Kind)
		l.Bias[i] = m.Bias(pm.Module.Name)
		if slices.ContainsFunc(ms, func(of PlannedModule) bool { return of.Module.Name == pm.Module.Name }) {
			continue
		}
		var err error
		if l.W[i], err = p.settled(ctx, pm.Module); err != nil {
			return l, err
		}
	}
	return l, nil
}

// layerMethod is whose training a method's layers have.
func layerMethod(name string) string {
	if name == AutoRoundBest {
		return AutoRound
	}
	return name
}

func longest(texts [][]int32) int {
	n := 0
	for _, t := range texts {
		n = max(n, len(t))
	}
	return n
}

// autoroundLayer trains the roundings of a layer's matrices together, so that the
// quantized layer gives what the float one does, for the inputs that each gets
// (Cheng et al., "Optimize Weight Rounding via Signed Gradient Descent", 2023).
// It starts from what GPTQ gives, and a layer may end with that. Training wins most
// of what it does by making up for what the layers before lost; the first has
// nothing to make up for, and steps of one size for all weights first spoil what
// GPTQ balanced for inputs as alike as embeddings. On the demo its loss is 1.4 times
// the first after 200 iterations, 0.95 times with a tenth of the rate, with which
// other layers gain less; going back to the start halfway and on with that rate gave 0.99.
func autoroundLayer(ctx context.Context, p *pass, s stage, ms []PlannedModule, step func(rows int)) ([]Quantized, error) {
	rs, out, err := p.startRoundings(ctx, ms)
	if err != nil {
		return nil, err
	}
	t := &layerTrainee{eng: p.eng, run: block.NewRun(p.eng), x: p.seq.states()}
	if t.y, err = p.seq.outputs(ctx); err != nil {
		return nil, err
	}
	if t.layer, err = p.blockOf(ctx, s, ms); err != nil {
		return nil, err
	}
	rows := 0
	for i, m := range ms {
		k := slices.Index(block.Kinds[:], m.Module.Kind)
		t.layer.W[k], t.grads[k] = rs[i].value, rs[i].grad
		rows += m.Module.Rows
	}
	start, told := time.Now(), 0
	how := trainings[layerMethod(ms[0].Spec.Method)]
	err = train(ctx, p.eng, t, rs, how, p.cal.Seed, saver{}, func(i int, before, loss float64) {
		seconds := time.Since(start).Seconds()
		p.l.send(Trained{s.layer, i, how.iterations, before, loss, seconds, seconds * float64(how.iterations-i) / float64(i)})
		now := rows * i / how.iterations
		step(now - told)
		told = now
	})
	if err != nil {
		return nil, err
	}
	if _, err := t.loss(ctx, firstSamples(t.x, len(t.layer.AttnNorm)), false); err != nil { // for what enters each matrix now
		return nil, err
	}
	for i, r := range rs {
		in := t.run.Input(slices.Index(block.Kinds[:], ms[i].Module.Kind))
		if out[i].Stats, err = measureOn(ctx, p.eng, r.w, r.q, r.spec, in); err != nil {
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
		rs, begin = append(rs, newRounding(p.eng, w, q, m.Spec)), append(begin, Quantized{Q: q, Silent: p.seq.moments.silent()})
	}
	return rs, begin, nil
}
