package plan

import (
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/pass"
)

// passes is how often a layer's product runs for the inputs of the matrices after
// it, each measured some times, and once more to pass the layer.
func passes(kind string, measured int) float64 {
	inputs := map[string]int{"q": 3, "k": 3, "v": 3, "qkv": 3, "in": 3, "z": 3, "q_a": 3, "kv_a": 3, "q_b": 2, "kv_b": 2, "out": 2,
		"o": 2, "gate": 1, "up": 1, "gate_up": 1, "down": 0}
	n, ok := inputs[kind]
	if !ok {
		return 0
	}
	return float64(max(1, measured)*n + 1)
}

// calibratedSeconds estimates how long what a calibration is for takes. whole is the
// method that takes the model as a whole, nil for none.
func calibratedSeconds(run *cost.Shape, ms []pass.PlannedModule, whole *pass.Method) float64 {
	sum := layerSeconds(run, ms, whole)
	seen := map[[2]any]bool{} // inputs that are measured already, by layer
	for _, m := range ms {
		rows, n := float64(m.Module.Rows), float64(m.Module.Cols)
		product, measured := run.Rates.Int, 0
		if m.Method == nil {
			product = run.Rates.Float
		} else {
			measured = m.Method.Needs.Inputs
		}
		times := passes(m.Module.Kind, measured)
		sum += times * 2 * rows * n * run.Tokens() / product
		if m.Module.Kind == "q" {
			sum += times * run.Between(run.Tokens())
		}
		if measured == 0 {
			continue
		}
		if m.Module.Tied { // a pass of its own to the head
			sum += run.Forward(run.Tokens(), run.Rates.Int)
		}
		inputs := [2]any{m.Module.Layer, calib.InputOf(m.Module)}
		if seconds := m.Method.Cost.Seconds; seconds != nil {
			sum += seconds(cost.Matrix{Shape: run, Rows: m.Module.Rows, Cols: m.Module.Cols, First: !seen[inputs],
				Rate: run.Rates.Rounding(m.Method.Cost.Plain, m.Spec.Scheme())})
		}
		seen[inputs] = true
	}
	return sum
}

// layerSeconds estimates what methods take that take layers, or the model, as a whole.
func layerSeconds(run *cost.Shape, ms []pass.PlannedModule, whole *pass.Method) float64 {
	sum, floats := 0.0, false
	for _, s := range pass.Stages(run.Config, ms) {
		for _, m := range s.Methods() {
			if m.Cost.Layer != nil && s.Layer >= 0 && s.Layer < run.Config.Layers() {
				sum += m.Cost.Layer(run, s.Layer)
			}
			floats = floats || m.Needs.Floats
		}
	}
	if floats { // the float model's outputs
		sum += run.Forward(run.Tokens(), run.Rates.Float)
	}
	if whole != nil {
		sum += whole.Needs.Whole.Seconds(run)
	}
	return sum
}
