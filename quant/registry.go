package quant

import (
	"fmt"
	"slices"

	"nibble/model"
)

var registered = map[string]*Method{}

// register adds a method, which recipes may name from then on.
func register(m *Method) {
	if registered[m.Name] != nil {
		panic("two methods are named " + m.Name)
	}
	registered[m.Name] = m
	registerName(m.Name, m.Strength, m.Recipe)
}

// MethodNamed returns the method of a name; nil if there is none.
func MethodNamed(name string) *Method { return registered[name] }

// All returns the methods, the weakest first.
func All() []*Method {
	var out []*Method
	for _, name := range Methods() {
		out = append(out, registered[name])
	}
	return out
}

// Planned returns what is done with a matrix by its spec, whole telling whether
// the model is taken as a whole: what the spec says, or, where its method does not
// fit, another with a note that says why.
func Planned(s Spec, m model.Module, whole bool) PlannedModule {
	out := PlannedModule{Module: m, Spec: s}
	if s.Kept() {
		return out
	}
	if m.Layer >= 0 {
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

// PlannedFor is Planned with the spec that a recipe has for a matrix.
func PlannedFor(r Recipe, m model.Module, whole bool) PlannedModule {
	return Planned(r.asked(m), m, whole)
}

// StandIn returns the spec that a spec is tried as on a matrix alone.
func StandIn(s Spec) Spec {
	if !s.Kept() && !registered[s.Method].Alone() {
		s.Method = registered[s.Method].StandIn
	}
	return s
}

// Measures reports whether the inputs of a matrix are measured: the calibration's
// tokens go through the model, and are not only counted.
func Measures(r Recipe, c model.Config) bool {
	whole := takesWhole(r, c) != nil
	return slices.ContainsFunc(c.Modules(), func(m model.Module) bool { return PlannedFor(r, m, whole).measures() })
}

// Calibrated reports whether a matrix of the model needs a calibration.
func Calibrated(r Recipe, c model.Config) bool {
	return Measures(r, c) || slices.ContainsFunc(c.Modules(), func(m model.Module) bool { return r.For(m).Top > 0 })
}

// Samples returns how many samples a recipe is calibrated with unless told
// otherwise.
func Samples(r Recipe, c model.Config) int {
	n := DefaultSamples
	for _, m := range c.Modules() {
		if s := r.For(m); !s.Kept() && inputOf(m) != "" {
			n = max(n, registered[s.Method].Needs.Samples)
		}
	}
	return n
}

// asksWhole returns the method of the recipe that takes the model as a whole; nil
// for none.
func asksWhole(r Recipe, c model.Config) *Method {
	for _, m := range c.Modules() {
		if s := r.For(m); !s.Kept() && registered[s.Method].Needs.Whole != nil && inputOf(m) != "" {
			return registered[s.Method]
		}
	}
	return nil
}

// takesWhole is asksWhole where the model is small enough for that.
func takesWhole(r Recipe, c model.Config) *Method {
	if m := asksWhole(r, c); m != nil && m.Needs.Whole.Bytes(c) <= WholeMost {
		return m
	}
	return nil
}
