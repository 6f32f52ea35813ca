package quant

import (
	"context"
	"slices"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
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
	// the same (pass.replaceWeight, pass.replaceVector).
	Transform func(ctx context.Context, p *pass, s Stage, ms []PlannedModule) error

	// Matrix quantizes one matrix; step hears how many more rows are done.
	Matrix func(ctx context.Context, p *pass, m PlannedModule, step func(rows int)) (Quantized, error)

	// Layer quantizes all of its matrices of a layer together, for the inputs
	// sequence.states and, if it needs them, the float model's outputs
	// (sequence.outputs: the sequence then follows the float model as well). The
	// others of the layer are quantized already (pass.settled). The results are in the order of ms.
	// step hears of rows, of all ms together.
	Layer func(ctx context.Context, p *pass, s Stage, ms []PlannedModule, step func(rows int)) ([]Quantized, error)
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
	Bytes    func(c model.Config) int64 // about what that takes of memory
	TooLarge string                     // what a plan says where that is more than WholeMost
	Seconds  func(r *Shape) float64     // how long it takes
	Peak     func(r *Shape, ms []PlannedModule) int64
	Disk     func(ms []PlannedModule) int64 // kept while it lasts
}

// WholeMost is the most memory that a method may take for the model as a whole. It
// does not depend on the machine, so that results do not.
const WholeMost = 3 << 30

// Cost is what a method takes beyond what the pass does for every method.
type Cost struct {
	Plain   bool                              // scales come from the largest weights: nothing is searched
	Seconds func(m MatrixCost) float64        // for a matrix, besides rounding it
	Bytes   func(m MatrixCost) int64          // of memory while it is in work
	Layer   func(r *Shape, layer int) float64 // seconds for a layer as a whole
	Held    func(r *Shape, l LayerCost) int64 // bytes for a layer as a whole
}

// Alone reports whether the method takes one matrix after the other and changes
// nothing around it, so that it can be tried on a matrix alone.
func (m *Method) Alone() bool { return m.Matrix != nil && m.Transform == nil && m.Layer == nil }

// Calibrates reports whether the method needs a calibration.
func (m *Method) Calibrates() bool { return m.Needs.Inputs > 0 }

// PlannedModule is one matrix with what becomes of it.
type PlannedModule struct {
	Module model.Module
	Spec   Spec    // what is done, which Note explains where the recipe says otherwise
	Method *Method // that of Spec; nil for a matrix that is kept
	Bytes  int64
	Note   string
}

// measures reports whether the inputs of the matrix are measured.
func (m PlannedModule) measures() bool { return m.Method != nil && m.Method.Needs.Inputs > 0 }

// Quantized is a matrix with what quantizing did to it.
type Quantized struct {
	Q      *kernels.QTensor
	Stats  Stats
	Silent int // inputs that are 0 for the whole calibration
}

// Stage is what a pass does in one go.
type Stage struct {
	Layer   int // -1 for the embedding, the number of layers for the head
	Modules []PlannedModule
}

// Stages cuts the matrices of a plan into stages.
func Stages(c model.Config, ms []PlannedModule) []Stage {
	var out []Stage
	for _, m := range ms {
		layer := layerOf(c, m.Module)
		if n := len(out); n == 0 || out[n-1].Layer != layer {
			out = append(out, Stage{Layer: layer})
		}
		last := &out[len(out)-1]
		last.Modules = append(last.Modules, m)
	}
	return out
}

// layerOf is the layer whose inputs a matrix sees.
func layerOf(c model.Config, m model.Module) int {
	if m.Linear.Role == arch.RoleHead {
		return c.Layers()
	}
	return m.Layer
}

// Methods returns the methods of the stage's matrices, the weakest first.
func (s Stage) Methods() []*Method {
	var out []*Method
	for _, m := range s.Modules {
		if m.Method != nil && !slices.Contains(out, m.Method) {
			out = append(out, m.Method)
		}
	}
	slices.SortStableFunc(out, func(a, b *Method) int { return a.Strength - b.Strength })
	return out
}

// Of returns the stage's matrices of a method.
func (s Stage) Of(m *Method) []PlannedModule {
	return slices.DeleteFunc(slices.Clone(s.Modules), func(pm PlannedModule) bool { return pm.Method != m })
}

// Needs reports whether a method of the stage has a property.
func (s Stage) Needs(property func(*Method) bool) bool {
	return slices.ContainsFunc(s.Methods(), property)
}
