package arch

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// GGUFKey is one of the keys by which a GGUF file describes a model.
type GGUFKey struct {
	Name  string
	Value any
}

// GGUFFile is what a GGUF file says of a model, its weights and tokenizer apart.
type GGUFFile struct {
	Keys    []GGUFKey
	Sources map[string]Stored    // where the file has each tensor of the description
	Factors map[string][]float32 // tensors that belong to no other: what frequencies are divided by
}

// otherForms are the values of general.architecture of families that share another's.
var otherForms = map[string]string{"mistral": "llama", "ministral": "llama", "mixtral": "llama", "yi": "llama", "internlm3": "llama", "internlm2": "internlm2",
	"deepseek_v3": "deepseek2", "kimi_k2": "deepseek2", "olmo3": "olmo2", "granitemoeshared": "granitemoe"}

// formOf finds the form in which a family is written: of several the plainest.
func formOf(family string) (ggufForm, bool) {
	family = strings.TrimSuffix(family, "_text")
	best, ok := ggufForms[otherForms[family]]
	for _, name := range slices.Sorted(maps.Keys(ggufForms)) {
		if f := ggufForms[name]; !ok && strings.TrimSuffix(f.kind, "_text") == family && (best.arch == "" || len(name) < len(best.arch)) {
			best = f
		}
	}
	return best, best.arch != ""
}

// GGUF returns what a GGUF file says of a model whose config.json is given. Whether
// that is all that the model computes, reading it back tells: see [Model.Differs].
func (m *Model) GGUF(config []byte) (*GGUFFile, error) {
	f, ok := formOf(m.Family)
	if !ok {
		return nil, fmt.Errorf("%w %s: its form in GGUF files is not known", ErrFamily, m.Family)
	}
	values, err := Flatten(config)
	if err != nil {
		return nil, err
	}
	k := &ggufKeys{m: m, arch: f.arch, values: values, factors: map[string][]float32{}}
	k.usual()
	if f.write != nil {
		f.write(k)
	}
	g := &GGUF{Values: map[string]any{"general.architecture": f.arch}, Shape: func(tensor string) []int { return f.written(m, tensor) }}
	return &GGUFFile{Keys: k.keys, Sources: g.Tensors(m), Factors: k.factors}, nil
}

// written answers for a file that is still to be written which of the tensors are
// there that files may have in several ways. Those that it has are as large as one
// likes.
func (f ggufForm) written(m *Model, tensor string) []int {
	const large = 1 << 40
	name, b := strings.TrimSuffix(tensor, ".weight"), (*Block)(nil)
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		number, part, _ := strings.Cut(rest, ".")
		if l, err := strconv.Atoi(number); err == nil && l < len(m.Blocks) {
			name, b = part, &m.Blocks[l]
		}
	}
	there := true
	switch name {
	case "attn_qkv", "ffn_gate", "attn_norm_2":
		there = b != nil && slices.ContainsFunc(slices.Collect(b.Ops()), func(op Op) bool {
			switch o := op.(type) {
			case *Attention:
				return name == "attn_qkv" && o.Fused != nil && !f.apart
			case *MLP:
				return name == "ffn_gate" && (o.GateUp == nil || !f.gateUp)
			case *MoE:
				return name == "ffn_gate" && o.Shared != nil && (o.Shared.GateUp == nil || !f.gateUp)
			}
			return false
		})
		if name == "attn_norm_2" && b != nil {
			there = b.Parallel && len(b.Steps) > 1 && b.Steps[1].Branches[0].Pre != b.Steps[0].Branches[0].Pre
		}
	case "attn_k_b":
		for op := range b.Ops() {
			if a, ok := op.(*LatentAttention); ok {
				return []int{a.Heads, large, large}
			}
		}
	case "ffn_gate_up_exps", "ssm_in":
		there = false
	}
	if !there {
		return nil
	}
	return []int{large, large}
}

// ggufKeys collects the keys of a model.
type ggufKeys struct {
	m       *Model
	arch    string
	values  map[string]json.RawMessage // of config.json
	keys    []GGUFKey
	factors map[string][]float32
}

// set adds a key of the architecture, or gives it another value.
func (k *ggufKeys) set(name string, value any) {
	switch v := value.(type) {
	case int:
		value = uint32(v)
	case float64:
		value = float32(v)
	}
	name = k.arch + "." + name
	if i := slices.IndexFunc(k.keys, func(x GGUFKey) bool { return x.Name == name }); i >= 0 {
		k.keys[i].Value = value
		return
	}
	k.keys = append(k.keys, GGUFKey{name, value})
}

// setEach adds a number of each layer, or one if all are alike.
func (k *ggufKeys) setEach(name string, all []int32) {
	if len(slices.Compact(slices.Clone(all))) == 1 {
		k.set(name, uint32(all[0]))
	} else {
		k.set(name, all)
	}
}

