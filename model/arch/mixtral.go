package arch

var _ = register(mixtral, "mixtral")

// mixtral is Mistral with experts under names of their own.
func mixtral(c *Config) *Model {
	c.Default(`{"num_key_value_heads": 8, "max_position_embeddings": 131072, "num_local_experts": 8, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5}`)
	d := c.decoder(false)
	windows := c.windows(d.layers)
	rope := c.Rope("", d.dim, 1e6, 1)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope, a.Window = rope, windows[l]
		m := d.mixtralExperts(l)
		m.Routing.Renormalize = true
		return d.block(l, a, m)
	})
}

// mixtralExperts has Mixtral's names.
func (d *decoder) mixtralExperts(l int) *MoE {
	return d.mixtureOf(l, "block_sparse_moe.gate", "block_sparse_moe.experts", [3]string{"w1", "w3", "w2"}, d.inner)
}
