package pass

import (
	"slices"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/quant/grid"
	"nibble/quant/recipe"
)

// PlannedModule is one matrix with what becomes of it.
type PlannedModule struct {
	Module model.Module
	Spec   recipe.Spec // what is done, which Note explains where the recipe says otherwise
	Method *Method     // that of Spec; nil for a matrix that is kept
	Bytes  int64
	Note   string
}

// Measures reports whether the inputs of the matrix are measured.
func (m PlannedModule) Measures() bool { return m.Method != nil && m.Method.Needs.Inputs > 0 }

// Quantized is a matrix with what quantizing did to it.
type Quantized struct {
	Q      *kernels.QTensor
	Stats  grid.Stats
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
		layer := LayerOf(c, m.Module)
		if n := len(out); n == 0 || out[n-1].Layer != layer {
			out = append(out, Stage{Layer: layer})
		}
		last := &out[len(out)-1]
		last.Modules = append(last.Modules, m)
	}
	return out
}

// LayerOf is the layer whose inputs a matrix sees.
func LayerOf(c model.Config, m model.Module) int {
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
