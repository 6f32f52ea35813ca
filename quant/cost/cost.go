package cost

import (
	"nibble/model"
	"nibble/model/arch"
)

// Shape is what the cost of a calibrated run follows from.
type Shape struct {
	Config          model.Config
	Rates           Rates
	Samples, Length int // of the calibration; no samples without one
}

// Matrix is a matrix whose cost a method tells.
type Matrix struct {
	*Shape
	Rows, Cols int
	Rate       float64 // weights rounded a second
	First      bool    // no matrix before it has the same inputs

	Layer  int64 // weights of all matrices of its layer
	Floats int64 // bytes of a weight as float32 in memory; 0 if it is mapped as such
}

// Layer is the matrices of a layer, whose cost as a whole a method tells.
type Layer struct {
	Weights, Codes, Largest int64 // weights; bytes as they are stored; weights of the largest matrix
	Floats                  int64 // bytes of a weight as float32 in memory; 0 if it is mapped as such
}

// Garbage is how much of what is not needed any more a run lets pile up, in per
// cent of what is. It all is large arrays, which cost a collector nothing to look
// at, and as many again would double the memory.
const Garbage = 25

// Tokens is how many tokens calibrate.
func (r *Shape) Tokens() float64 { return float64(r.Samples * r.Length) }

// Between estimates what lies between a layer's products, in seconds for some tokens.
func (r *Shape) Between(tokens float64) float64 {
	w := r.Config.Widths()
	return r.Rates.Attending(tokens, float64(r.Length), w.Heads, w.HeadDim) + tokens*(LayerValues(r.Config.Hidden, w)/r.Rates.Values+1/r.Rates.Tokens)
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
	return 4 * int64(r.Length) * int64(2*r.Config.Hidden+mixed(w, 2, 4, 2)+2*w.Inner+max(r.Config.Hidden, w.Inner)/3)
}

// Computed is the values by token that a trained layer keeps, and
// ComputedBackward those of its gradient.
func (r *Shape) Computed() int64 {
	w := r.Config.Widths()
	return int64(6*r.Config.Hidden + mixed(w, 2, 4, 3) + 3*w.Inner)
}

// ComputedBackward is described at Computed.
func (r *Shape) ComputedBackward() int64 {
	w := r.Config.Widths()
	return int64(6*r.Config.Hidden + mixed(w, 2, 2, 3) + 7*w.Inner) // with what kernels rearrange
}

// LayerValues is what normalizations, rotations, sums and the activation function
// of a layer compute for a token.
func LayerValues(hidden int, w arch.Widths) float64 {
	return float64(4*hidden + mixed(w, 2, 4, 2) + 2*w.Inner)
}

// mixed is the values of a token between the matrices of the step that mixes tokens:
// so many times those of the heads and of the keys of attention, or of a recurrent
// step. A layer has one or the other.
func mixed(w arch.Widths, heads, keys, recurrent int) int {
	return max(heads*w.Heads*w.HeadDim+keys*w.KVHeads*w.HeadDim, recurrent*w.Recurrent)
}

// WeightsOf is how many weights a layer has, and the output head.
func WeightsOf(c model.Config) (layer, head float64) {
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
