package arch

var (
	_ = register(qwen2, "qwen2", "qwen2_moe", "qwen2_5_vl", "qwen2_vl")
	_ = register(qwen3, "qwen3", "qwen3_moe", "qwen3_vl", "qwen3_vl_moe")
)

var _ = registerGGUF(
	ggufForm{arch: "qwen2", kind: "qwen2", class: "Qwen2ForCausalLM"},
	ggufForm{arch: "qwen2vl", kind: "qwen2", class: "Qwen2ForCausalLM"},
	ggufForm{arch: "qwen2moe", kind: "qwen2_moe", class: "Qwen2MoeForCausalLM", config: func(g *GGUF, c ggufConfig) { g.qwenExperts(c, false) }},
	ggufForm{arch: "qwen3", kind: "qwen3", class: "Qwen3ForCausalLM"},
	ggufForm{arch: "qwen3vl", kind: "qwen3", class: "Qwen3ForCausalLM"},
	ggufForm{arch: "qwen3moe", kind: "qwen3_moe", class: "Qwen3MoeForCausalLM", config: func(g *GGUF, c ggufConfig) { g.qwenExperts(c, true) }},
	ggufForm{arch: "qwen3vlmoe", kind: "qwen3_moe", class: "Qwen3MoeForCausalLM", config: func(g *GGUF, c ggufConfig) { g.qwenExperts(c, true) }},
)

// qwenExperts translates the keys of Qwen's mixtures.
func (g *GGUF) qwenExperts(c ggufConfig, renormalize bool) {
	g.experts(c, "num_experts")
	c["norm_topk_prob"] = g.bool("expert_weights_norm", renormalize)
	if shape := g.Shape("blk.0.ffn_up_exps.weight"); len(shape) == 3 && c["moe_intermediate_size"] == nil {
		c["moe_intermediate_size"] = shape[1] // of files older than the key
	}
	if shape := g.Shape("blk.0.ffn_up_shexp.weight"); len(shape) == 2 {
		c["shared_expert_intermediate_size"] = shape[0]
	}
}

// qwen2 is Qwen 2 and 2.5: Llama with biases on queries, keys and values. Its
// mixture of experts has a shared one with a gate.
func qwen2(c *Config) *Model {
	c.Default(`{"use_sliding_window": false, "max_window_layers": 28, "max_position_embeddings": 32768, "num_experts": 60, "num_experts_per_tok": 4,
		"moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "norm_topk_prob": false}`)
	d := c.decoder(false)
	d.qkvBias, d.oBias = c.Bool(true, "qkv_bias"), false
	windows := c.windows(d.layers)
	rope := c.Rope("", d.dim, 10000, 1)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope, a.Window = rope, windows[l]
		if c.Type() == "qwen2_moe" && c.sparse(l) {
			return d.block(l, a, d.sharedExperts(l))
		}
		return d.block(l, a, d.mlp(l, "mlp", d.inner))
	})
}

// qwen3 is Qwen 3: norms of each head's query and key, no biases.
func qwen3(c *Config) *Model {
	c.Default(`{"use_sliding_window": false, "max_window_layers": 28, "head_dim": 128, "max_position_embeddings": 32768,
		"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": false}`)
	d := c.decoder(false)
	windows := c.windows(d.layers)
	rope := c.Rope("", d.dim, 10000, 1)
	moe := c.Type() == "qwen3_moe" || c.Type() == "qwen3_vl_moe"
	if c.Type() == "qwen3_vl_moe" {
		c.Default(`{"norm_topk_prob": true}`)
	}
	return d.finish(func(l int) Block {
		a := d.attention(l)
		d.headNorms(a, l, "self_attn.q_norm", "self_attn.k_norm")
		a.Rope, a.Window = rope, windows[l]
		if moe && c.sparse(l) {
			return d.block(l, a, d.experts(l))
		}
		return d.block(l, a, d.mlp(l, "mlp", d.inner))
	})
}

// sparse reports whether a layer has experts in Qwen's spelling.
func (c *Config) sparse(layer int) bool {
	for _, l := range c.Ints("mlp_only_layers") {
		if l == layer {
			return false
		}
	}
	return (layer+1)%max(c.Int(1, "decoder_sparse_step"), 1) == 0
}

// experts is Qwen's mixture: a softmax over all experts, the best of them
// renormalized if norm_topk_prob says so.
func (d *decoder) experts(layer int) *MoE {
	inner := d.c.DimOr(d.inner, "moe_intermediate_size")
	m := d.mixture(layer, "mlp.gate", "mlp.experts", inner)
	m.Routing.Renormalize = d.c.Bool(false, "norm_topk_prob")
	return m
}

// sharedExperts is that with an expert that meets every token.
func (d *decoder) sharedExperts(layer int) *MoE {
	m := d.experts(layer)
	m.Shared = d.mlp(layer, "mlp.shared_expert", d.c.Dim("shared_expert_intermediate_size"))
	m.SharedGate = d.linear(layer, "mlp.shared_expert_gate", RoleSharedGate, 1, d.hidden, false)
	m.SharedGate.Keep = true
	return m
}
