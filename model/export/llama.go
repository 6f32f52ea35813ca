package export

import (
	"fmt"
	"math"
	"strings"

	"nibble/model"
	"nibble/model/arch"
	"nibble/model/gguf"
)

// moduleNames are llama.cpp's names of the matrices, by nibble's roles.
var moduleNames = map[string]string{"embed": "token_embd", "head": "output", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
	"gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}

// moduleName returns a matrix's name without ".weight" or ".bias".
func moduleName(m model.Module) string {
	if m.Layer < 0 {
		return moduleNames[m.Kind]
	}
	return fmt.Sprintf("blk.%d.%s", m.Layer, moduleNames[m.Kind])
}

// normName translates the name of a normalization vector.
func normName(name string) string {
	if name == "model.norm.weight" {
		return "output_norm.weight"
	}
	name = strings.Replace(name, "model.layers.", "blk.", 1)
	name = strings.Replace(name, "input_layernorm", "attn_norm", 1)
	return strings.Replace(name, "post_attention_layernorm", "ffn_norm", 1)
}

// pairedRow returns the row of a Hugging Face query or key matrix that is row r
// of llama.cpp's. Both rotate pairs of a head's elements; Hugging Face pairs i
// with i + dim/2, llama.cpp's Llama pairs 2i with 2i + 1.
func pairedRow(r, headDim int) int {
	i := r % headDim
	return r - i + i%2*(headDim/2) + i/2
}

// llama is what GGUF says of a model of llama.cpp's architecture of that name.
type llama struct {
	attention *arch.Attention
	inner     int
	eps       float32
}

// llamaOf refuses models of other shapes.
func llamaOf(c model.Config) (llama, error) {
	fail := func(what string) (llama, error) {
		return llama{}, fmt.Errorf("%w: export of the family %s (%s): models of Llama's shape are", model.ErrUnsupported, c.Family, what)
	}
	switch c.Family {
	case "llama", "mistral", "yi", "internlm3":
	default:
		return fail("its form in GGUF is not known here")
	}
	for i := range c.Blocks {
		for op := range c.Blocks[i].Ops() {
			if a, ok := op.(*arch.Attention); ok && a.Window > 0 {
				return fail("a window, which llama.cpp would ignore")
			}
		}
	}
	a := c.Blocks[0].Steps[0].Branches[0].Do.(*arch.Attention)
	m := c.Blocks[0].Steps[1].Branches[0].Do.(*arch.MLP)
	if a.Temperature != nil || a.Rope.Long != nil || a.Rope.Magnitude != 1 {
		return fail("its rotations")
	}
	return llama{a, m.Inner, c.Norm.Eps}, nil
}

// hyperparameters returns the keys that describe the architecture.
func (l llama) hyperparameters(c model.Config) []gguf.KV {
	u32 := func(v int) uint32 { return uint32(v) } // a config bounds them all
	a := l.attention
	kvs := []gguf.KV{
		{Key: "llama.vocab_size", Value: u32(c.Vocab)},
		{Key: "llama.context_length", Value: u32(c.Positions)},
		{Key: "llama.embedding_length", Value: u32(c.Hidden)},
		{Key: "llama.block_count", Value: u32(c.Layers())},
		{Key: "llama.feed_forward_length", Value: u32(l.inner)},
		{Key: "llama.attention.head_count", Value: u32(a.Heads)},
		{Key: "llama.attention.head_count_kv", Value: u32(a.KVHeads)},
		{Key: "llama.attention.key_length", Value: u32(a.HeadDim)},
		{Key: "llama.attention.value_length", Value: u32(a.HeadDim)},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: l.eps},
		{Key: "llama.rope.dimension_count", Value: u32(2 * len(a.Rope.Frequencies))},
		{Key: "llama.rope.freq_base", Value: float32(a.Rope.Base)},
	}
	if f := l.divisors(); f[0] != 1 && f[0] == f[len(f)-1] {
		kvs = append(kvs, gguf.KV{Key: "llama.rope.scaling.type", Value: "linear"}, gguf.KV{Key: "llama.rope.scaling.factor", Value: f[0]})
	}
	return kvs
}

// ropeFactors returns what llama.cpp divides the rotary frequencies by, nil where
// they are not scaled, or all alike.
func (l llama) ropeFactors() []float32 {
	f := l.divisors()
	if f[0] == f[len(f)-1] {
		return nil
	}
	return f
}

// divisors are what scaling divides each frequency by.
func (l llama) divisors() []float32 {
	r := l.attention.Rope
	out := make([]float32, len(r.Frequencies))
	for i, f := range r.Frequencies {
		out[i] = float32(math.Pow(r.Base, -float64(i)/float64(len(out))) / f)
	}
	return out
}

// fileTypes are llama.cpp's numbers for what most of a file is
// (LLAMA_FTYPE_* in llama.h).
var fileTypes = map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.Q4_0: 2, gguf.Q4_1: 3, gguf.Q8_0: 7, gguf.BF16: 32}