// nonZero adds a number that is not 0.
func (k *ggufKeys) nonZero(name string, v float32) {
	if v != 0 {
		k.set(name, v)
	}
}

// usual adds the keys that most families have.
func (k *ggufKeys) usual() {
	m := k.m
	k.set("vocab_size", m.Vocab)
	k.set("context_length", m.Positions)
	k.set("embedding_length", m.Hidden)
	k.set("block_count", len(m.Blocks))
	heads, kv, inner := make([]int32, len(m.Blocks)), make([]int32, len(m.Blocks)), make([]int32, len(m.Blocks))
	most, expert := int32(0), int32(0)
	for i := range m.Blocks {
		for op := range m.Blocks[i].Ops() {
			switch o := op.(type) {
			case *Attention:
				heads[i], kv[i] = int32(o.Heads), int32(o.KVHeads)
			case *LatentAttention:
				heads[i], kv[i] = int32(o.Heads), 1
			case *MLP:
				inner[i] = int32(o.Inner)
			case *MoE:
				if expert = int32(o.Experts[0].Inner); k.values["intermediate_size"] != nil { // though no layer has it
					_ = json.Unmarshal(k.values["intermediate_size"], &expert)
				}
			}
		}
		most = max(most, heads[i])
	}
	for i := range inner {
		heads[i] = most
		if inner[i] == 0 {
			inner[i] = cmp.Or(slices.Max(inner), expert)
		}
	}
	k.setEach("feed_forward_length", inner)
	k.setEach("attention.head_count", heads)
	k.setEach("attention.head_count_kv", kv)
	a := k.attention()
	if a != nil {
		k.set("attention.key_length", a.HeadDim)
		k.set("attention.value_length", a.HeadDim)
	}
	for i, key := range []string{RMSNorm: "attention.layer_norm_rms_epsilon", LayerNorm: "attention.layer_norm_epsilon"} {
		if n := k.norm(NormKind(i)); n != nil {
			k.set(key, n.Eps)
		}
	}
	if a != nil {
		k.heads(a)
	}
	k.nonZero("final_logit_softcapping", m.Head.SoftCap)
	k.experts()
}

// norm is the first of a kind that the stream passes, nil for none.
func (k *ggufKeys) norm(kind NormKind) *Norm {
	all := []*Norm{k.m.Norm}
	for i := range k.m.Blocks {
		for _, s := range k.m.Blocks[i].Steps {
			for _, b := range s.Branches {
				all = append(all, b.Pre, b.Post)
			}
			all = append(all, s.Norm, s.After)
		}
	}
	if i := slices.IndexFunc(all, func(n *Norm) bool { return n != nil && n.Kind == kind }); i >= 0 {
		return all[i]
	}
	return nil
}

// attention is that of the first layer that sees all, or else of the first that has
// any, nil for none.
func (k *ggufKeys) attention() (found *Attention) {
	for i := range k.m.Blocks {
		for op := range k.m.Blocks[i].Ops() {
			a, ok := op.(*Attention)
			if ok && (found == nil || a.Rope != nil && (found.Rope == nil || a.Window == 0 && found.Window > 0)) {
				found = a
			}
		}
	}
	return found
}

// window is that of the first layer that has one.
func (k *ggufKeys) window() (found *Attention) {
	for i := range k.m.Blocks {
		for op := range k.m.Blocks[i].Ops() {
			if a, ok := op.(*Attention); ok && a.Window > 0 && found == nil {
				found = a
			}
		}
	}
	return found
}

// heads adds what attention has beside heads.
func (k *ggufKeys) heads(a *Attention) {
	k.nonZero("attention.clamp_kqv", a.Clip)
	k.nonZero("attn_logit_softcapping", a.SoftCap)
	if a.Slopes != nil {
		k.set("attention.max_alibi_bias", float32(8))
	}
	w := k.window()
	if w != nil {
		k.set("attention.sliding_window", w.Window)
	}
	if r := a.Rope; r != nil {
		k.rotation(r, 2*len(r.Frequencies))
	}
	if w != nil && w.Rope != nil && a.Rope != nil && w.Rope.Base != a.Rope.Base {
		k.set("rope.freq_base_swa", w.Rope.Base)
	}
}

// layersWithWindow says which layers have one.
func (k *ggufKeys) layersWithWindow() {
	if k.window() == nil {
		return
	}
	all := make([]bool, len(k.m.Blocks))
	for i := range k.m.Blocks {
		for op := range k.m.Blocks[i].Ops() {
			if a, ok := op.(*Attention); ok && a.Window > 0 {
				all[i] = true
			}
		}
	}
	k.set("attention.sliding_window_pattern", all)
}

