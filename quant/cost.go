package quant

import (
	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
)

// Shape is what the cost of a calibrated run follows from.
type Shape struct {
	Config          model.Config
	Rates           Rates
	Samples, Length int // of the calibration; no samples without one
}

// MatrixCost is a matrix whose cost a method tells.
type MatrixCost struct {
	*Shape
	Rows, Cols int
	Rate       float64 // weights rounded a second
	First      bool    // no matrix before it has the same inputs

	Layer  int64 // weights of all matrices of its layer
	Floats int64 // bytes of a weight as float32 in memory; 0 if it is mapped as such
}

// LayerCost is the matrices of a layer, whose cost as a whole a method tells.
type LayerCost struct {
	Weights, Codes, Largest int64 // weights; bytes as they are stored; weights of the largest matrix
	Floats                  int64 // bytes of a weight as float32 in memory; 0 if it is mapped as such
}

// garbage is how much of what is not needed any more a run lets pile up, in per
// cent of what is. It all is large arrays, which cost a collector nothing to look
// at, and as many again would double the memory.
const garbage = 25

// Tokens is how many tokens calibrate.
func (r *Shape) Tokens() float64 { return float64(r.Samples * r.Length) }

// Between estimates what lies between a layer's products, in seconds for some tokens.
func (r *Shape) Between(tokens float64) float64 {
	w := r.Config.Widths()
	return r.Rates.attending(tokens, float64(r.Length), w.Heads, w.HeadDim) + tokens*(layerValues(r.Config.Hidden, w)/r.Rates.Values+1/r.Rates.Tokens)
}

// Forward estimates a pass of some tokens through all layers, in seconds, with
// products at a rate.
func (r *Shape) Forward(tokens, rate float64) float64 {
	met := 0.0
	for _, n := range metWeights(r.Config) {
		met += n
	}
	return 2*met*tokens/rate + float64(r.Config.Layers())*r.Between(tokens)
}

// Train estimates training a layer with some tokens, in seconds.
func (r *Shape) Train(layer int, tokens float64) float64 {
	return r.Rates.training(r.Config.Hidden, r.Config.Widths(), metWeights(r.Config)[layer], tokens, float64(r.Length))
}

// States is the bytes of the hidden states of all samples.
func (r *Shape) States() int64 { return 4 * int64(r.Samples*r.Length) * int64(r.Config.Hidden) }

// Session is the bytes that a sample's pass through a layer takes.
func (r *Shape) Session() int64 {
	w := r.Config.Widths()
	wide, keys := w.Heads*w.HeadDim, w.KVHeads*w.HeadDim
	return 4 * int64(r.Length) * int64(2*r.Config.Hidden+2*wide+4*keys+2*w.Inner+max(r.Config.Hidden, w.Inner)/3)
}

// Computed is the values by token that a trained layer keeps, and
// ComputedBackward those of its gradient.
func (r *Shape) Computed() int64 {
	w := r.Config.Widths()
	return int64(6*r.Config.Hidden + 2*w.Heads*w.HeadDim + 4*w.KVHeads*w.HeadDim + 3*w.Inner)
}

// ComputedBackward is described at Computed.
func (r *Shape) ComputedBackward() int64 {
	w := r.Config.Widths()
	return int64(6*r.Config.Hidden + 2*w.Heads*w.HeadDim + 2*w.KVHeads*w.HeadDim + 7*w.Inner) // with what kernels rearrange
}

// layerValues is what normalizations, rotations, sums and the activation function
// of a layer compute for a token.
func layerValues(hidden int, w arch.Widths) float64 {
	return float64(4*hidden + 2*w.Heads*w.HeadDim + 4*w.KVHeads*w.HeadDim + 2*w.Inner)
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

// Rates says how fast a machine does each kind of work that quantizing is made
// of, on all threads of an engine.
type Rates struct {
	CPU     string      `json:"cpu"`
	Program string      `json:"program"` // whose code was measured
	ISA     kernels.ISA `json:"isa"`
	Threads int         `json:"threads"`

	Hash    float64 `json:"hash"`    // bytes of the source a second
	Write   float64 `json:"write"`   // bytes a second that are durable
	RTN     float64 `json:"rtn"`     // weights a second, as of the next two
	Sym     float64 `json:"sym"`     // with a search for the scale
	Asym    float64 `json:"asym"`    // and for the zero point
	Float   float64 `json:"float"`   // operations a second of products of floats
	Int     float64 `json:"int"`     // of INT4 weights
	Attend  float64 `json:"attend"`  // and of attention's products
	Scores  float64 `json:"scores"`  // scores a second of which attention takes the softmax
	Values  float64 `json:"values"`  // values a second that lie between products
	Tokens  float64 `json:"tokens"`  // tokens a second that a layer takes besides
	Columns float64 `json:"columns"` // weights a second that GPTQ corrects for an error

	Train       float64 `json:"train"`        // operations a second of training's products
	TrainValues float64 `json:"train_values"` // values a second between them
	TrainAttend float64 `json:"train_attend"` // how fast attention is trained, over how fast it is computed thrice
}

// typicalRates stand in where nothing was measured.
func typicalRates(threads int) Rates {
	n := float64(threads)
	return Rates{Threads: threads, Hash: 0.7e9 * n, Write: 0.5e9, RTN: 250e6 * n, Sym: 6e6 * n, Asym: 3e6 * n,
		Float: 90e9 * n, Int: 350e9 * n, Attend: 90e9 * n, Scores: 800e6 * n, Values: 300e6 * n, Tokens: 2e6 * n, Columns: 1e9 * n,
		Train: 60e9 * n, TrainValues: 500e6 * n, TrainAttend: 1}
}

// rounding is the weights a second that are rounded, with their scales.
func (r Rates) rounding(plain bool, s kernels.Scheme) float64 {
	switch {
	case plain:
		return r.RTN
	case s.Sym:
		return r.Sym
	}
	return r.Asym
}

// attending is how long attention takes.
func (r Rates) attending(tokens, length float64, heads, dim int) float64 {
	products, scores := attentionWork(tokens, length, heads, dim)
	return products/r.Attend + scores/r.Scores
}

// attentionWork is the operations of attention's products in texts of a length, and
// its scores.
func attentionWork(tokens, length float64, heads, dim int) (products, scores float64) {
	const lanes = 16 // to which the sums of values are rounded up
	scores = tokens * length / 2 * float64(heads)
	return 2 * scores * float64(dim+(dim+lanes-1)/lanes*lanes), scores
}

// trainingWork is the operations of training a layer of some weights with some
// tokens, forward and twice as many backward, and the values that lie between, which
// are copied besides, and whose gradients take about as long as four more.
func trainingWork(hidden int, w arch.Widths, weights, tokens float64) (products, values float64) {
	return 6 * weights * tokens, 5 * tokens * layerValues(hidden, w)
}

// training is how long training a layer takes with some tokens in texts of a length.
func (r Rates) training(hidden int, w arch.Widths, weights, tokens, length float64) float64 {
	products, values := trainingWork(hidden, w, weights, tokens)
	return products/r.Train + values/r.TrainValues + 3*r.attending(tokens, length, w.Heads, w.HeadDim)/r.TrainAttend
}
