package export

import (
	"fmt"
	"math"
	"strings"

	"nibble/model"
	"nibble/model/gguf"
)

// moduleNames are llama.cpp's names of the matrices, by nibble's kinds.
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

// hyperparameters returns the keys that describe the architecture.
func hyperparameters(c model.Config) []gguf.KV {
	u32 := func(v int) uint32 { return uint32(v) } // parseConfig bounds them all
	kvs := []gguf.KV{
		{Key: "llama.vocab_size", Value: u32(c.VocabSize)},
		{Key: "llama.context_length", Value: u32(c.MaxPositions)},
		{Key: "llama.embedding_length", Value: u32(c.Hidden)},
		{Key: "llama.block_count", Value: u32(c.Layers)},
		{Key: "llama.feed_forward_length", Value: u32(c.Intermediate)},
		{Key: "llama.attention.head_count", Value: u32(c.Heads)},
		{Key: "llama.attention.head_count_kv", Value: u32(c.KVHeads)},
		{Key: "llama.attention.key_length", Value: u32(c.HeadDim)},
		{Key: "llama.attention.value_length", Value: u32(c.HeadDim)},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: c.RMSEps},
		{Key: "llama.rope.dimension_count", Value: u32(c.HeadDim)},
		{Key: "llama.rope.freq_base", Value: float32(c.RopeTheta)},
	}
	if s := c.RopeScaling; s != nil && s.Type == "linear" {
		kvs = append(kvs, gguf.KV{Key: "llama.rope.scaling.type", Value: "linear"}, gguf.KV{Key: "llama.rope.scaling.factor", Value: float32(s.Factor)})
	}
	return kvs
}

// ropeFactors returns what llama.cpp divides the rotary frequencies by, for
// scaling of type llama3, else nil. Fast components are left alone, slow ones
// slowed down by the factor, those between blended
// (https://huggingface.co/docs/transformers, rope_utils).
func ropeFactors(c model.Config) []float32 {
	s := c.RopeScaling
	if s == nil || s.Type != "llama3" {
		return nil
	}
	out := make([]float32, c.HeadDim/2)
	for i := range out {
		wavelength := 2 * math.Pi * math.Pow(c.RopeTheta, 2*float64(i)/float64(c.HeadDim))
		switch {
		case wavelength < s.OriginalContext/s.HighFreqFactor:
			out[i] = 1
		case wavelength > s.OriginalContext/s.LowFreqFactor:
			out[i] = float32(s.Factor)
		default:
			smooth := (s.OriginalContext/wavelength - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
			out[i] = float32(1 / ((1-smooth)/s.Factor + smooth))
		}
	}
	return out
}

// fileTypes are llama.cpp's numbers for what most of a file is
// (LLAMA_FTYPE_* in llama.h).
var fileTypes = map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.Q4_0: 2, gguf.Q4_1: 3, gguf.Q8_0: 7, gguf.BF16: 32}
