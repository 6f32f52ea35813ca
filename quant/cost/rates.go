package cost

import (
	"nibble/kernels"
	"nibble/model/arch"
)

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
	Table   float64 `json:"table"`   // of a code table, with a search for the scale
	Nearest float64 `json:"nearest"` // and without
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

// Typical stand in where nothing was measured.
func Typical(threads int) Rates {
	n := float64(threads)
	return Rates{Threads: threads, Hash: 0.7e9 * n, Write: 0.5e9, RTN: 250e6 * n, Sym: 6e6 * n, Asym: 3e6 * n, Table: 6e6 * n, Nearest: 80e6 * n,
		Float: 90e9 * n, Int: 350e9 * n, Attend: 90e9 * n, Scores: 800e6 * n, Values: 300e6 * n, Tokens: 2e6 * n, Columns: 1e9 * n,
		Train: 60e9 * n, TrainValues: 500e6 * n, TrainAttend: 1}
}

// Rounding is the weights a second that are rounded, with their scales.
func (r Rates) Rounding(plain bool, s kernels.Scheme) float64 {
	switch table := s.Table != kernels.Even; {
	case plain && table:
		return r.Nearest
	case table:
		return r.Table
	case plain:
		return r.RTN
	case s.Sym:
		return r.Sym
	}
	return r.Asym
}

// Attending is how long attention takes.
func (r Rates) Attending(tokens, length float64, heads, dim int) float64 {
	products, scores := AttentionWork(tokens, length, heads, dim)
	return products/r.Attend + scores/r.Scores
}

// AttentionWork is the operations of attention's products in texts of a length, and
// its scores.
func AttentionWork(tokens, length float64, heads, dim int) (products, scores float64) {
	const lanes = 16 // to which the sums of values are rounded up
	scores = tokens * length / 2 * float64(heads)
	return 2 * scores * float64(dim+(dim+lanes-1)/lanes*lanes), scores
}

// TrainingWork is the operations of training a layer of some weights with some
// tokens, forward and twice as many backward, and the values that lie between, which
// are copied besides, and whose gradients take about as long as four more.
func TrainingWork(hidden int, w arch.Widths, weights, tokens float64) (products, values float64) {
	return 6 * weights * tokens, 5 * tokens * LayerValues(hidden, w)
}

// training is how long training a layer takes with some tokens in texts of a length.
func (r Rates) training(hidden int, w arch.Widths, weights, tokens, length float64) float64 {
	products, values := TrainingWork(hidden, w, weights, tokens)
	return products/r.Train + values/r.TrainValues + 3*r.Attending(tokens, length, w.Heads, w.HeadDim)/r.TrainAttend
}
