package plan

import (
	"nibble/kernels"
	"nibble/model"
	"nibble/model/tokenizer"
	"nibble/quant/cost"
	"nibble/quant/pass"
)

// What the process takes in any case, and for a tokenizer while it is read: by token
// and by merge, of those that the tokenizer has, whatever the model has room for.
const (
	baseRSS      = 11 << 20
	tokenReading = 225
	mergeReading = 260
	keptPercent  = 50 // of what reading takes is what stays

	calibrationRSS = 3 << 20 // the text and its tokens
)

// readingRSS is what reading a tokenizer takes; nil is none.
func readingRSS(t *tokenizer.Tokenizer) int64 {
	if t == nil {
		return 0
	}
	return tokenReading*int64(t.VocabSize()) + mergeReading*int64(t.Merges())
}

// footprint estimates the memory that a run takes at its peak. All that methods
// hold is arrays whose sizes follow from shapes; what of it is garbage is a
// quarter more (garbage).
type footprint struct {
	*cost.Shape
	modules []pass.PlannedModule
	whole   *pass.Method               // that takes the model as a whole; nil for none
	stored  func(m model.Module) int64 // bytes in the checkpoint
	reading int64                      // see readingRSS
	copied  int64                      // of the checkpoint that is in memory instead of mapped
}

// bytes is the estimate for all of a recipe.
func (f footprint) bytes() int64 {
	most := int64(0) // at any stage: what methods hold, and mapped pages
	for _, s := range pass.Stages(f.Config, f.modules) {
		held, work, pages := f.stage(s)
		most = max(most, held*(100+cost.Garbage)/100+work+pages)
	}
	if f.whole != nil {
		most = max(most, f.whole.Needs.Whole.Peak(f.Shape, f.modules)*(100+cost.Garbage)/100)
	}
	kept := (f.reading*keptPercent/100 + f.copied) * (100 + cost.Garbage) / 100
	if f.Samples > 0 {
		kept += calibrationRSS + f.Session() // each pass has a session of its own
	}
	return baseRSS + f.copied + max(f.reading+f.copied, kept+most)
}

// stage is what a stage holds for long, what it needs besides at its peak, and how
// many pages it reads.
func (f footprint) stage(s pass.Stage) (held, work, pages int64) {
	var layer cost.Layer
	for _, m := range s.Modules {
		n := int64(m.Module.Rows) * int64(m.Module.Cols)
		layer.Weights += n
		layer.Largest = max(layer.Largest, n)
		pages += f.stored(m.Module)
		if f.stored(m.Module) < 4*n {
			layer.Floats = 4
		}
		if m.Method == nil {
			continue
		}
		layer.Codes += m.Bytes
		if f.Samples > 0 {
			layer.Codes += kernels.PackedBytes(m.Module.Rows, m.Module.Cols, m.Spec.Scheme())
		}
	}
	held = layer.Codes
	if f.Samples == 0 {
		return held, 0, pages
	}
	measures := func(m *pass.Method) bool { return m.Needs.Inputs > 0 }
	held += f.States()
	if s.Needs(func(m *pass.Method) bool { return m.Needs.Floats }) {
		held += f.States() // of the float model
	}
	if s.Layer < 0 && s.Needs(measures) {
		held += f.States() // a tied head's inputs
	}
	if !s.Needs(measures) {
		return held, 0, pages
	}
	work = f.Session()
	whole := int64(0) // what methods hold that take the layer as a whole
	for _, m := range s.Modules {
		if m.Method == nil {
			continue
		}
		if m.Method.Cost.Bytes != nil {
			work = max(work, m.Method.Cost.Bytes(cost.Matrix{Shape: f.Shape, Rows: m.Module.Rows, Cols: m.Module.Cols, Layer: layer.Weights, Floats: layer.Floats}))
		}
		if m.Method.Cost.Held != nil {
			whole = max(whole, m.Method.Cost.Held(f.Shape, layer))
		}
	}
	if whole > 0 {
		return held + whole, 0, pages
	}
	return held, work, pages
}
