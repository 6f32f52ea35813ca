package arch

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"nibble/model/source"
)

// GGUF is what a GGUF file says of its model. Families turn it into the config.json
// that the same model has as a Hugging Face directory.
type GGUF struct {
	Values map[string]any // of the header
	Count  int            // of tensors
	// Shape returns the dimensions of a tensor, outermost first; nil if there is none.
	Shape func(tensor string) []int
	// Floats returns the elements of a small tensor; nil if there is none, or if it is
	// too large or of a type that is not read.
	Floats func(tensor string) []float32

	arch string // general.architecture, before most keys
	err  error
}

// ggufForm is a family's side in GGUF files. One that uses the usual keys, names and
// order of rows needs the names alone.
type ggufForm struct {
	arch  string // general.architecture
	kind  string // model_type
	class string // of transformers

	keys    map[string]string            // config.json's spelling of usual keys; "" for none
	config  func(g *GGUF, c ggufConfig)  // what else the config has
	names   map[string]string            // of tensors, for the usual ones, where the file has them
	paired  bool                         // rows of queries and keys lie so that pairs that turn are adjacent
	partial bool                         // the class turns a part of each head unless told otherwise
	tensors func(w *ggufNames, m *Model) // changes where tensors lie that do not as usual

	write  func(k *ggufKeys) // what else a file says that is written
	apart  bool              // which then has queries, keys and values of fused matrices apart,
	gateUp bool              // and fused gates and ups together
}

// ggufConfig is a config.json in the making.
type ggufConfig map[string]any

// ggufForms holds every form by its general.architecture.
var ggufForms = map[string]ggufForm{}

// registerGGUF adds forms; it is called by variables of the files of the families.
func registerGGUF(forms ...ggufForm) bool {
	for _, f := range forms {
		if _, twice := ggufForms[f.arch]; twice {
			panic("arch: GGUF architecture " + f.arch + " is registered twice")
		}
		ggufForms[f.arch] = f
	}
	return true
}

// GGUFArchitectures lists the values of general.architecture that [GGUF.Config] knows.
func GGUFArchitectures() []string { return slices.Sorted(maps.Keys(ggufForms)) }

// Config returns the config.json of the model. Errors wrap [ErrFamily] or
// [ErrKeys].
func (g *GGUF) Config() ([]byte, error) {
	f, err := g.form()
	if err != nil {
		return nil, err
	}
	c := g.usual(f)
	if g.err == nil && f.config != nil {
		f.config(g, c)
	}
	for usual, own := range f.keys {
		if v, ok := c[usual]; ok && own != "" {
			c[own] = v
		}
		if own != usual {
			delete(c, usual)
		}
	}
	if g.err != nil {
		return nil, g.err
	}
	return json.MarshalIndent(c, "", "  ")
}

// form finds the form of general.architecture.
func (g *GGUF) form() (ggufForm, error) {
	name, _ := g.Values["general.architecture"].(string)
	f, ok := ggufForms[name]
	if !ok {
		return f, fmt.Errorf("%w %s of a GGUF file", ErrFamily, source.Quote(name))
	}
	g.arch = name
	return f, nil
}

