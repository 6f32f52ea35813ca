package arch

import (
	"fmt"
	"math"
	"strconv"
)

var _ = register(gemma4, "gemma4")

var _ = registerGGUF(ggufForm{arch: "gemma4", kind: "gemma4_text", class: "Gemma4ForCausalLM", config: gemma4GGUF, write: gemma4Keys})

func gemma4Keys(k *ggufKeys) {
	k.layersWithWindow()
	if w := k.window(); w != nil {
		k.set("attention.key_length_swa", w.HeadDim)
		k.set("attention.value_length_swa", w.HeadDim)
		if w.Rope != nil {
			k.set("rope.dimension_count_swa", 2*len(w.Rope.Frequencies))
			k.set("rope.freq_base_swa", w.Rope.Base)
		}
	}
	if p := k.m.Embed.PerLayer; p != nil {
		k.set("embedding_length_per_layer_input", p.Width)
	}
	shared := 0
	for i := range k.m.Blocks {
		for op := range k.m.Blocks[i].Ops() {
			if a, ok := op.(*Attention); ok && a.KVFrom >= 0 {
				shared++
			}
		}
	}
	k.set("attention.shared_kv_layers", shared)
}

func gemma4GGUF(g *GGUF, c ggufConfig) {
	layers := g.int("block_count", 0)
	window := g.bools("attention.sliding_window_pattern")
	if len(window) < layers {
		g.fail("attention.sliding_window_pattern has %d entries for %d layers", len(window), layers)
		return
	}
	window = window[:max(layers, 0)]
	c.layerTypes(window, slidingAttention, fullAttention)
	c["hidden_activation"] = "gelu_pytorch_tanh"
	c["global_head_dim"], c["head_dim"] = g.headDim(), g.int("attention.key_length_swa", g.headDim())
	shared := g.int("attention.shared_kv_layers", 0)
	c["num_kv_shared_layers"] = shared
	heads, inner := g.ints("attention.head_count_kv", layers), g.ints("feed_forward_length", layers)
	c["attention_k_eq_v"] = false
	for l, w := range window {
		if c["intermediate_size"] = min(inner[0], inner[l]); inner[l] > inner[0] {
			c["use_double_wide_mlp"] = true
		}
		if w {
			c["num_key_value_heads"] = heads[l]
		} else if c["num_global_key_value_heads"] = heads[l]; l < layers-shared && !g.has(fmt.Sprintf("blk.%d.attn_v.weight", l)) {
			c["attention_k_eq_v"] = true
		}
	}
	c["final_logit_softcapping"] = nil
	g.copy(c, "final_logit_softcapping", "final_logit_softcapping")
	c["hidden_size_per_layer_input"] = g.int("embedding_length_per_layer_input", 0)
	if shape := g.Shape("per_layer_token_embd.weight"); len(shape) == 2 {
		c["vocab_size_per_layer_input"] = shape[0]
	}
	if c["enable_moe_block"] = g.int("expert_count", 0) > 0; c["enable_moe_block"] == true {
		g.experts(c, "num_experts")
		c["top_k_experts"] = c["num_experts_per_tok"]
	}
	local := map[string]any{"rope_type": "default", "rope_theta": 10000}
	g.copy(local, "rope_theta", "rope.freq_base_swa")
	global := map[string]any{"rope_type": "default", "rope_theta": c["rope_theta"]}
	if divisors := g.Floats("rope_freqs.weight"); len(divisors) > 0 { // 1 for pairs that turn, huge for others
		turning := 0
		for _, d := range divisors {
			if d == 1 {
				turning++
			}
		}
		global["rope_type"], global["partial_rotary_factor"] = "proportional", float64(turning)/float64(len(divisors))
	}
	c["rope_parameters"] = map[string]any{slidingAttention: local, fullAttention: global}
	for _, key := range []string{"rope_scaling", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"} {
		delete(c, key)
	}
}

