package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"nibble/model/source"
)

// Architectures lists the values of config.json's "architectures" that nibble
// runs.
func Architectures() []string { return []string{"LlamaForCausalLM"} }

// Config is what the forward pass needs to know of a Llama-type model, from
// config.json.
type Config struct {
	Arch          string
	VocabSize     int
	Hidden        int // width of the residual stream
	Layers        int
	Heads         int // query heads
	KVHeads       int // key and value heads
	HeadDim       int
	Intermediate  int // width of the feed-forward layer
	MaxPositions  int // context length
	RMSEps        float32
	RopeTheta     float64
	RopeScaling   *RopeScaling // nil: none
	TieEmbeddings bool         // the output head is the embedding matrix
	AttentionBias bool
	MLPBias       bool
	BOS           int   // -1: none
	EOS           []int // any of them ends a text
	DType         string
	Raw           json.RawMessage // config.json as read
}

// RopeScaling stretches rotary position embeddings beyond the trained context.
type RopeScaling struct {
	Type            string  // "linear" or "llama3"
	Factor          float64 // how much longer
	LowFreqFactor   float64 // llama3 only
	HighFreqFactor  float64 // llama3 only
	OriginalContext float64 // llama3 only
}

// Limits that no Llama-type model comes near. They bound every product of
// dimensions below 2^53, so that sizes computed from a config never overflow.
const (
	maxDim     = 1 << 20
	maxLayers  = 1 << 12
	maxContext = 1 << 24
)

type rawConfig struct {
	Architectures     []string        `json:"architectures"`
	ModelType         string          `json:"model_type"`
	VocabSize         int             `json:"vocab_size"`
	HiddenSize        int             `json:"hidden_size"`
	Layers            int             `json:"num_hidden_layers"`
	Heads             int             `json:"num_attention_heads"`
	KVHeads           *int            `json:"num_key_value_heads"`
	HeadDim           *int            `json:"head_dim"`
	Intermediate      int             `json:"intermediate_size"`
	MaxPositions      *int            `json:"max_position_embeddings"`
	RMSEps            *float64        `json:"rms_norm_eps"`
	RopeTheta         *float64        `json:"rope_theta"`
	RopeScaling       json.RawMessage `json:"rope_scaling"`
	RopeParameters    json.RawMessage `json:"rope_parameters"`
	HiddenAct         string          `json:"hidden_act"`
	Tie               bool            `json:"tie_word_embeddings"`
	AttentionBias     bool            `json:"attention_bias"`
	MLPBias           bool            `json:"mlp_bias"`
	BOS               json.RawMessage `json:"bos_token_id"`
	EOS               json.RawMessage `json:"eos_token_id"`
	DType             string          `json:"torch_dtype"`
	NewDType          string          `json:"dtype"`
	QuantizationSpecs json.RawMessage `json:"quantization_config"`
	CompressionSpecs  json.RawMessage `json:"compression_config"` // its name in 2024
}

