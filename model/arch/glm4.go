package arch

var (
	_ = register(glm4, "glm4", "glm")
	_ = register(glm4moe, "glm4_moe", "glm4v_moe")
)

var _ = registerGGUF(
	ggufForm{arch: "glm4", kind: "glm4", class: "Glm4ForCausalLM", partial: true, gateUp: true},
	ggufForm{arch: "glm4moe", kind: "glm4_moe", class: "Glm4MoeForCausalLM", partial: true, names: map[string]string{"ffn_norm": "post_attention_norm"},
		write: (*ggufKeys).sharedExperts,
		config: func(g *GGUF, c ggufConfig) {
			g.deepseekExperts(c)
			c["use_qk_norm"] = g.has("blk.0.attn_q_norm.weight")
		}},
	ggufForm{arch: "chatglm", kind: "glm", class: "GlmForCausalLM", partial: true, gateUp: true},
)

// glm4 is GLM-4: norms before and after the branches (after them only since
// 0414), adjacent pairs of half of each head turn, fused gate and up.
func glm4(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 131072, "num_key_value_heads": 2, "head_dim": 128, "attention_bias": true, "rms_norm_eps": 1.5625e-7}`)
	d := c.decoder(false)
	d.oBias = false
	rope := c.Rope("", d.dim, 10000, 0.5)
	if rope != nil {
		rope.Adjacent = true
	}
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		mlp := d.gateUp(l, "mlp.gate_up_proj", "mlp.down_proj")
		if c.Type() == "glm" {
			return d.block(l, a, mlp)
		}
		b := d.block(l, a, mlp)
		b.Steps[0].Branches[0].Post = d.blockNorm(l, "post_self_attn_layernorm")
		b.Steps[1].Branches[0].Post = d.blockNorm(l, "post_mlp_layernorm")
		return b
	})
}

// glm4moe is GLM-4.5 to 4.7: attention of Llama's kind of which half of each head
// turns, and DeepSeek-V3's experts.
func glm4moe(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "num_key_value_heads": 8, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
		"n_routed_experts": 128, "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 1408, "routed_scaling_factor": 1, "norm_topk_prob": true}`)
	d := c.decoder(false)
	d.oBias = false
	rope := c.Rope("", d.dim, 10000, 0.5)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		if c.Bool(false, "use_qk_norm") {
			d.headNorms(a, l, "self_attn.q_norm", "self_attn.k_norm")
		}
		return d.block(l, a, d.deepseekMLP(l, true))
	})
}
