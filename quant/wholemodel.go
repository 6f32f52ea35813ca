package quant

import (
	"context"
	"fmt"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
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
	layers []block.Layer
	grads  []block.Gradients
	runs   []*block.Run
	tokens [][]int32   // by sample
	x      [][]float32 // what enters the first layer, by sample
	norm   []float32
	eps    float32
	head   kernels.Matrix // vocabulary x hidden
	turned kernels.Matrix // its transpose
	dhead  kernels.Matrix // where the gradient of a head that is trained goes
	tied   bool           // the head is the embedding as well

	wantHead kernels.Matrix
	want     [][]float32 // what enters the head in the float model, by sample

	normed, dnormed, dx, wanted         kernels.Matrix
	logits, target                      kernels.Matrix
	normedTransposed, dlogitsTransposed kernels.Matrix
}

// trainsHead reports whether the head is among what is trained.
func (t *wholeTrainee) trainsHead() bool { return t.dhead.Data != nil }

func (t *wholeTrainee) samples() int { return len(t.x) }

func (t *wholeTrainee) loss(ctx context.Context, samples []int, gradient bool) (float64, error) {
	total, tokens := 0.0, 0
	if t.trainsHead() {
		t.eng.Transpose(t.turned, t.head)
		if t.tied {
			t.embed(samples)
		}
	}
	err := together(t.x, len(t.norm), samples, func(part texts) error {
		x := part.x
		var err error
		for i := range t.layers {
			if x, err = t.runs[i].Forward(ctx, &t.layers[i], x, part.lengths); err != nil {
				return err
			}
		}
		sum, dx, err := t.divergence(ctx, x, part, gradient)
		if err != nil {
			return err
		}
		total, tokens = total+sum, tokens+x.Rows
		for i := len(t.layers) - 1; i >= 0 && gradient; i-- {
			if dx, err = t.runs[i].Backward(ctx, dx, &t.grads[i]); err != nil {
				return err
			}
		}
		if gradient && t.trainsHead() && t.tied {
			t.addLookups(dx, part.samples)
		}
		return nil
	})
	return total / float64(tokens), err
}

// embed looks up what enters the first layer in a tied head as it is now.
func (t *wholeTrainee) embed(samples []int) {
	h := t.head.Cols
	t.eng.For(len(samples), func(_, lo, hi int) {
		for _, s := range samples[lo:hi] {
			for i, token := range t.tokens[s] {
				copy(t.x[s][i*h:(i+1)*h], t.head.Row(int(token)))
			}
		}
	})
}

// addLookups adds to a tied head's gradient that of what was looked up in it.
func (t *wholeTrainee) addLookups(dx kernels.Matrix, samples []int) {
	at := 0
	for _, s := range samples {
		for _, token := range t.tokens[s] {
			t.eng.Add(t.dhead.Row(int(token)), dx.Row(at))
			at++
		}
	}
}

// headRows is how many positions have logits at a time.
const headRows = 128

// divergence sums up the KL divergence of texts' outputs, and its gradient with
// respect to what leaves the last layer.
func (t *wholeTrainee) divergence(ctx context.Context, x kernels.Matrix, part texts, gradient bool) (float64, kernels.Matrix, error) {
	n, h, v := x.Rows, x.Cols, t.head.Rows
	if t.normed.Rows != n {
		t.normed, t.dnormed, t.dx, t.wanted = kernels.NewMatrix(n, h), kernels.NewMatrix(n, h), kernels.NewMatrix(n, h), kernels.NewMatrix(n, h)
	}
	t.eng.For(n, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			t.eng.RMSNorm(t.normed.Row(i), x.Row(i), t.norm, t.eps)
		}
	})
	at := 0
	for _, s := range part.samples {
		at += copy(t.wanted.Data[at:], t.want[s])
	}
	if t.logits.Data == nil {
		t.logits, t.target = kernels.NewMatrix(headRows, v), kernels.NewMatrix(headRows, v)
	}
	total := 0.0
	sums := make([]float64, headRows)
	for r0 := 0; r0 < n; r0 += headRows {
		r1 := min(r0+headRows, n)
		logits, target := t.logits.Sub(0, r1-r0, 0, v), t.target.Sub(0, r1-r0, 0, v)
		if err := t.eng.MulTransposed(ctx, logits, t.normed.Sub(r0, r1, 0, h), t.head); err != nil {
			return 0, x, err
		}
		if err := t.eng.MulTransposed(ctx, target, t.wanted.Sub(r0, r1, 0, h), t.wantHead); err != nil {
			return 0, x, err
		}
		t.eng.For(r1-r0, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				sums[i] = divergenceRow(t.eng, logits.Row(i), target.Row(i))
			}
		})
		for _, s := range sums[:r1-r0] {
			total += s
		}
		if gradient {
			if err := t.eng.MulTransposed(ctx, t.dnormed.Sub(r0, r1, 0, h), logits, t.turned); err != nil {
				return 0, x, err
			}
			if t.trainsHead() {
				if err := t.addHead(ctx, logits, t.normed.Sub(r0, r1, 0, h)); err != nil {
					return 0, x, err
				}
			}
		}
	}
	if gradient {
		block.NormBackward(t.eng, t.dx, t.dnormed, x, t.norm, t.eps)
	}
	return total, t.dx, nil
}

