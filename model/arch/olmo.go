package arch

var _ = register(olmo, "olmo", "olmo2", "olmo3", "olmoe")

var _ = registerGGUF(
	ggufForm{arch: "olmo", kind: "olmo", class: "OlmoForCausalLM", paired: true, keys: map[string]string{"layer_norm_eps": ""},
		config: func(g *GGUF, c ggufConfig) { g.copy(c, "clip_qkv", "attention.clamp_kqv") }},
	ggufForm{arch: "olmo2", kind: "olmo2", class: "Olmo2ForCausalLM", write: (*ggufKeys).layersWithWindow, config: func(g *GGUF, c ggufConfig) {
		if _, windows := c["sliding_window"]; windows {
			c["model_type"], c["architectures"] = "olmo3", []string{"Olmo3ForCausalLM"}
			g.windows(c)
		}
	}},
	ggufForm{arch: "olmoe", kind: "olmoe", class: "OlmoeForCausalLM", config: func(g *GGUF, c ggufConfig) {
		g.experts(c, "num_experts")
		c["norm_topk_prob"] = g.bool("expert_weights_norm", false)
	}},
)

// olmo is OLMo 1 (norms without weights), 2 and 3 (norms after the branches, and
// of queries and keys over all heads; windows in the third) and OLMoE.
func olmo(c *Config) *Model {
	kind := c.Type()
	c.Default(map[string]string{
		"olmo":  `{"max_position_embeddings": 2048}`,
		"olmo2": `{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5}`,
		"olmo3": `{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "sliding_window": 4096, "rope_theta": 500000}`,
		"olmoe": `{"max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": false}`,
	}[kind])
	d := c.decoder(false)
	if kind == "olmo" {
		d.norm = func(_ string, width int) *Norm { return &Norm{Kind: LayerNorm, Width: width, Eps: 1e-5} }
	}
	rope := c.Rope(fullAttention, d.dim, 10000, 1)
	local := rope
	types := c.LayerTypes(d.layers, always(fullAttention))
	if kind == "olmo3" {
		types = c.LayerTypes(d.layers, everyNth(4))
		local = c.localRope(d.dim, c.ropeParameters("").Float(c.Float(10000, "rope_theta"), "rope_theta"))
	}
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope, a.Clip = rope, float32(c.Float(0, "clip_qkv"))
		if kind == "olmo" {
			return d.block(l, a, d.mlp(l, "mlp", d.inner))
		}
		a.QNorm, a.KNorm = d.norm(d.in(l, "self_attn.q_norm"), d.heads*d.dim), d.norm(d.in(l, "self_attn.k_norm"), d.kv*d.dim)
		a.ClipAfterNorm = true
		if kind == "olmoe" {
			return d.block(l, a, d.experts(l))
		}
		if types[l] == slidingAttention {
			a.Rope, a.Window = local, c.Int(0, "sliding_window")
		}
		return d.after(l, a, d.mlp(l, "mlp", d.inner))
	})
}

// after is a block that normalizes what branches give, not what they get.
func (d *decoder) after(layer int, attention, mlp Op) Block {
	return Block{Layer: layer, Steps: []Step{
		one(nil, attention, d.blockNorm(layer, "post_attention_layernorm")),
		one(nil, mlp, d.blockNorm(layer, "post_feedforward_layernorm")),
	}}
}
