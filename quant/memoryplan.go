package quant

import (
	"slices"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/tokenizer"
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
	recipe  Recipe
	c       model.Config
	modules []PlannedModule
	stored  func(m model.Module) int64 // bytes in the checkpoint
	reading int64                      // see readingRSS
	copied  int64                      // of the checkpoint that is in memory instead of mapped

	samples, length int // of the calibration, 0 without
}

// bytes is the estimate for all of a recipe.
func (f footprint) bytes() int64 {
	most := int64(0) // at any stage: what methods hold, and mapped pages
	for _, s := range stages(f.c, f.modules) {
		held, work, pages := f.stage(s)
		most = max(most, held*(100+garbage)/100+work+pages)
	}
	if f.recipe.trainsWhole(f.c) {
		most = max(most, f.whole()*(100+garbage)/100)
	}
	kept := (f.reading*keptPercent/100 + f.copied) * (100 + garbage) / 100
	if f.samples > 0 {
		kept += calibrationRSS + f.session() // each pass has a session of its own
	}
	return baseRSS + f.copied + max(f.reading+f.copied, kept+most)
}

// stage is what a stage holds for long, what it needs besides at its peak, and how
// many pages it reads.
func (f footprint) stage(s stage) (held, work, pages int64) {
	layer, codes, largest := int64(0), int64(0), int64(0) // weights, bytes, weights of a matrix
	floats := int64(0)                                    // bytes of a weight as float32, 0 if it is mapped as such
	for _, m := range s.modules {
		n := int64(m.Module.Rows) * int64(m.Module.Cols)
		layer += n
		largest = max(largest, n)
		pages += f.stored(m.Module)
		if f.stored(m.Module) < 4*n {
			floats = 4
		}
		if m.Spec.Kept() {
			continue
		}
		codes += m.Bytes
		if f.samples > 0 {
			codes += kernels.PackedBytes(m.Module.Rows, m.Module.Cols, m.Spec.Scheme())
		}
	}
	held = codes
	if f.samples == 0 {
		return held, 0, pages
	}
	has := func(p func(method string) bool) bool {
		return slices.ContainsFunc(s.modules, func(m PlannedModule) bool { return !m.Spec.Kept() && p(m.Spec.Method) })
	}
	held += f.states()
	trained := has(func(name string) bool { return methodOf(name).layer != nil })
	if trained {
		held += f.states() // of the float model
	}
	if s.layer < 0 && has(func(name string) bool { return methodOf(name).inputs }) {
		held += f.states() // a tied head's inputs
	}
	if !has(func(name string) bool { return methodOf(name).inputs }) {
		return held, 0, pages
	}
	work = f.session()
	for _, m := range s.modules {
		n, rows := int64(m.Module.Cols), int64(m.Module.Rows)
		switch {
		case m.Spec.Kept() || !methodOf(m.Spec.Method).inputs || m.Spec.Method == IMatrix:
		case m.Spec.Method == AWQ: // the columns' inputs and their outputs, what readers are and become
			work = max(work, f.session()+4*(awqTokens*n+awqTokens*awqRows+4*awqRows*n)+4*layer+floats*rows*n)
		default:
			// Moments, their factor and its inverse, products in work; then the matrix, once
			// more in the order of its factor, and what is being corrected.
			moments := 4 * n * (n + 2*hessianTokens) * (100 + garbage) / 100
			work = max(work, moments+8*n*n+4*n*3*256, moments+4*n*n+(floats+4)*rows*n+4*n*2*512, moments+f.session())
		}
	}
	if trained {
		// By weight: offset, value and gradient, and the float; codes at first, now and at
		// best, scales. By token: what the layer computes, and its gradient.
		tokens := int64(max(passTokens, f.length))
		held += (12+floats)*layer + 2*codes + 4*largest + 4*tokens*(f.computed()+f.computedBackward())
		work = 0
	}
	return held, work, pages
}

// states is the hidden states of all samples.
func (f footprint) states() int64 { return 4 * int64(f.samples*f.length) * int64(f.c.Hidden) }

// session is what a sample's pass through a layer takes.
func (f footprint) session() int64 {
	w := f.c.Widths()
	wide, keys := w.Heads*w.HeadDim, w.KVHeads*w.HeadDim
	return 4 * int64(f.length) * int64(2*f.c.Hidden+2*wide+4*keys+2*w.Inner+max(f.c.Hidden, w.Inner)/3)
}

// computed is the values by token that a trained layer keeps, and
// computedBackward those of its gradient.
func (f footprint) computed() int64 {
	w := f.c.Widths()
	return int64(6*f.c.Hidden + 2*w.Heads*w.HeadDim + 4*w.KVHeads*w.HeadDim + 3*w.Inner)
}

func (f footprint) computedBackward() int64 {
	w := f.c.Widths()
	return int64(6*f.c.Hidden + 2*w.Heads*w.HeadDim + 2*w.KVHeads*w.HeadDim + 7*w.Inner) // with what kernels rearrange
}

// whole is what training all layers together holds.
func (f footprint) whole() int64 {
	layer, head := weightsOf(f.c)
	codes, rest, trained := int64(0), int64(0), int64(0)
	for _, m := range f.modules {
		codes += m.Bytes
		if n := int64(m.Module.Rows) * int64(m.Module.Cols); m.Module.Layer < 0 {
			rest += n
			if m.Spec.Method == AutoRoundBest { // offset, value and gradient; transposes on the way
				trained += 12*n + 4*headRows*int64(f.c.Vocab)
			}
		}
	}
	tokens := int64(max(passTokens, f.length))
	return 16*int64(layer)*int64(f.c.Layers()) + trained + 3*codes + 4*rest + 8*int64(head) + 4*int64(layer) +
		4*f.states() + 4*tokens*(int64(f.c.Layers())*f.computed()+2*f.computedBackward()+4*int64(f.c.Hidden)) + 8*headRows*int64(f.c.Vocab)
}
