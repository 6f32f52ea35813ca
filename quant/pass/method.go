package pass

import (
	"context"

	"nibble/model"
	"nibble/quant/cost"
)

// Method is a way to find the codes of a matrix: what it declares of itself, from
// which recipes, plans, advice and help are made, and what it does in a pass.
type Method struct {
	Name     string
	Does     string // what it does, in half a line for the help
	Strength int    // puts methods in order: those that usually lose less, and take longer, come later
	Recipe   string // the name of the recipe "w4 g32 sym" by the method; "" for none

	// Stronger is the method that gains most over this one at the same size before the
	// next one takes much longer; "" for none.
	Stronger string
	// StandIn is the method that is tried in its place on a matrix alone, where it works
	// on more than that; "" for none.
	StandIn string
	// Error is what it leaves of the error of a matrix's outputs that plain rounding
	// gives, as seen in small language models.
	Error float64

	Needs Needs
	Fits  func(m model.Module, whole bool) (instead, why string) // what is done with a matrix it does not fit; nil fits all
	Notes func(c model.Config, s Stage) map[string]string        // what it cannot do for matrices of a stage, by name; nil for nothing
	Cost  Cost

	// A pass goes stage by stage: the embedding, each layer, the output head. In a
	// stage the methods' Transform come first, then the matrices of methods with Matrix
	// in the order of the model, then those of methods with Layer.

	// Transform, if there is one, prepares a stage for its matrices ms of the method:
	// it may replace weights, norms and biases of the stage by others that compute
	// the same (Pass.ReplaceWeight, Pass.ReplaceVector).
	Transform func(ctx context.Context, p *Pass, s Stage, ms []PlannedModule) error

	// Matrix quantizes one matrix; step hears how many more rows are done.
	Matrix func(ctx context.Context, p *Pass, m PlannedModule, step func(rows int)) (Quantized, error)

	// Layer quantizes all of its matrices of a layer together, for the inputs
	// Sequence.States and, if it needs them, the float model's outputs
	// (Sequence.Outputs: the sequence then follows the float model as well). The
	// others of the layer are quantized already (Pass.Settled). The results are in the order of ms.
	// step hears of rows, of all ms together.
	Layer func(ctx context.Context, p *Pass, s Stage, ms []PlannedModule, step func(rows int)) ([]Quantized, error)
}

// Needs is what a method measures with a calibration. The zero value needs none.
type Needs struct {
	Inputs  int  // how often the inputs of a matrix are measured: the calibration's tokens go through the model
	Floats  bool // the float layers' outputs
	Samples int  // of the calibration unless told otherwise; 0 for the usual number
	Whole   *Whole
}

// Whole is the part of a method that takes the model as a whole.
type Whole struct {
	Bytes    func(c model.Config) int64  // about what that takes of memory
	TooLarge string                      // what a plan says where that is more than WholeMost
	Seconds  func(r *cost.Shape) float64 // how long it takes
	Peak     func(r *cost.Shape, ms []PlannedModule) int64
	Disk     func(ms []PlannedModule) int64 // kept while it lasts
}

// WholeMost is the most memory that a method may take for the model as a whole. It
// does not depend on the machine, so that results do not.
const WholeMost = 3 << 30

// Cost is what a method takes beyond what the pass does for every method.
type Cost struct {
	Plain   bool                                    // scales come from the largest weights: nothing is searched
	Seconds func(m cost.Matrix) float64             // for a matrix, besides rounding it
	Bytes   func(m cost.Matrix) int64               // of memory while it is in work
	Layer   func(r *cost.Shape, layer int) float64  // seconds for a layer as a whole
	Held    func(r *cost.Shape, l cost.Layer) int64 // bytes for a layer as a whole
}

// Alone reports whether the method can be tried on a matrix alone: it takes one matrix
// after the other, changes nothing around it, and looks at nothing before it.
func (m *Method) Alone() bool { return m.StandIn == "" }

// Calibrates reports whether the method needs a calibration.
func (m *Method) Calibrates() bool { return m.Needs.Inputs > 0 }
