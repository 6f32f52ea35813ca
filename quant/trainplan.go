package quant

import (
	"slices"

	"nibble/model"
)

// trainShare is how much of the rate of products training reaches, with all in
// it that is no product.
const trainShare = 0.6

// train estimates what training roundings costs.
func (r Recipe) train(c model.Config, samples, length int, rates Rates) (seconds, bytes float64) {
	tokens := float64(samples * length)
	layer, rest := 0.0, 0.0 // weights
	for _, m := range c.Modules() {
		if n := float64(m.Rows) * float64(m.Cols); m.Layer == 0 {
			layer += n
		} else if m.Layer < 0 {
			rest += n
		}
	}
	attention := 4 * float64(length) * float64(c.Heads*c.HeadDim) // as products that each token meets, like weights
	// iterations are passes forward, 2 operations a weight, and backward, twice as
	// many; judging all samples is four passes forward.
	work := func(t training, weights float64) float64 {
		return weights * (6*float64(t.iterations*min(t.batch, samples)*length) + 5*2*tokens) / (trainShare * rates.Float)
	}
	for l := range c.Layers {
		for _, name := range Methods() {
			if methodOf(name).layer == nil || !slices.ContainsFunc(c.Modules(), func(m model.Module) bool { return m.Layer == l && r.For(m).Method == name }) {
				continue
			}
			seconds += work(trainings[layerMethod(name)], layer+attention)
			// By weight: float, offset, value, gradient, transpose, a product and codes. By
			// token: what a layer computes, and its gradient.
			wide := float64(8*c.Hidden + 6*c.Heads*c.HeadDim + 6*c.Intermediate)
			bytes = max(bytes, 26*layer+4*float64(length)*(2*wide+4*float64(length))+4*tokens*float64(c.Hidden))
		}
	}
	if r.trainsWhole(c) {
		seconds += work(trainings[wholeModel], float64(c.Layers)*(layer+attention)+2*rest)
		bytes = max(bytes, float64(wholeBytes(c)))
	}
	return seconds, bytes
}
