package arch

import "fmt"

var _ = register(mixtral, "mixtral")

// mixtral is Mistral with experts under names of their own.
func mixtral(c *Config) *Model {
	c.Default(`{"num_key_value_heads": 8, "max_position_embeddings": 131072, "num_local_experts": 8, "num_experts_per_tok": 2}`)
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

// mixtralExperts has a matrix for each expert under Mixtral's names, or stacks.
func (d *decoder) mixtralExperts(l int) *MoE {
	m := d.mixture(l, "block_sparse_moe.gate", "block_sparse_moe.experts", d.inner)
	if !d.c.Stored(d.in(l, "block_sparse_moe.experts.gate_up_proj")) {
		for e := range m.Experts {
			m.Experts[e] = d.gated(l, fmt.Sprintf("block_sparse_moe.experts.%d", e), "w1", "w3", "w2", d.inner).of(e)
		}
	}
	return m
}
