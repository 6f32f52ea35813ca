package method

import (
	"fmt"
	"slices"

	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/pass"
	"nibble/quant/recipe"
)

// Planned returns what is done with a matrix by its spec, whole telling whether
// the model is taken as a whole: what the spec says, or, where its method does not
// fit, another with a note that says why.
func Planned(s recipe.Spec, m model.Module, whole bool) pass.PlannedModule {
	out := pass.PlannedModule{Module: m, Spec: s}
	if s.Kept() {
		return out
	}
	if !m.TokenRows() {
		out.Spec.Top = 0
	}
	out.Method = registered[s.Method]
	if out.Method.Fits != nil {
		if instead, why := out.Method.Fits(m, whole); instead != "" {
			out.Spec.Method, out.Method, out.Note = instead, registered[instead], s.Method+" "+why
			return out
		}
	}
	if s.Top > out.Spec.Top {
		out.Note = fmt.Sprintf("top%d%% is of rows that are tokens; all rows have %d bits", s.Top, s.Bits)
	}
	return out
}

// PlanAll returns what is done with all matrices of a model by a recipe, and the
// method that takes the model as a whole, nil for none.
func PlanAll(r recipe.Recipe, c model.Config) (planned []pass.PlannedModule, whole *pass.Method) {
	whole = takesWhole(r, c)
	for _, m := range c.Modules() {
		planned = append(planned, Planned(r.Asked(m), m, whole != nil))
	}
	return planned, whole
}

// StandIn returns the spec that a spec is tried as on a matrix alone.
func StandIn(s recipe.Spec) recipe.Spec {
	if !s.Kept() && !registered[s.Method].Alone() {
		s.Method = registered[s.Method].StandIn
	}
	return s
}

// Measures reports whether the inputs of a matrix are measured: the calibration's
// tokens go through the model, and are not only counted.
func Measures(r recipe.Recipe, c model.Config) bool {
	planned, _ := PlanAll(r, c)
	return slices.ContainsFunc(planned, pass.PlannedModule.Measures)
}

// Calibrated reports whether a matrix of the model needs a calibration.
func Calibrated(r recipe.Recipe, c model.Config) bool {
	return Measures(r, c) || slices.ContainsFunc(c.Modules(), func(m model.Module) bool { return r.For(m).Top > 0 })
}

// Samples returns how many samples a recipe is calibrated with unless told
// otherwise.
func Samples(r recipe.Recipe, c model.Config) int {
	n := calib.DefaultSamples
	for _, m := range c.Modules() {
		if s := r.For(m); !s.Kept() && calib.InputOf(m) != "" {
			n = max(n, registered[s.Method].Needs.Samples)
		}
	}
	return n
}

// AsksWhole returns the method of the recipe that takes the model as a whole; nil
// for none.
func AsksWhole(r recipe.Recipe, c model.Config) *pass.Method {
	for _, m := range c.Modules() {
		if s := r.For(m); !s.Kept() && registered[s.Method].Needs.Whole != nil && calib.InputOf(m) != "" {
			return registered[s.Method]
		}
	}
	return nil
}

// takesWhole is asksWhole where the model is small enough for that.
func takesWhole(r recipe.Recipe, c model.Config) *pass.Method {
	if m := AsksWhole(r, c); m != nil && m.Needs.Whole.Bytes(c) <= pass.WholeMost {
		return m
	}
	return nil
}