// usual translates the keys that most families share.
func (g *GGUF) usual(f ggufForm) ggufConfig {
	c := ggufConfig{"model_type": f.kind, "architectures": []string{f.class}}
	heads, hidden := g.int("attention.head_count", 0), g.int("embedding_length", 0)
	c["hidden_size"] = hidden
	blocks := g.int("block_count", 0)
	if blocks > g.Count { // before any of them is described
		g.fail("block_count is %d, and the file has %d tensors", blocks, g.Count)
	}
	c["num_hidden_layers"] = blocks - g.int("nextn_predict_layers", 0)
	c["num_attention_heads"] = heads
	c["num_key_value_heads"] = g.int("attention.head_count_kv", heads)
	c["max_position_embeddings"] = g.int("context_length", 0)
	c["intermediate_size"] = g.int("feed_forward_length", 4*hidden)
	c["head_dim"] = g.headDim()
	if shape := g.Shape("token_embd.weight"); len(shape) == 2 {
		c["vocab_size"] = shape[0]
	}
	c["tie_word_embeddings"] = !g.has("output.weight")
	c["attention_bias"] = g.has("blk.0.attn_q.bias") || g.has("blk.0.attn_qkv.bias")
	if g.has("blk.0.ffn_up.bias") {
		c["mlp_bias"] = true
	}
	g.copy(c, "rms_norm_eps", "attention.layer_norm_rms_epsilon")
	g.copy(c, "layer_norm_eps", "attention.layer_norm_epsilon")
	if n := g.int("attention.sliding_window", 0); n > 0 {
		c["sliding_window"] = n
	}
	g.rotation(f, c)
	for key, id := range map[string]string{"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"} {
		if v, ok := number(g.Values["tokenizer.ggml."+id]); ok {
			c[key] = v
		}
	}
	return c
}

// rotation translates the keys of rotary embeddings, and the tensors that hold what
// frequencies are divided by.
func (g *GGUF) rotation(f ggufForm, c ggufConfig) {
	theta := float32(10000)
	if v, ok := g.float("rope.freq_base"); ok {
		theta = v
	}
	c["rope_theta"] = theta
	dim := g.headDim()
	if turning := g.int("rope.dimension_count", dim); dim > 0 && (turning != dim || f.partial) {
		c["partial_rotary_factor"] = float64(turning) / float64(dim)
	}
	original := g.int("rope.scaling.original_context_length", g.int("context_length", 0))
	factor, scaled := g.float("rope.scaling.factor")
	if !scaled {
		factor, scaled = g.float("rope.scale_linear")
	}
	s := map[string]any{}
	short, long := g.Floats("rope_factors_short.weight"), g.Floats("rope_factors_long.weight")
	if divisors := g.Floats("rope_freqs.weight"); divisors != nil {
		short, long = divisors, divisors // as if a scaling by length did not depend on it
	}
	switch kind := g.string("rope.scaling.type", "linear"); {
	case short != nil && long != nil:
		s["rope_type"], s["short_factor"], s["long_factor"] = "longrope", short, long
		s["attention_factor"] = float32(1)
		g.copy(s, "attention_factor", "rope.scaling.attn_factor")
		c["original_max_position_embeddings"] = original
	case kind == "linear" && scaled && factor != 1 && factor != 0:
		s["rope_type"], s["factor"] = "linear", factor
	case kind == "yarn":
		s["rope_type"], s["factor"], s["original_max_position_embeddings"] = "yarn", factor, original
		g.copy(s, "beta_fast", "rope.scaling.yarn_beta_fast")
		g.copy(s, "beta_slow", "rope.scaling.yarn_beta_slow")
		g.copy(s, "attention_factor", "rope.scaling.yarn_attn_factor")
	case kind != "linear" && kind != "none":
		g.fail("rope.scaling.type is %s (none, linear, yarn and longrope are known)", source.Quote(kind))
	}
	if len(s) > 0 {
		c["rope_scaling"] = s
	}
}

// headDim is the width of a head.
func (g *GGUF) headDim() int {
	return g.int("attention.key_length", g.int("embedding_length", 0)/max(g.int("attention.head_count", 1), 1))
}

// experts translates the keys of mixtures; count is config.json's name of how many
// there are.
func (g *GGUF) experts(c ggufConfig, count string) {
	n, stack := g.int("expert_count", 0), 0
	for l := range min(g.int("block_count", 0), g.Count) {
		if shape := g.Shape(fmt.Sprintf("blk.%d.ffn_down_exps.weight", l)); len(shape) == 3 {
			stack = shape[0]
			break
		}
	}
	if n != stack {
		g.fail("expert_count is %d, and there are tensors of %d", n, stack)
	}
	c[count] = n
	c["num_experts_per_tok"] = g.int("expert_used_count", 0)
	if n := g.int("expert_feed_forward_length", 0); n > 0 {
		c["moe_intermediate_size"] = n
	}
}

