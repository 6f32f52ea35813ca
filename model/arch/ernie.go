package arch

var _ = register(ernie, "ernie4_5", "ernie4_5_moe")

var _ = registerGGUF(
	ggufForm{arch: "ernie4_5", kind: "ernie4_5", class: "Ernie4_5ForCausalLM", keys: map[string]string{"attention_bias": "use_bias", "mlp_bias": ""}},
	ggufForm{arch: "ernie4_5-moe", kind: "ernie4_5_moe", class: "Ernie4_5_MoeForCausalLM", keys: map[string]string{"attention_bias": "use_bias", "mlp_bias": ""},
		write: (*ggufKeys).sharedExperts,
		config: func(g *GGUF, c ggufConfig) {
			g.experts(c, "moe_num_experts")
			c["moe_k"] = c["num_experts_per_tok"]
			c["moe_num_shared_experts"] = g.int("expert_shared_count", 0)
			g.copy(c, "moe_layer_start_index", "leading_dense_block_count")
			g.copy(c, "moe_layer_interval", "interleave_moe_layer_step")
		}},
)

// ernie is ERNIE 4.5: Llama whose turning pairs are adjacent, and in the larger
// ones experts chosen with a correction, some of which meet every token.
func ernie(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "moe_layer_start_index": 1, "moe_layer_end_index": -1, "moe_layer_interval": 1,
		"moe_num_experts": 64, "moe_k": 6, "moe_intermediate_size": 1536, "moe_num_shared_experts": 2}`)
	moe := c.Type() == "ernie4_5_moe"
	if moe {
		c.Default(`{"num_key_value_heads": 4}`)
	} else {
		c.Default(`{"num_key_value_heads": 2}`)
	}
	d := c.decoder(true)
	bias := c.Bool(false, "use_bias")
	d.qkvBias, d.oBias, d.mlpBias = bias, bias, bias
	if !moe {
		d.dim = c.DimOr(128, "head_dim")
	}
	rope := c.Rope("", d.dim, 500000, 1)
	if rope != nil {
		rope.Adjacent = true
	}
	first, last := c.Int(0, "moe_layer_start_index"), c.Int(0, "moe_layer_end_index")
	if last < 0 {
		last = d.layers - 1
	}
	m := d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		if moe && l >= first && l <= last && (l+1)%max(c.Int(1, "moe_layer_interval"), 1) == 0 {
			return d.block(l, a, d.ernieExperts(l))
		}
		return d.block(l, a, d.mlp(l, "mlp", d.inner))
	})
	if moe && bias {
		m.Head.Bias = vector("lm_head.bias", m.Vocab)
	}
	return m
}

func (d *decoder) ernieExperts(l int) *MoE {
	inner := d.c.Dim("moe_intermediate_size")
	plain := *d
	plain.mlpBias = false
	m := plain.mixture(l, "mlp.gate", "mlp.experts", inner)
	m.Routing.Renormalize = true
	m.Routing.Correction = table(d.in(l, "mlp.moe_statics.e_score_correction_bias"), 1, len(m.Experts))
	if shared := d.c.Int(0, "moe_num_shared_experts"); shared > 0 {
		m.Shared = d.mlp(l, "mlp.shared_experts", shared*inner)
	}
	return m
}
