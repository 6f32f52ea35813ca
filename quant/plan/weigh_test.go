package plan

import (
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/gguf"
)

// A matrix of 64 outputs and 256 inputs with groups of 128: codes 8192 bytes, scales
// 256, zero points 64 or, packed, 64; the group of every input 1024.
func TestWeighedMatrix(t *testing.T) {
	m := model.Module{Rows: 64, Cols: 256}
	s := kernels.Scheme{Bits: 4, Group: 128}
	for what, x := range map[string]struct{ got, want int64 }{
		"gptq": {columnwise(m, s, true), 8192 + 256 + 64 + 1024}, "awq": {columnwise(m, s, false), 8192 + 256 + 64},
		"packed": {packed(m, s), 8192 + 256 + 64 + 16},
		"Q4_K":   {weighing{}.blocks(m, gguf.Q4_K), 64 * 144}, "Q4_K of short rows": {weighing{}.blocks(model.Module{Rows: 1, Cols: 64}, gguf.Q4_K), 2 * 22},
		"rows of no blocks": {weighing{float: 2}.blocks(model.Module{Rows: 2, Cols: 40}, gguf.Q4_0), 160},
	} {
		if x.got != x.want {
			t.Errorf("%s: %d bytes, want %d", what, x.got, x.want)
		}
	}
}

// A scheme that is a type of GGUF's weighs as that type, and is no directory's.
func TestWeighedBlocks(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K, gguf.IQ4_NL, gguf.IQ4_XS, gguf.MXFP4} {
		s, ok := typ.Scheme()
		if got := gguf.UsualType(s); !ok || got != typ {
			t.Errorf("%s is %s, weighed as %s", typ, s, got)
		}
		switch typ {
		case gguf.Q4_0, gguf.Q8_0, gguf.IQ4_NL, gguf.MXFP4:
			ok = !ofBlocks(s)
		default:
			ok = ofBlocks(s)
		}
		if !ok {
			t.Errorf("%s in directories: %t", typ, !ofBlocks(s))
		}
	}
}