// addHead adds to the head's gradient, for some positions, the products of the
// gradients of their logits and of what entered the head.
func (t *wholeTrainee) addHead(ctx context.Context, dlogits, normed kernels.Matrix) error {
	if t.dlogitsTransposed.Data == nil {
		t.dlogitsTransposed, t.normedTransposed = kernels.NewMatrix(t.head.Rows, headRows), kernels.NewMatrix(t.head.Cols, headRows)
	}
	a, b := t.dlogitsTransposed.Sub(0, t.head.Rows, 0, dlogits.Rows), t.normedTransposed.Sub(0, t.head.Cols, 0, normed.Rows)
	t.eng.Transpose(a, dlogits)
	t.eng.Transpose(b, normed)
	return t.eng.AddMulTransposed(ctx, t.dhead, a, b)
}

// divergenceRow returns the KL divergence of the distribution of logits from that
// of target, and replaces logits by its gradient and target by its distribution.
func divergenceRow(eng *kernels.Engine, logits, target []float32) float64 {
	la, lb := eng.LogSumExp(target), eng.LogSumExp(logits)
	shift := float32(lb - la) // log p - log q = (target - la) - (logits - lb)
	sum := 0.0
	const part = 256
	for at := 0; at < len(logits); at += part {
		q, p := logits[at:min(at+part, len(logits))], target[at:min(at+part, len(logits))]
		var diff [part]float32
		for i := range q {
			diff[i] = p[i] - q[i] + shift
		}
		eng.Exp(p, p, float32(la))
		eng.Exp(q, q, float32(lb))
		sum += float64(kernels.Dot(p, diff[:len(p)]))
		for i := range q {
			q[i] -= p[i]
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
	if _, err := t.loss(ctx, firstSamples(t.x, len(t.norm)), false); err != nil { // for what enters each matrix now
		return nil, err
	}
	out := map[string]Quantized{}
	for i, r := range rs {
		m := first.trained[i].Module
		in := t.normed
		if m.Layer >= 0 {
			in = t.runs[m.Layer].Input(slices.Index(block.Kinds[:], m.Kind))
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
	c := p.ck.Config
	floatOf := func(m model.Module) (kernels.Matrix, error) {
		t, err := p.ck.Tensor(m.Name + ".weight")
		if err != nil {
			return kernels.Matrix{}, err
		}
		return kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: t.Floats()}, nil
	}
	vector := func(name string) []float32 {
		if v, err := from.floats(name); err == nil {
			return v
		}
		return p.base.Vector(name)
	}
	t := &wholeTrainee{eng: p.eng, layers: make([]block.Layer, c.Layers()), grads: make([]block.Gradients, c.Layers()),
		runs: block.NewRuns(p.eng, c.Layers()), norm: vector(c.Norm.Weight.Tensor), eps: c.Norm.Eps}
	for i := range t.layers {
		shape, err := block.ShapeOf(c.Model, i)
		if err != nil {
			return nil, nil, err
		}
		cos, sin := p.base.Rotations(shape.Rope, longest(p.cal.Tokens))
		t.layers[i] = block.Of(shape, cos, sin)
		t.layers[i].AttnNorm, t.layers[i].MLPNorm = vector(shape.AttnNorm), vector(shape.MLPNorm)
	}
	var rs []*rounding
	embed := map[string]*kernels.Linear{}
	for _, m := range c.Modules() {
		w, err := floatOf(m)
		if err != nil {
			return nil, nil, err
		}
		q, _ := from.q(m) // nil if it is kept
		value := w
		if v, err := from.floats(m.Name + ".weight"); err == nil {
			value = kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: v}
		}
		var grad kernels.Matrix
		var trained *rounding
		for _, pm := range from.trained {
			if pm.Module.Name == m.Name {
				trained = newRounding(p.eng, value, q, pm.Spec)
				if m.Layer < 0 {
					trained.rows = occurring(p.cal.Tokens, m.Rows)
				}
				rs = append(rs, trained)
			}
		}
		switch {
		case trained != nil:
			value, grad = trained.value, trained.grad
		case q != nil:
			value = kernels.NewMatrix(m.Rows, m.Cols)
			for r := range m.Rows {
				q.DequantRow(value.Row(r), r)
			}
		}
		if m.Layer >= 0 {
			for k, kind := range block.Kinds {
				if kind == m.Kind {
					t.layers[m.Layer].W[k], t.grads[m.Layer][k] = value, grad
					t.layers[m.Layer].Bias[k] = p.base.Bias(m.Name)
				}
			}
			continue
		}
		if m.Kind == "embed" {
			if embed[m.Name], err = kernels.NewMatrixLinear(value); err != nil {
				return nil, nil, err
			}
		}
		if m.Kind == "head" || c.Tied {
			t.head, t.wantHead, t.dhead, t.tied = value, w, grad, c.Tied
		}
	}
	t.turned = kernels.NewMatrix(t.head.Cols, t.head.Rows)
	p.eng.Transpose(t.turned, t.head)
	begin, err := p.base.With(embed).NewStack(p.cal.Tokens)
	if err != nil {
		return nil, nil, err
	}
	t.x, t.tokens = begin.States(), p.cal.Tokens
	end, err := p.base.NewStack(p.cal.Tokens)
	if err != nil {
		return nil, nil, err
	}
	for range c.Layers() {
		if err := end.Advance(ctx, p.base); err != nil {
			return nil, nil, err
		}
	}
	err = end.Input(ctx, p.base, "head", func(x []float32, rows, cols int) error {
		t.want = append(t.want, append([]float32{}, x...))
		return nil
	})
	return t, rs, err
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
