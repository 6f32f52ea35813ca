package quant

import (
	"slices"

	"nibble/model"
	"nibble/model/arch"
)

// passes is how often a layer's product runs for the inputs of the matrices after
// it, which AWQ wants twice, and once more to pass the layer.
func passes(kind string, awq bool) float64 {
	inputs := map[string]float64{"q": 3, "k": 3, "v": 3, "qkv": 3, "in": 3, "z": 3, "q_a": 3, "kv_a": 3, "q_b": 2, "kv_b": 2, "out": 2,
		"o": 2, "gate": 1, "up": 1, "gate_up": 1, "down": 0}
	n, ok := inputs[kind]
	switch {
	case !ok:
		return 0
	case awq:
		return 2*n + 1
	}
	return n + 1
}

// rate is the weights per second of a spec, without its calibration.
func (s Spec) rate(r Rates) float64 {
	switch {
	case s.Method == RTN:
		return r.RTN
	case s.Sym:
		return r.Sym
	}
	return r.Asym
}

// effort estimates how long what a calibration is for takes.
type effort struct {
	recipe          Recipe
	c               model.Config
	rates           Rates
	samples, length int
	tokens          float64
}

func newEffort(r Recipe, c model.Config, samples, length int, rates Rates) effort {
	return effort{r, c, rates, samples, length, float64(samples * length)}
}

// seconds is the estimate for all of a recipe.
func (e effort) seconds() float64 {
	sum := e.training()
	whole := e.recipe.trainsWhole(e.c)
	seen := map[[2]any]bool{} // inputs that are measured already, by layer
	for _, m := range e.c.Modules() {
		s, _ := e.recipe.planned(m, whole)
		rows, n := float64(m.Rows), float64(m.Cols)
		product := e.rates.Int
		if s.Kept() {
			product = e.rates.Float
		}
		times := passes(m.Kind, s.Method == AWQ)
		sum += times * 2 * rows * n * e.tokens / product
		if m.Kind == "q" {
			sum += times * e.between(e.tokens)
		}
		if s.Kept() || !methodOf(s.Method).inputs {
			continue
		}
		if m.Tied { // a pass of its own to the head
			sum += e.forward(e.tokens, e.rates.Int)
		}
		first := !seen[[2]any{m.Layer, inputOf(m)}]
		seen[[2]any{m.Layer, inputOf(m)}] = true
		switch {
		case s.Method == IMatrix:
			if first {
				sum += n * e.tokens / e.rates.Values
			}
		case s.Method == AWQ:
			tries, part := 1+2*float64(awqSteps), min(awqRows, rows)*n
			sum += tries * (part/s.rate(e.rates) + 2*part*min(e.tokens, awqTokens)/e.rates.Float)
		default: // GPTQ, or what begins with it
			if first {
				sum += (n*n*e.tokens + 1.2*n*n*n) / e.rates.Float
			}
			sum += rows * n * (n + 4*sampleRows) / e.rates.Float
			sum += rows * n * gptqBlock / 2 / e.rates.Columns
		}
	}
	return sum
}

// between estimates what lies between a layer's products, for some tokens.
func (e effort) between(tokens float64) float64 {
	w := e.c.Widths()
	return e.rates.attending(tokens, float64(e.length), w.Heads, w.HeadDim) + tokens*(layerValues(e.c.Hidden, w)/e.rates.Values+1/e.rates.Tokens)
}

// layerValues is what normalizations, rotations, sums and the activation function
// of a layer compute for a token.
func layerValues(hidden int, w arch.Widths) float64 {
	return float64(4*hidden + 2*w.Heads*w.HeadDim + 4*w.KVHeads*w.HeadDim + 2*w.Inner)
}

// forward estimates a pass of some tokens through all layers.
func (e effort) forward(tokens, rate float64) float64 {
	met := 0.0
	for _, n := range metWeights(e.c) {
		met += n
	}
	return 2*met*tokens/rate + float64(e.c.Layers())*e.between(tokens)
}

// training estimates what training roundings takes.
func (e effort) training() float64 {
	_, head := weightsOf(e.c)
	met, widths := metWeights(e.c), e.c.Widths()
	// iterations of training a layer; judging all samples is five passes forward, a
	// third of an iteration.
	work := func(t training, layer int) float64 {
		tokens := float64(t.iterations*min(t.batch, e.samples)*e.length) + 5*e.tokens/3
		return e.rates.training(e.c.Hidden, widths, met[layer], tokens, float64(e.length))
	}
	sum, floats := 0.0, false
	for l := range e.c.Layers() {
		for _, name := range Methods() {
			if methodOf(name).layer != nil && slices.ContainsFunc(e.c.Modules(), func(m model.Module) bool { return m.Layer == l && e.recipe.For(m).Method == name }) {
				sum += work(trainings[layerMethod(name)], l)
				floats = true
			}
		}
	}
	if floats { // the float model's outputs
		sum += e.forward(e.tokens, e.rates.Float)
	}
	if e.recipe.trainsWhole(e.c) {
		how := trainings[wholeModel]
		for l := range met {
			sum += work(how, l)
		}
		sum += 2 * e.forward(e.tokens, e.rates.Float)
		// Logits of both models and, of an iteration, the gradients; their softmax.
		tokens := float64(how.iterations*min(how.batch, e.samples)*e.length) + 5*e.tokens
		sum += tokens * (8*head/e.rates.Float + 4*float64(e.c.Vocab)/e.rates.Values)
	}
	return sum
}

// weightsOf is how many weights a layer has, and the output head.
func weightsOf(c model.Config) (layer, head float64) {
	for _, m := range c.Modules() {
		if n := float64(m.Rows) * float64(m.Cols); m.Layer == 0 {
			layer += n
		} else if m.Layer < 0 {
			head = n
		}
	}
	return layer, head
}

// metWeights is how many weights of each layer a token meets: of experts, those of the
// ones that it chooses.
func metWeights(c model.Config) []float64 {
	met, share := make([]float64, c.Layers()), make([]float64, c.Layers())
	for i := range c.Blocks {
		for op := range c.Blocks[i].Ops() {
			if m, ok := op.(*arch.MoE); ok {
				share[i] = float64(m.TopK) / float64(len(m.Experts))
			}
		}
	}
	for _, m := range c.Modules() {
		if m.Layer < 0 {
			continue
		}
		n := float64(m.Rows) * float64(m.Cols)
		if m.Linear.Expert >= 0 {
			n *= share[m.Layer]
		}
		met[m.Layer] += n
	}
	return met
}