// gemma4 is Gemma 4: layers with a window beside layers with wider heads, values
// that may be the keys, keys and values that late layers share, inputs for each
// layer, and in the large one experts beside the MLP.
func gemma4(c *Config) *Model {
	c.Default(`{"num_key_value_heads": 4, "head_dim": 256, "global_head_dim": 512, "sliding_window": 512, "max_position_embeddings": 131072,
		"hidden_size_per_layer_input": 256, "num_kv_shared_layers": 0, "final_logit_softcapping": null,
		"rope_parameters": {"sliding_attention": {"rope_theta": 10000}, "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000}}}`)
	d := c.decoder(true)
	d.act = c.Activation(GELUTanh, "hidden_activation")
	types := c.LayerTypes(d.layers, everyNth(6))
	types[d.layers-1] = fullAttention // whatever the config says
	ropes := map[string]*Rope{}       // layers that are alike share one
	ropeOf := func(l int) *Rope {
		dim, _ := d.gemma4Heads(l, types[l])
		key := fmt.Sprint(types[l], dim)
		if ropes[key] == nil {
			ropes[key] = c.Rope(types[l], dim, 10000, 1)
		}
		return ropes[key]
	}
	shared := d.layers - c.Int(0, "num_kv_shared_layers") // layers from here on have no keys of their own
	last := map[string]int{}                              // the block whose keys they use
	for l := range min(max(shared, 0), d.layers) {
		last[types[l]] = l
	}
	width := c.Int(0, "hidden_size_per_layer_input")
	m := d.finish(func(l int) Block {
		a := d.gemma4Attention(l, types[l])
		a.Rope = ropeOf(l)
		if l >= shared {
			source, ok := last[types[l]]
			if !ok {
				c.Refuse("layer %d shares keys with no layer of its type", l)
			}
			if dim, kv := d.gemma4Heads(source, types[source]); dim != a.HeadDim || kv != a.KVHeads {
				c.Refuse("layer %d shares the keys of layer %d, which has other heads", l, source)
			}
			a.K, a.V, a.KNorm, a.VNorm, a.KVFrom = nil, nil, nil, nil, source
		}
		inner := d.inner
		if l >= shared && c.Bool(false, "use_double_wide_mlp") {
			inner *= 2
		}
		b := d.sandwich(l, a, d.mlp(l, "mlp", inner))
		if c.Bool(false, "enable_moe_block") {
			b.Steps[1] = d.gemma4Experts(l, b.Steps[1].Branches[0])
		}
		if width > 0 {
			in := &PerLayerInput{
				Gate: d.linear(l, "per_layer_input_gate", RolePerLayerGate, width, d.hidden, false),
				Out:  d.linear(l, "per_layer_projection", RolePerLayerOut, d.hidden, width, false),
				Act:  d.act, Width: width,
			}
			b.Steps = append(b.Steps, one(nil, in, d.blockNorm(l, "post_per_layer_input_norm")))
		}
		b.Scale = d.in(l, "layer_scalar")
		return b
	})
	m.Embed.Scale = float32(math.Sqrt(float64(d.hidden)))
	m.Head.SoftCap = float32(c.Float(0, "final_logit_softcapping"))
	if width > 0 {
		all := d.layers * width
		m.Embed.PerLayer = &PerLayer{
			Table:      *matrix(d.body+"embed_tokens_per_layer", RolePerLayerTable, -1, c.DimOr(m.Vocab, "vocab_size_per_layer_input"), all, false),
			Projection: *matrix(d.body+"per_layer_model_projection", RolePerLayerProjection, -1, all, d.hidden, false),
			Norm:       d.norm(d.body+"per_layer_projection_norm", width),
			Width:      width, Scale: float32(math.Sqrt(float64(width))), ProjectionScale: float32(1 / math.Sqrt(float64(d.hidden))), SumScale: float32(math.Sqrt2 / 2),
		}
	}
	return m
}

// gemma4Heads returns the size of a layer's heads and the number of its key-value
// heads. They stand in per_layer_config, or in older files for all full layers
// together.
func (d *decoder) gemma4Heads(l int, kind string) (dim, kv int) {
	c := d.c
	dim, kv = d.dim, d.kv
	if c.Has("per_layer_config") {
		all := c.Sub("per_layer_config")
		own := &Config{}
		for key := range all.values { // such as "05"
			if n, err := strconv.Atoi(key); err == nil && n == l {
				own = all.Sub(key)
			}
		}
		dim, kv = own.DimOr(dim, "head_dim"), own.DimOr(kv, "num_key_value_heads")
		c.Join(all)
		c.Join(own)
	} else if kind == fullAttention {
		dim = c.DimOr(dim, "global_head_dim")
		if c.Bool(false, "attention_k_eq_v") {
			kv = c.DimOr(kv, "num_global_key_value_heads")
		}
	}
	if d.heads%kv != 0 {
		c.fail(fmt.Errorf("%w: %d attention heads of layer %d are no multiple of %d key-value heads", ErrConfig, d.heads, l, kv))
		kv = d.heads
	}
	return dim, kv
}

// gemma4Attention has norms of queries, keys and values, and no scale.
func (d *decoder) gemma4Attention(l int, kind string) *Attention {
	wide := *d
	wide.dim, wide.kv = d.gemma4Heads(l, kind)
	alike := kind == fullAttention && d.c.Bool(false, "attention_k_eq_v")
	a := wide.attention(l)
	d.headNorms(a, l, "self_attn.q_norm", "self_attn.k_norm")
	a.VNorm = &Norm{Kind: RMSNorm, Width: a.HeadDim, Eps: d.eps}
	a.Scale = 1
	if alike {
		a.V, a.ValuesFromKeys = nil, true
	}
	if kind == slidingAttention {
		a.Window = d.c.Int(0, "sliding_window")
	}
	return a
}

// gemma4Experts adds experts beside the MLP of a branch; the router reads the
// stream itself.
func (d *decoder) gemma4Experts(l int, mlp Branch) Step {
	m := d.mixture(l, "router.proj", "experts", d.c.Dim("moe_intermediate_size", "expert_intermediate_size"))
	m.Routing.Renormalize = true
	m.Routing.ExpertScale = vector(d.in(l, "router.per_expert_scale"), len(m.Experts))
	m.RouterNorm = &Norm{Kind: RMSNorm, Width: d.hidden, Eps: d.eps}
	m.RouterScale = vector(d.in(l, "router.scale"), d.hidden)
	m.RouterFactor = float32(1 / math.Sqrt(float64(d.hidden)))
	return Step{Scale: 1, Norm: mlp.Post, Branches: []Branch{
		{Pre: mlp.Pre, Do: mlp.Do, Post: d.blockNorm(l, "post_feedforward_layernorm_1")},
		{Pre: d.blockNorm(l, "pre_feedforward_layernorm_2"), Do: m, Post: d.blockNorm(l, "post_feedforward_layernorm_2")},
	}}
}