// layerTypes makes layer_types of the truth of each layer: yes and no are what it
// is.
func (c ggufConfig) layerTypes(of []bool, yes, no string) {
	types := make([]string, len(of))
	for i, v := range of {
		types[i] = no
		if v {
			types[i] = yes
		}
	}
	c["layer_types"] = types
}

// windows translates which layers have a window, where the file says that of each.
func (g *GGUF) windows(c ggufConfig) {
	if pattern := g.bools("attention.sliding_window_pattern"); pattern != nil {
		c.layerTypes(pattern, slidingAttention, fullAttention)
	} else if n := g.int("attention.sliding_window_pattern", 0); n > 0 {
		c["sliding_window_pattern"] = n
	}
}

// has reports whether the file holds a tensor.
func (g *GGUF) has(tensor string) bool { return g.Shape(tensor) != nil }

func (g *GGUF) fail(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf("%w: %s.%s", ErrKeys, g.arch, fmt.Sprintf(format, args...))
	}
}

func (g *GGUF) value(key string) any { return g.Values[g.arch+"."+key] }

// int returns a whole number; of one for each layer, the largest. Without the key it
// is def.
func (g *GGUF) int(key string, def int) int {
	v := g.value(key)
	if v == nil {
		return def
	}
	if all := numberList(v); len(all) > 0 {
		return slices.Max(all)
	}
	n, ok := number(v)
	if !ok {
		g.fail("%s is %v, not a whole number", key, v)
		return def
	}
	return n
}

// ints returns a number for each of n layers.
func (g *GGUF) ints(key string, n int) []int {
	v := g.value(key)
	all := numberList(v)
	if one, ok := number(v); ok && n <= maxLayers {
		all = slices.Repeat([]int{one}, max(n, 0))
	}
	if len(all) < n {
		g.fail("%s has %d numbers for %d layers", key, len(all), n)
		return make([]int, min(max(n, 0), maxLayers))
	}
	return all
}

func (g *GGUF) float(key string) (float32, bool) {
	switch v := g.value(key).(type) {
	case float32:
		return v, true
	case float64:
		return float32(v), true
	}
	if n, ok := number(g.value(key)); ok {
		return float32(n), true
	}
	return 0, false
}

func (g *GGUF) string(key, def string) string {
	if v, ok := g.value(key).(string); ok {
		return v
	}
	return def
}

func (g *GGUF) bool(key string, def bool) bool {
	if v, ok := g.value(key).(bool); ok {
		return v
	}
	return def
}

// bools returns a list of truth values, nil when there is none.
func (g *GGUF) bools(key string) []bool {
	v, _ := g.value(key).([]bool)
	return v
}

// copy takes a number over under config.json's name, where there is one.
func (g *GGUF) copy(to map[string]any, name, key string) {
	if n, ok := number(g.value(key)); ok {
		to[name] = n
	} else if v, ok := g.float(key); ok {
		to[name] = v
	}
}

// number reads any kind of whole number, bounded so that arithmetic cannot overflow.
func number(v any) (int, bool) {
	var n int64
	switch v := v.(type) {
	case uint8:
		n = int64(v)
	case int8:
		n = int64(v)
	case uint16:
		n = int64(v)
	case int16:
		n = int64(v)
	case uint32:
		n = int64(v)
	case int32:
		n = int64(v)
	case int64:
		n = v
	case uint64:
		n = int64(min(v, 1<<40))
	default:
		return 0, false
	}
	return int(min(max(n, -1<<40), 1<<40)), true
}

// numberList reads a list of whole numbers, nil for anything else.
func numberList(v any) (all []int) {
	switch v := v.(type) {
	case []int32:
		for _, n := range v {
			all = append(all, int(n))
		}
	case []uint32:
		for _, n := range v {
			all = append(all, int(n))
		}
	}
	return all
}
