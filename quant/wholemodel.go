package quant

import (
	"context"
	"fmt"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/quant/block"
)

// autoroundModel trains each layer alone, as autoroundLayer does, and then all
// layers and the output head together, for the least KL divergence of the model's
// outputs from the float model's. The first stage does so for all; the others take
// what is theirs.
func autoroundModel(ctx context.Context, p *pass, s stage, ms []PlannedModule, step func(rows int)) ([]Quantized, error) {
	if wholeBytes(p.ck.Config) > wholeMost { // a stage of a layer: see Recipe.planned
		return autoroundLayer(ctx, p, s, ms, step)
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

// wholeMost is the most memory that training a whole model may take. It does not
// depend on the machine, so that results do not.
const wholeMost = 3 << 30

// wholeNote says in a plan that a model is too large.
const wholeNote = AutoRoundBest + ": the model is too large to be trained as a whole in 3 GiB; its layers are trained one by one, as by " + AutoRound

// asksWhole reports whether the recipe asks for training the model as a whole.
func (r Recipe) asksWhole(c model.Config) bool {
	return slices.ContainsFunc(c.Modules(), func(m model.Module) bool {
		s := r.For(m)
		return !s.Kept() && s.Method == AutoRoundBest && inputOf(m) != ""
	})
}

// trainsWhole reports whether that is done.
func (r Recipe) trainsWhole(c model.Config) bool {
	return r.asksWhole(c) && wholeBytes(c) <= wholeMost
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

// wholeTrainee is a model that is to give the float model's outputs.
type wholeTrainee struct {
	eng    *kernels.Engine
	embed  *block.Embedding
	layers []*block.Block
	lender []int     // of each layer, the one whose keys and values it uses; -1 for its own
	tokens [][]int32 // by sample
	head   wholeHead

	dperLayer kernels.Matrix // the gradient of the layers' further inputs, side by side
}

func (t *wholeTrainee) samples() int { return len(t.tokens) }

func (t *wholeTrainee) loss(ctx context.Context, samples []int, gradient bool) (float64, error) {
	total, tokens := 0.0, 0
	t.head.prepare()
	err := together(func(s int) int { return len(t.tokens[s]) }, samples, func(p part) error {
		x, err := t.forward(ctx, p)
		if err != nil {
			return err
		}
		sum, dx, err := t.head.divergence(ctx, x, p, gradient)
		if err != nil {
			return err
		}
		total, tokens = total+sum, tokens+x.Rows
		if gradient {
			err = t.backward(ctx, dx)
		}
		return err
	})
	return total / float64(tokens), err
}

// forward takes a part through all layers.
func (t *wholeTrainee) forward(ctx context.Context, p part) (kernels.Matrix, error) {
	var texts [][]int32
	for _, s := range p.samples {
		texts = append(texts, t.tokens[s])
	}
	x, err := t.embed.Forward(ctx, texts)
	for i := 0; i < len(t.layers) && err == nil; i++ {
		in := block.Texts{X: x, Lengths: p.lengths, PerLayer: t.embed.PerLayer(i)}
		if l := t.lender[i]; l >= 0 {
			in.Borrowed = t.layers[l].Lent()
		}
		x, err = t.layers[i].Forward(ctx, in)
	}
	return x, err
}

// backward takes the gradient of what the last layer gave through all of them.
func (t *wholeTrainee) backward(ctx context.Context, dx kernels.Matrix) (err error) {
	if w := t.embed.PerLayer(0).Cols; w > 0 && t.dperLayer.Rows != dx.Rows {
		t.dperLayer = kernels.NewMatrix(dx.Rows, w*len(t.layers))
	}
	for i := len(t.layers) - 1; i >= 0; i-- {
		if dx, err = t.layers[i].Backward(ctx, dx); err != nil {
			return err
		}
		own := t.layers[i].PerLayerGradient()
		for r := range own.Rows {
			copy(t.dperLayer.Row(r)[i*own.Cols:], own.Row(r))
		}
	}
	return t.embed.Backward(ctx, dx, t.dperLayer)
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
	start, how := time.Now(), trainings[wholeModel]
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
			in = t.layers[m.Layer].Input(m.Name)
		}
		stats, err := measureOn(ctx, p.eng, r.w, r.q, r.spec, in)
		if err != nil {
			return nil, err
		}
		line, _ := first.line(m)
		out[m.Name] = Quantized{r.q, stats, line.Silent}
	}
	return out, nil
}

// wholeSink holds what the first part of training a whole model gives, and keeps
// it layer by layer.
type wholeSink struct {
	sink    // of the run
	trained []PlannedModule
	stages  map[int]*wholeStage
	now     *wholeStage // what is put of the stage in work
}

// wholeStage is a finished stage of that part.
type wholeStage struct {
	Matrices map[string]*kernels.QTensor
	Lines    map[string]ModuleReport
	Floats   map[string][]float32
	Replaced []string
}

func newWholeStage() *wholeStage {
	return &wholeStage{map[string]*kernels.QTensor{}, map[string]ModuleReport{}, map[string][]float32{}, nil}
}

func newWholeSink(to sink, layers int) *wholeSink {
	s := &wholeSink{sink: to, stages: map[int]*wholeStage{}, now: newWholeStage()}
	for layer := -1; layer <= layers; layer++ {
		if st := newWholeStage(); keptState(to, stageName(layer), st) {
			s.stages[layer] = st
		}
	}
	return s
}

func stageName(layer int) string { return fmt.Sprintf("layer-%d", layer) }

func (s *wholeSink) putQ(m model.Module, q *kernels.QTensor, line ModuleReport) error {
	s.now.Matrices[m.Name], s.now.Lines[m.Name] = q, line
	return nil
}

func (s *wholeSink) putFloats(name string, v []float32) error {
	s.now.Floats[name] = v
	return nil
}

func (s *wholeSink) endStage(layer int, replaced []string) error {
	s.now.Replaced = replaced
	s.stages[layer], s.now = s.now, newWholeStage()
	return keepState(s.sink, stageName(layer), s.stages[layer])
}

func (s *wholeSink) line(m model.Module) (ModuleReport, bool) {
	for _, st := range s.stages {
		if line, ok := st.Lines[m.Name]; ok {
			return line, true
		}
	}
	return ModuleReport{}, false
}

func (s *wholeSink) q(m model.Module) (*kernels.QTensor, error) {
	for _, st := range s.stages {
		if q, ok := st.Matrices[m.Name]; ok {
			return q, nil
		}
	}
	return nil, model.ErrNotFound
}

func (s *wholeSink) replaced(layer int) ([]string, bool) {
	st, ok := s.stages[layer]
	if !ok {
		return nil, false
	}
	return st.Replaced, true
}

func (s *wholeSink) floats(name string) ([]float32, error) {
	for _, st := range s.stages {
		if v, ok := st.Floats[name]; ok {
			return v, nil
		}
	}
	return nil, model.ErrNotFound
}

// wholeTrainee prepares the training of a model that is quantized already.
func (p *pass) wholeTrainee(ctx context.Context, from *wholeSink) (*wholeTrainee, []*rounding, error) {
	c, base := p.ck.Config, p.base
	weights, rs, err := p.wholeWeights(from)
	if err != nil {
		return nil, nil, err
	}
	or := func(name string, v []float32) []float32 { // as a transformation replaced it
		if to, err := from.floats(name); err == nil {
			return to
		}
		return v
	}
	positions := longest(p.cal.Tokens)
	parts := block.Parts{
		Weight: func(l *arch.Linear) (block.Weight, error) {
			if w, ok := weights[l.Path]; ok {
				return w, nil
			}
			return block.Weight{Value: floats(base.Linear(l.Path))}, nil
		},
		Bias:      func(path string) []float32 { return or(path+".bias", base.Bias(path)) },
		Vector:    func(tensor string) []float32 { return or(tensor, base.Vector(tensor)) },
		Rotations: func(r *arch.Rope) (cos, sin []float32) { return base.Rotations(r, positions) },
		Row:       func(dst []float32, l *arch.Linear, token int) { copy(dst, weights[l.Path].Value.Row(token)) },
	}
	t := &wholeTrainee{eng: p.eng, tokens: p.cal.Tokens}
	if t.embed, err = block.NewEmbedding(p.eng, &c.Embed, parts, weights[c.Embed.Path].Gradient); err != nil {
		return nil, nil, err
	}
	var rooms block.Rooms
	for i := range c.Blocks {
		b, err := block.New(p.eng, &c.Blocks[i], parts, &rooms)
		if err != nil {
			return nil, nil, err
		}
		t.layers, t.lender = append(t.layers, b), append(t.lender, -1)
		for op := range c.Blocks[i].Ops() {
			if a, ok := op.(*arch.Attention); ok && a.KVFrom >= 0 {
				t.lender[i] = a.KVFrom
				t.layers[a.KVFrom].Lend()
			}
		}
	}
	t.head, err = p.newWholeHead(ctx, parts)
	return t, rs, err
}

// wholeWeights returns the matrices that can be quantized, by path, and the roundings
// of those that are trained.
func (p *pass) wholeWeights(from *wholeSink) (map[string]block.Weight, []*rounding, error) {
	weights := map[string]block.Weight{}
	var rs []*rounding
	for _, m := range p.ck.Config.Modules() {
		t, err := p.ck.Tensor(m.Name + ".weight")
		if err != nil {
			return nil, nil, err
		}
		q, _ := from.q(m) // nil if it is kept
		w := block.Weight{Value: kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols}}
		if w.Value.Data, err = from.floats(m.Name + ".weight"); err != nil {
			w.Value.Data = t.Floats()
		}
		i := slices.IndexFunc(from.trained, func(pm PlannedModule) bool { return pm.Module.Name == m.Name })
		switch {
		case i >= 0:
			r := newRounding(p.eng, w.Value, q, from.trained[i].Spec)
			if m.Layer < 0 {
				r.rows = occurring(p.cal.Tokens, m.Rows)
			}
			rs = append(rs, r)
			w = block.Weight{Value: r.value, Gradient: r.grad}
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