// rotation adds the keys of rotary embeddings, and the tensors of their factors.
func (k *ggufKeys) rotation(r *Rope, turning int) {
	k.set("rope.dimension_count", turning)
	k.set("rope.freq_base", r.Base)
	scaling := k.scaling()
	divisors := func(f []float64) []float32 {
		out := make([]float32, len(f))
		for i, v := range f {
			out[i] = float32(math.Min(math.Pow(r.Base, -float64(i)/float64(len(f)))/v, 1e30)) // of pairs that do not turn
		}
		return out
	}
	switch d := divisors(r.Frequencies); {
	case scaling.kind == "yarn":
		k.set("rope.scaling.type", "yarn")
		k.set("rope.scaling.factor", scaling.Factor)
		k.set("rope.scaling.original_context_length", int(scaling.Original))
		k.set("rope.scaling.yarn_beta_fast", scaling.Fast)
		k.set("rope.scaling.yarn_beta_slow", scaling.Slow)
		if scaling.Attention != nil {
			k.set("rope.scaling.yarn_attn_factor", *scaling.Attention)
		}
	case r.Long != nil || r.Magnitude != 1:
		long := d
		if r.Long != nil {
			long = divisors(r.Long)
			k.set("rope.scaling.original_context_length", r.LongFrom)
		}
		k.set("rope.scaling.type", "longrope")
		k.set("rope.scaling.attn_factor", r.Magnitude)
		k.factors["rope_factors_short.weight"], k.factors["rope_factors_long.weight"] = d, long
	case closeTo(d[0], slices.Min(d)) && closeTo(d[0], slices.Max(d)):
		if !closeTo(d[0], 1) {
			k.set("rope.scaling.type", "linear")
			k.set("rope.scaling.factor", d[0])
		}
	default:
		k.factors["rope_freqs.weight"] = d
	}
}

// closeTo compares factors that computing rounded.
func closeTo(a, b float32) bool { return math.Abs(float64(a-b)) <= 1e-5*math.Abs(float64(b)) }

// scaling is what config.json says of a rotation.
type ggufScaling struct {
	kind      string
	Factor    float64  `json:"factor"`
	Original  float64  `json:"original_max_position_embeddings"`
	Fast      float64  `json:"beta_fast"`
	Slow      float64  `json:"beta_slow"`
	All       float64  `json:"mscale_all_dim"`
	Attention *float64 `json:"attention_factor"`
	Sections  []int32  `json:"mrope_section"`
}

func (k *ggufKeys) scaling() ggufScaling {
	s := ggufScaling{Fast: 32, Slow: 1}
	for _, key := range []string{"rope_parameters", "rope_scaling"} {
		raw := k.values[key]
		var all map[string]json.RawMessage
		if json.Unmarshal(raw, &all) != nil {
			continue
		}
		if inner, ok := all[fullAttention]; ok {
			raw = inner
		}
		var kind struct{ Type, RopeType string }
		_ = json.Unmarshal(raw, &struct {
			*ggufScaling
			Type     *string `json:"type"`
			RopeType *string `json:"rope_type"`
		}{&s, &kind.Type, &kind.RopeType}) // the description was made of it
		if s.kind = kind.RopeType; s.kind == "" {
			s.kind = kind.Type
		}
	}
	if s.Original == 0 {
		_ = json.Unmarshal(k.values["original_max_position_embeddings"], &s.Original)
	}
	return s
}

// experts adds the keys of mixtures, and how many layers before them have none.
func (k *ggufKeys) experts() {
	for i := range k.m.Blocks {
		for op := range k.m.Blocks[i].Ops() {
			e, ok := op.(*MoE)
			if !ok {
				continue
			}
			k.set("expert_count", len(e.Experts))
			k.set("expert_used_count", e.TopK)
			k.set("expert_feed_forward_length", e.Experts[0].Inner)
			k.set("expert_weights_norm", e.Routing.Renormalize)
			if e.Routing.Factor != 1 {
				k.set("expert_weights_scale", e.Routing.Factor)
			}
			if i > 0 {
				k.set("leading_dense_block_count", i)
			}
			if e.Shared != nil {
				k.set("expert_shared_feed_forward_length", e.Shared.Inner)
			}
			if e.Routing.Score == SigmoidScore {
				k.set("expert_gating_func", 2)
			}
			if e.Routing.Groups > 1 {
				k.set("expert_group_count", e.Routing.Groups)
				k.set("expert_group_used_count", e.Routing.TopGroups)
			}
			return
		}
	}
}

// sharedExperts says how many experts' width the one has that meets every token.
func (k *ggufKeys) sharedExperts() {
	for i := range k.m.Blocks {
		for op := range k.m.Blocks[i].Ops() {
			if e, ok := op.(*MoE); ok && e.Shared != nil {
				k.set("expert_shared_count", e.Shared.Inner/e.Experts[0].Inner)
			}
		}
	}
}

// scales adds the multipliers of Granite and MiniCPM.
func (k *ggufKeys) scales() {
	k.set("embedding_scale", k.m.Embed.Scale)
	k.set("residual_scale", k.m.Blocks[0].Steps[0].Scale)
	k.set("logit_scale", 1/k.m.Head.Scale)
}
