package arch

var _ = register(minimaxM2, "minimax_m2")

var _ = registerGGUF(ggufForm{arch: "minimax-m2", kind: "minimax_m2", class: "MiniMaxM2ForCausalLM", config: func(g *GGUF, c ggufConfig) {
	g.experts(c, "num_local_experts")
	c["intermediate_size"] = g.int("expert_feed_forward_length", g.int("feed_forward_length", 0))
	c["use_qk_norm"] = g.has("blk.0.attn_q_norm.weight")
}})

// minimaxM2 is MiniMax-M2: norms of queries and keys over all heads, and experts
// chosen by sigmoids with a correction.
func minimaxM2(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 196608, "num_key_value_heads": 8, "head_dim": 128, "num_local_experts": 256, "num_experts_per_tok": 8}`)
	d := c.decoder(false)
	rope := c.Rope("", d.dim, 5e6, float64(c.DimOr(d.dim, "rotary_dim"))/float64(d.dim))
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		if c.Bool(true, "use_qk_norm") {
			a.QNorm, a.KNorm = d.norm(d.in(l, "self_attn.q_norm"), d.heads*d.dim), d.norm(d.in(l, "self_attn.k_norm"), d.kv*d.dim)
		}
		m := d.mixtralExperts(l)
		m.Routing.Score, m.Routing.Renormalize = SigmoidScore, true
		m.Routing.Correction = vector(d.in(l, "block_sparse_moe.e_score_correction_bias"), len(m.Experts))
		return d.block(l, a, m)
	})
}
