package plan

import (
	"nibble/kernels"
	"nibble/model"
	"nibble/model/gguf"
	"nibble/quant/recipe"
)

// Size is about what a model takes in a format.
type Size struct {
	Format    string  `json:"format"` // of 'nibble export'
	Type      string  `json:"type"`   // of most matrices
	SizeBytes int64   `json:"size_bytes"`
	BPW       float64 `json:"bpw"`
}

// Bytes of what is no weight: a tensor's line in a header, and a token in GGUF's,
// with its score and merge.
const (
	headerLine  = 90
	headerToken = 33
)

// Weigh says about what a model would take in other formats: quantized in the usual
// ways if its matrices are floats, or with the same codes. scheme tells how a matrix is
// quantized. It reads nothing; files differ from it by their headers.
func Weigh(c model.Config, scheme func(model.Module) (kernels.Scheme, bool)) []Size {
	w := weighing{modules: c.Modules(), params: c.Params(), vocab: c.Vocab, float: 2}
	if c.DType == "F32" || c.DType == "float32" {
		w.float = 4
	}
	own := false
	for _, m := range w.modules {
		w.all += int64(m.Rows) * int64(m.Cols)
		if _, ok := scheme(m); ok {
			own = true
		}
	}
	if own {
		return w.carried(scheme)
	}
	var out []Size
	for _, t := range []gguf.Type{gguf.F16, gguf.Q8_0, gguf.Q6_K, gguf.Q5_K, gguf.Q4_K, gguf.Q4_0} {
		out = append(out, w.size("gguf", t.String(), func(m model.Module) int64 {
			if t.Block() == 1 || m.Layer >= 0 || w.large(m) && t.RowBytes(256) > gguf.Q8_0.RowBytes(256) {
				return w.blocks(m, t)
			} else if w.large(m) {
				return w.blocks(m, gguf.Q8_0)
			}
			return w.floats(m)
		}))
	}
	for _, s := range []kernels.Scheme{{Bits: 8, Group: 128, Sym: true}, {Bits: 4, Group: 32, Sym: true}, {Bits: 4, Group: 128, Sym: true}} {
		out = append(out, w.size("compressed-tensors", s.String(), func(m model.Module) int64 {
			switch {
			case m.Layer >= 0:
				return packed(m, s)
			case w.large(m):
				return packed(m, recipe.SafeSpec.Scheme())
			}
			return w.floats(m)
		}))
	}
	inner := kernels.Scheme{Bits: 4, Group: 128, Sym: true}
	for _, format := range []string{"gptq", "awq"} {
		out = append(out, w.size(format, "w4 g128", func(m model.Module) int64 {
			if m.Layer < 0 {
				return w.floats(m)
			}
			return columnwise(m, inner, format == "gptq")
		}))
	}
	return out
}

// carried are the sizes with the codes that a model has, in the formats that have
// room for them.
func (w weighing) carried(scheme func(model.Module) (kernels.Scheme, bool)) (out []Size) {
	packs, gptq, awq := true, true, true
	for _, m := range w.modules {
		if s, ok := scheme(m); ok && m.Layer >= 0 {
			packs = packs && !ofBlocks(s)
			gptq = gptq && packs && s.Table == kernels.Even && s.Top == 0
			awq = awq && gptq && s.Bits == 4
		}
	}
	by := func(format, typ string, quantized func(model.Module, kernels.Scheme) int64) {
		out = append(out, w.size(format, typ, func(m model.Module) int64 {
			s, ok := scheme(m)
			if !ok {
				return w.floats(m)
			}
			return quantized(m, s)
		}))
	}
	by("gguf", "auto", func(m model.Module, s kernels.Scheme) int64 { return w.blocks(m, gguf.UsualType(s)) })
	if packs {
		by("compressed-tensors", "as it is", packed)
	}
	inLayers := func(index bool) func(model.Module, kernels.Scheme) int64 {
		return func(m model.Module, s kernels.Scheme) int64 {
			if m.Layer < 0 {
				return w.floats(m)
			}
			return columnwise(m, s, index)
		}
	}
	if gptq {
		by("gptq", "as it is", inLayers(true))
	}
	if awq {
		by("awq", "as it is", inLayers(false))
	}
	return out
}

// ofBlocks reports whether a scheme is one of GGUF's blocks that no layout of
// directories has.
func ofBlocks(s kernels.Scheme) bool {
	return s.Super || s.Mins || s.Bits != 4 && s.Bits != 8
}

// weighing is a model that is weighed.
type weighing struct {
	modules []model.Module
	params  int64
	vocab   int
	all     int64 // elements of matrices
	float   int64 // bytes of one as it is stored
}

// large reports whether a matrix outside of the layers is a large part of the model.
func (w weighing) large(m model.Module) bool {
	return float64(m.Rows)*float64(m.Cols) > recipe.LargeShare*float64(w.all)
}

// size adds up the matrices and what is beside them.
func (w weighing) size(format, typ string, matrix func(model.Module) int64) Size {
	float, line := w.float, int64(3*headerLine)
	if format == "gguf" {
		float, line = 4, headerLine
	}
	n := (w.params - w.all) * float
	for _, m := range w.modules {
		n += matrix(m)
	}
	bpw := 8 * float64(n) / float64(max(1, w.params))
	n += int64(len(w.modules)) * line
	if format == "gguf" {
		n += int64(w.vocab) * headerToken
	}
	return Size{format, typ, n, bpw}
}

func (w weighing) floats(m model.Module) int64 { return int64(m.Rows) * int64(m.Cols) * w.float }

// narrower are the types that take the place of those with blocks of 256 where rows
// are no whole number of them, as in llama.cpp's files.
var narrower = map[gguf.Type]gguf.Type{gguf.Q4_K: gguf.Q5_0, gguf.Q5_K: gguf.Q5_1, gguf.Q6_K: gguf.Q8_0}

// blocks is the size of a matrix in a type of GGUF. Rows that are no whole number of
// the shortest blocks stay floats.
func (w weighing) blocks(m model.Module, t gguf.Type) int64 {
	if n, ok := narrower[t]; ok && m.Cols%t.Block() != 0 {
		t = n
	}
	if m.Cols%t.Block() != 0 {
		return w.floats(m)
	}
	return int64(m.Rows) * int64(t.RowBytes(m.Cols))
}

// packed is the size of a matrix as compressed-tensors packs it.
func packed(m model.Module, s kernels.Scheme) int64 {
	rows, groups := int64(m.Rows), int64(s.Groups(m.Cols))
	n := rows*int64((m.Cols*s.Bits+31)/32*4) + 2*rows*groups + 16
	if !s.Sym {
		n += (rows*int64(s.Bits) + 31) / 32 * 4 * groups
	}
	if s.Top > 0 {
		n += int64(s.TopCount(m.Rows)) * int64((m.Cols*s.Bits+31)/32*4+4)
	}
	return n
}

// columnwise is the size of a matrix as GPTQ and AWQ pack it: inputs x outputs, with
// zero points in any case. GPTQ has the group of every input as well.
func columnwise(m model.Module, s kernels.Scheme, index bool) int64 {
	rows, cols, groups := int64(m.Rows), int64(m.Cols), int64(s.Groups(m.Cols))
	n := rows*cols*int64(s.Bits)/8 + 2*rows*groups + rows*groups*int64(s.Bits)/8
	if index {
		n += 4 * cols
	}
	return n
}
