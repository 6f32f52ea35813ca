package arch

var _ = register(gptNeoX, "gpt_neox")

var _ = registerGGUF(ggufForm{arch: "gptneox", kind: "gpt_neox", class: "GPTNeoXForCausalLM", partial: true,
	keys:   map[string]string{"partial_rotary_factor": "rotary_pct", "rope_theta": "rotary_emb_base", "num_key_value_heads": "", "head_dim": "", "mlp_bias": ""},
	write:  func(k *ggufKeys) { k.set("use_parallel_residual", k.m.Blocks[0].Parallel) },
	config: func(g *GGUF, c ggufConfig) { c["use_parallel_residual"] = g.bool("use_parallel_residual", true) }})

// gptNeoX is GPT-NeoX and Pythia: attention and MLP in parallel, each after its
// own LayerNorm, a quarter of each head turns.
func gptNeoX(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048, "layer_norm_eps": 1e-5, "hidden_act": "gelu"}`)
	d := c.decoder(false)
	d.body = c.Prefix("embed_in.weight", "gpt_neox.", "")
	d.norm = d.layerNorm(true)
	bias := c.Bool(true, "attention_bias")
	rope := c.Rope("", d.dim, 10000, 0.25)
	return d.finishNamed("embed_in", "final_layer_norm", "embed_out", func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "attention.query_key_value", GroupByKV, bias)
		a.O = d.linear(l, "attention.dense", RoleO, d.hidden, d.hidden, bias)
		a.Rope = rope
		b := d.block(l, a, d.plain(l, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h", true))
		b.Parallel = c.Bool(true, "use_parallel_residual")
		return b
	})
}
