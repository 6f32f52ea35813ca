// Package modeltest makes tiny random Llama checkpoints for tests and computes
// them plainly in float64. It shares no code with the packages it checks: the
// forward pass is written from the definition of the architecture and knows no
// cache, no chunk and no kernel.
package modeltest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Config describes a tiny Llama.
type Config struct {
	Vocab, Hidden, Layers, Heads, KVHeads, HeadDim, Inner int

	Eps           float64 // of the normalizations
	Theta         float64 // base of the rotary embedding
	Scaling       Scaling
	Tied          bool // the output head is the embedding
	AttentionBias bool
	MLPBias       bool
	DType         string // of the stored tensors: F32 (if empty), F16 or BF16
}

// Scaling stretches the rotary embedding; an empty Type leaves it as it is.
type Scaling struct {
	Type                        string // "linear" or "llama3"
	Factor, Low, High, Original float64
}

// Small is a configuration in which no two dimensions are equal, so that one
// taken for another shows: 6 heads of 10 on a stream of 48, three to a
// key-value head.
func Small() Config {
	return Config{Vocab: 70, Hidden: 48, Layers: 2, Heads: 6, KVHeads: 2, HeadDim: 10, Inner: 56, Eps: 1e-5, Theta: 10000}
}

// Model is a tiny checkpoint: its tensors by name, in rows.
type Model struct {
	Config  Config
	Tensors map[string]Tensor
}

// Tensor is a matrix, or a vector if Cols is 0.
type Tensor struct {
	Rows, Cols int
	Data       []float64
}

// New draws the weights. They are small multiples of a power of two, which every
// stored type holds exactly.
func New(seed uint64, c Config) *Model {
	m := &Model{Config: c, Tensors: make(map[string]Tensor)}
	rng := rand.New(rand.NewPCG(seed, 1))
	fill := func(name string, mean, step float64, rows, cols int) {
		t := Tensor{rows, cols, make([]float64, rows*max(cols, 1))}
		for i := range t.Data {
			t.Data[i] = mean + step*float64(rng.IntN(255)-127)
		}
		m.Tensors[name] = t
	}
	matrix := func(module string, rows, cols int, bias bool) {
		fill(module+".weight", 0, 1.0/256, rows, cols)
		if bias {
			fill(module+".bias", 0, 1.0/256, rows, 0)
		}
	}
	norm := func(name string) { fill(name, 1, 1.0/128, c.Hidden, 0) }
	matrix("model.embed_tokens", c.Vocab, c.Hidden, false)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for l := range c.Layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		norm(p + "input_layernorm.weight")
		norm(p + "post_attention_layernorm.weight")
		matrix(p+"self_attn.q_proj", q, c.Hidden, c.AttentionBias)
		matrix(p+"self_attn.k_proj", kv, c.Hidden, c.AttentionBias)
		matrix(p+"self_attn.v_proj", kv, c.Hidden, c.AttentionBias)
		matrix(p+"self_attn.o_proj", c.Hidden, q, c.AttentionBias)
		matrix(p+"mlp.gate_proj", c.Inner, c.Hidden, c.MLPBias)
		matrix(p+"mlp.up_proj", c.Inner, c.Hidden, c.MLPBias)
		matrix(p+"mlp.down_proj", c.Hidden, c.Inner, c.MLPBias)
	}
	norm("model.norm.weight")
	if !c.Tied {
		matrix("lm_head", c.Vocab, c.Hidden, false)
	}
	return m
}

// JSON returns config.json's content, in the spelling of older checkpoints.
func (c Config) JSON() map[string]any {
	j := map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_act": "silu",
		"vocab_size": c.Vocab, "hidden_size": c.Hidden, "num_hidden_layers": c.Layers, "num_attention_heads": c.Heads,
		"num_key_value_heads": c.KVHeads, "head_dim": c.HeadDim, "intermediate_size": c.Inner, "max_position_embeddings": 1024,
		"rms_norm_eps": c.Eps, "rope_theta": c.Theta, "tie_word_embeddings": c.Tied,
		"attention_bias": c.AttentionBias, "mlp_bias": c.MLPBias, "bos_token_id": 1, "eos_token_id": 2,
	}
	if c.Scaling.Type != "" {
		j["rope_scaling"] = c.Scaling.JSON()
	}
	return j
}

// JSON returns the content of rope_scaling.
func (s Scaling) JSON() map[string]any {
	j := map[string]any{"rope_type": s.Type, "factor": s.Factor}
	if s.Type == "llama3" {
		j["low_freq_factor"], j["high_freq_factor"], j["original_max_position_embeddings"] = s.Low, s.High, s.Original
	}
	return j
}

// Write makes a directory of the checkpoint, which has no tokenizer, and returns
// its path. edit, which may be nil, changes config.json first.
func (m *Model) Write(t testing.TB, edit func(config map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	config := m.Config.JSON()
	if edit != nil {
		edit(config)
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := m.safetensors()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"config.json": text, "model.safetensors": weights} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// safetensors is the weights file.
func (m *Model) safetensors() ([]byte, error) {
	dtype := m.Config.DType
	if dtype == "" {
		dtype = "F32"
	}
	header, data := make(map[string]any), []byte(nil)
	for _, name := range slices.Sorted(maps.Keys(m.Tensors)) {
		t, begin := m.Tensors[name], len(data)
		for _, v := range t.Data {
			switch bits := math.Float32bits(float32(v)); dtype {
			case "F32":
				data = binary.LittleEndian.AppendUint32(data, bits)
			case "BF16":
				data = binary.LittleEndian.AppendUint16(data, uint16(bits>>16))
			case "F16":
				data = binary.LittleEndian.AppendUint16(data, half(v))
			default:
				return nil, fmt.Errorf("no tensors of type %s", dtype)
			}
		}
		shape := []int{t.Rows}
		if t.Cols > 0 {
			shape = append(shape, t.Cols)
		}
		header[name] = map[string]any{"dtype": dtype, "shape": shape, "data_offsets": []int{begin, len(data)}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, data), nil
}

// half encodes a number that F16 holds exactly and that is no subnormal, or one
// that is not finite.
func half(v float64) uint16 {
	switch {
	case v == 0:
		return 0
	case math.IsNaN(v):
		return 0x7e00
	case math.IsInf(v, 0):
		return 0x7c00
	}
	frac, exp := math.Frexp(math.Abs(v)) // 0.5 <= frac < 1
	bits := uint16(exp+14)<<10 | uint16(frac*2048)&0x3ff
	if v < 0 {
		bits |= 0x8000
	}
	return bits
}
