package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"nibble/model/arch"
)

// Config is what config.json says of a model: its description, and what is not
// part of that.
type Config struct {
	*arch.Model

	Arch  string // "LlamaForCausalLM"
	BOS   int    // -1: none
	EOS   []int  // any of them ends a text
	DType string
	Raw   json.RawMessage // config.json as read, in standard JSON

	modules []Module
}

// rawConfig is what is read beside the description.
type rawConfig struct {
	Architectures     []string        `json:"architectures"`
	BOS               json.RawMessage `json:"bos_token_id"`
	EOS               json.RawMessage `json:"eos_token_id"`
	DType             string          `json:"torch_dtype"`
	NewDType          string          `json:"dtype"`
	QuantizationSpecs json.RawMessage `json:"quantization_config"`
	CompressionSpecs  json.RawMessage `json:"compression_config"` // its name in 2024
}

// ParseConfig reads config.json. stored reports whether the model's files hold a
// tensor; it is nil when only the config is known. Errors do not name the file:
// the caller does.
func ParseConfig(data []byte, stored func(tensor string) bool) (Config, error) {
	c, _, err := parseConfig(data, stored)
	return c, err
}

func parseConfig(data []byte, stored func(tensor string) bool) (Config, rawConfig, error) {
	var r rawConfig
	values, err := arch.Flatten(data)
	if err != nil {
		return Config{}, r, describeError(err)
	}
	flat, err := json.Marshal(values)
	if err != nil {
		return Config{}, r, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if err := json.Unmarshal(flat, &r); err != nil {
		return Config{}, r, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	c := Config{BOS: -1, DType: r.DType, Raw: slices.Clone(arch.StandardJSON(data))}
	if c.DType == "" {
		c.DType = r.NewDType
	}
	if len(r.Architectures) > 0 {
		c.Arch = r.Architectures[0]
	}
	if bos, err := tokenIDs(r.BOS); err != nil {
		return Config{}, r, fmt.Errorf("%w: bos_token_id: %v", ErrCorrupt, err)
	} else if len(bos) > 0 {
		c.BOS = bos[0]
	}
	if c.EOS, err = tokenIDs(r.EOS); err != nil {
		return Config{}, r, fmt.Errorf("%w: eos_token_id: %v", ErrCorrupt, err)
	}
	if c.Model, err = arch.Read(data, stored); err != nil {
		return Config{}, r, describeError(err)
	}
	if c.Arch == "" {
		c.Arch = c.Family
	}
	c.modules = modulesOf(c.Model)
	return c, r, nil
}

// describeError says a description's errors in the words of this package.
func describeError(err error) error {
	for from, to := range map[error]error{arch.ErrFamily: ErrArch, arch.ErrConfig: ErrCorrupt, arch.ErrKeys: ErrCorrupt} {
		if errors.Is(err, from) {
			return fmt.Errorf("%w: %w", to, err)
		}
	}
	return err
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
		if id < 0 || int(id) >= c.Vocab {
			return fmt.Errorf("%w: token %d is outside the vocabulary of %d that config.json gives", ErrTokens, id, c.Vocab)
		}
	}
	return nil
}

// Module is one matrix of the model that can be quantized.
type Module struct {
	Name       string // "model.layers.0.self_attn.q_proj"
	Kind       string // its role, such as "q" or "down"
	Layer      int    // -1 for embed and head
	Rows, Cols int    // outputs, inputs
	Tied       bool   // an embedding that is the output head as well
	Linear     *arch.Linear
}

// Label is what a screen calls the matrix: "embed", "layer 3 q", or of an expert
// "layer 3 gate 17".
func (m Module) Label() string {
	switch {
	case m.Layer < 0:
		return m.Kind
	case m.Linear != nil && m.Linear.Expert >= 0:
		return fmt.Sprintf("layer %d %s %d", m.Layer, m.Kind, m.Linear.Expert)
	}
	return fmt.Sprintf("layer %d %s", m.Layer, m.Kind)
}

// TokenRows reports whether the rows of the matrix stand for tokens: those of an
// embedding, of what a family looks up by token beside it, and of the output head.
func (m Module) TokenRows() bool {
	if m.Linear == nil {
		return m.Layer < 0
	}
	switch m.Linear.Role {
	case arch.RoleEmbed, arch.RoleHead, arch.RolePerLayerTable:
		return true
	}
	return false
}

// modulesOf lists the matrices of a description that can be quantized.
func modulesOf(m *arch.Model) []Module {
	var ms []Module
	for _, l := range m.Linears() {
		if !l.Keep {
			ms = append(ms, Module{l.Path, string(l.Role), l.Layer, l.Rows, l.Cols, m.Tied && l.Role == arch.RoleEmbed, l})
		}
	}
	return ms
}

// Modules lists the quantizable matrices in the order of the forward pass. With
// tied embeddings the embedding is listed once, as "embed".
func (c Config) Modules() []Module { return slices.Clone(c.modules) }

// Layers returns the number of blocks.
func (c Config) Layers() int { return len(c.Blocks) }

// Params returns the number of parameters, tied matrices counted once.
func (c Config) Params() int64 {
	n := int64(0)
	for _, m := range c.modules {
		n += int64(m.Rows) * int64(m.Cols)
	}
	for _, d := range c.Floats() {
		n += d.elements()
	}
	return n
}

// Floats lists the tensors that are never quantized, each once: small matrices,
// biases, norms and tables.
func (c Config) Floats() []Described {
	var all []Described
	seen := map[string]bool{}
	add := func(d Described) {
		if !seen[d.Name] {
			seen[d.Name] = true
			all = append(all, d)
		}
	}
	for _, l := range c.Linears() {
		if l.Keep {
			add(weightOf(l))
		}
		if l.Bias != nil {
			add(Described{l.Path + ".bias", l.Bias.View, []int{l.Rows}})
		}
	}
	for _, v := range c.Vectors() {
		for _, p := range v.Parts {
			add(Described{p, arch.View{Tensor: p, Expert: -1}, []int{v.Len / len(v.Parts)}})
		}
		if v.Parts != nil {
			continue
		}
		shape := v.Dims
		if shape == nil {
			shape = []int{v.Len}
		}
		add(Described{v.Tensor, v.View, shape})
	}
	return all
}

// Described lists all tensors of the model, matrices by the names that they have
// when they are not quantized, each once.
func (c Config) Described() []Described {
	var all []Described
	for _, m := range c.modules {
		all = append(all, weightOf(m.Linear))
	}
	return append(all, c.Floats()...)
}

// Described is a tensor as the description has it, which may be a part of a
// stored one, or lie otherwise in it.
type Described struct {
	Name  string
	View  arch.View
	Shape []int // of matrices: outputs, inputs; of others: their dimensions
}

// elements is how many it has.
func (d Described) elements() int64 {
	n := int64(1)
	for _, s := range d.Shape {
		n *= int64(s)
	}
	return n
}

// weightOf is the matrix of a Linear.
func weightOf(l *arch.Linear) Described {
	return Described{l.Path + ".weight", l.View, []int{l.Rows, l.Cols}}
}