// parseConfig reads config.json. Errors do not name the file: the caller does.
func parseConfig(data []byte) (Config, rawConfig, error) {
	var r rawConfig
	if err := json.Unmarshal(data, &r); err != nil {
		return Config{}, r, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	arch := "(none)"
	if len(r.Architectures) > 0 {
		arch = r.Architectures[0]
	} else if r.ModelType == "llama" {
		arch = Architectures()[0]
	}
	if !slices.Contains(Architectures(), arch) {
		return Config{}, r, fmt.Errorf("%w: %s (supported: %s)", ErrArch, source.Quote(arch), strings.Join(Architectures(), ", "))
	}
	if r.HiddenAct != "" && r.HiddenAct != "silu" && r.HiddenAct != "swish" {
		return Config{}, r, fmt.Errorf("%w: hidden_act %s (silu is supported)", ErrUnsupported, source.Quote(r.HiddenAct))
	}
	c := Config{
		Arch: arch, VocabSize: r.VocabSize, Hidden: r.HiddenSize, Layers: r.Layers, Heads: r.Heads,
		KVHeads: r.Heads, Intermediate: r.Intermediate, MaxPositions: 2048, RMSEps: 1e-6, RopeTheta: 10000,
		TieEmbeddings: r.Tie, AttentionBias: r.AttentionBias, MLPBias: r.MLPBias, BOS: -1, DType: r.DType,
		Raw: slices.Clone(data),
	}
	if c.DType == "" {
		c.DType = r.NewDType
	}
	if r.KVHeads != nil {
		c.KVHeads = *r.KVHeads
	}
	if r.MaxPositions != nil {
		c.MaxPositions = *r.MaxPositions
	}
	if r.RMSEps != nil {
		c.RMSEps = float32(*r.RMSEps)
	}
	if r.RopeTheta != nil {
		c.RopeTheta = *r.RopeTheta
	}
	if r.HeadDim != nil {
		c.HeadDim = *r.HeadDim
	} else if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if err := c.parseRope(r.RopeScaling, r.RopeParameters); err != nil {
		return Config{}, r, err
	}
	if bos, err := tokenIDs(r.BOS); err != nil {
		return Config{}, r, fmt.Errorf("%w: bos_token_id: %v", ErrCorrupt, err)
	} else if len(bos) > 0 {
		c.BOS = bos[0]
	}
	var err error
	if c.EOS, err = tokenIDs(r.EOS); err != nil {
		return Config{}, r, fmt.Errorf("%w: eos_token_id: %v", ErrCorrupt, err)
	}
	return c, r, c.validate()
}

func (c *Config) parseRope(scaling, parameters json.RawMessage) error {
	raw := scaling
	if isNull(raw) {
		raw = parameters // the spelling of newer configs, which holds theta as well
	}
	if isNull(raw) {
		return nil
	}
	var r struct {
		Type     string   `json:"rope_type"`
		OldType  string   `json:"type"`
		Theta    *float64 `json:"rope_theta"`
		Factor   float64  `json:"factor"`
		Low      float64  `json:"low_freq_factor"`
		High     float64  `json:"high_freq_factor"`
		Original float64  `json:"original_max_position_embeddings"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("%w: rope_scaling: %v", ErrCorrupt, err)
	}
	if r.Theta != nil {
		c.RopeTheta = *r.Theta
	}
	if r.Type == "" {
		r.Type = r.OldType
	}
	switch r.Type {
	case "", "default":
		return nil
	case "linear":
		if !(r.Factor >= 1) {
			return fmt.Errorf("%w: rope_scaling factor %g is not at least 1", ErrCorrupt, r.Factor)
		}
	case "llama3":
		if !(r.Factor >= 1 && r.Low > 0 && r.High > r.Low && r.Original > 0) {
			return fmt.Errorf("%w: rope_scaling of type llama3 needs factor, low_freq_factor < high_freq_factor and original_max_position_embeddings", ErrCorrupt)
		}
	default:
		return fmt.Errorf("%w: rope_scaling type %s (default, linear and llama3 are supported)", ErrUnsupported, source.Quote(r.Type))
	}
	c.RopeScaling = &RopeScaling{Type: r.Type, Factor: r.Factor, LowFreqFactor: r.Low, HighFreqFactor: r.High, OriginalContext: r.Original}
	return nil
}

func (c *Config) validate() error {
	for _, d := range []struct {
		name       string
		value, max int
	}{
		{"vocab_size", c.VocabSize, maxDim * 4}, {"hidden_size", c.Hidden, maxDim}, {"num_hidden_layers", c.Layers, maxLayers},
		{"num_attention_heads", c.Heads, maxDim}, {"num_key_value_heads", c.KVHeads, maxDim}, {"head_dim", c.HeadDim, maxDim},
		{"intermediate_size", c.Intermediate, maxDim}, {"max_position_embeddings", c.MaxPositions, maxContext},
	} {
		if d.value <= 0 || d.value > d.max {
			return fmt.Errorf("%w: %s is %d, not between 1 and %d", ErrCorrupt, d.name, d.value, d.max)
		}
	}
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("%w: %d attention heads are no multiple of %d key-value heads", ErrCorrupt, c.Heads, c.KVHeads)
	case c.Heads > maxDim/c.HeadDim:
		return fmt.Errorf("%w: %d heads of %d are too many", ErrCorrupt, c.Heads, c.HeadDim)
	case c.HeadDim%2 != 0:
		return fmt.Errorf("%w: head_dim %d is odd, rotary embeddings need pairs", ErrUnsupported, c.HeadDim)
	case !(c.RopeTheta > 0), !(c.RMSEps >= 0):
		return fmt.Errorf("%w: rope_theta and rms_norm_eps must be positive", ErrCorrupt)
	}
	return nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// tokenIDs reads a token id, a list of them, or nothing. Negative ids, by which
// some say that there is none, are left out.
func tokenIDs(raw json.RawMessage) ([]int, error) {
	if isNull(raw) {
		return nil, nil
	}
	many := make([]float64, 1) // numbers such as 2.0 are whole, too
	if json.Unmarshal(raw, &many[0]) != nil && json.Unmarshal(raw, &many) != nil {
		return nil, errors.New("neither a token id nor a list of them")
	}
	var ids []int
	for _, v := range many {
		if v != math.Trunc(v) || v > math.MaxInt32 {
			return nil, fmt.Errorf("%g, no token id", v)
		}
		if v >= 0 {
			ids = append(ids, int(v))
		}
	}
	return ids, nil
}

// CheckTokens reports the first token that the model has no row for, as where a
// tokenizer got tokens that the embedding did not.
func (c Config) CheckTokens(ids []int32) error {
	for _, id := range ids {
		if id < 0 || int(id) >= c.VocabSize {
			return fmt.Errorf("%w: token %d is outside the vocabulary of %d that config.json gives", ErrTokens, id, c.VocabSize)
		}
	}
	return nil
}

// Module is one matrix of the model that can be quantized.
type Module struct {
	Name       string // "model.layers.0.self_attn.q_proj"
	Kind       string // "q", "k", "v", "o", "gate", "up", "down", "embed" or "head"
	Layer      int    // -1 for embed and head
	Rows, Cols int    // outputs, inputs
	Tied       bool   // an embedding that is the output head as well
}

// The names of the two matrices outside the layers.
const (
	EmbedModule = "model.embed_tokens"
	HeadModule  = "lm_head"
)

// Modules lists the quantizable matrices in the order of the forward pass. With
// tied embeddings the embedding is listed once, as "embed".
func (c Config) Modules() []Module {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	ms := []Module{{EmbedModule, "embed", -1, c.VocabSize, c.Hidden, c.TieEmbeddings}}
	for l := range c.Layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		ms = append(ms,
			Module{p + "self_attn.q_proj", "q", l, q, c.Hidden, false},
			Module{p + "self_attn.k_proj", "k", l, kv, c.Hidden, false},
			Module{p + "self_attn.v_proj", "v", l, kv, c.Hidden, false},
			Module{p + "self_attn.o_proj", "o", l, c.Hidden, q, false},
			Module{p + "mlp.gate_proj", "gate", l, c.Intermediate, c.Hidden, false},
			Module{p + "mlp.up_proj", "up", l, c.Intermediate, c.Hidden, false},
			Module{p + "mlp.down_proj", "down", l, c.Hidden, c.Intermediate, false})
	}
	if !c.TieEmbeddings {
		ms = append(ms, Module{HeadModule, "head", -1, c.VocabSize, c.Hidden, false})
	}
	return ms
}

// HasBias reports whether the module of that kind has a bias vector.
func (c Config) HasBias(kind string) bool {
	switch kind {
	case "q", "k", "v", "o":
		return c.AttentionBias
	case "gate", "up", "down":
		return c.MLPBias
	}
	return false
}

// Norms lists the names of the normalization vectors, each Hidden long.
func (c Config) Norms() []string {
	var names []string
	for l := range c.Layers {
		names = append(names, fmt.Sprintf("model.layers.%d.input_layernorm.weight", l),
			fmt.Sprintf("model.layers.%d.post_attention_layernorm.weight", l))
	}
	return append(names, "model.norm.weight")
}
