package arch

var _ = register(nemotron, "nemotron")

var _ = registerGGUF(ggufForm{arch: "nemotron", kind: "nemotron", class: "NemotronForCausalLM", partial: true,
	keys: map[string]string{"layer_norm_eps": "norm_eps"}})

// nemotron is Nemotron 3 and 4 and Minitron: LayerNorms that add 1 to their
// weights, squared ReLU without a gate, half of each head turns.
func nemotron(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 4096, "norm_eps": 1e-5, "hidden_act": "relu2"}`)
	d := c.decoder(false)
	d.norm = func(name string, width int) *Norm {
		n := d.layerNorm(true)(name, width)
		n.Offset = 1
		return n
	}
	rope := c.Rope("", d.dim, 10000, 0.5)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		return d.block(l, a, d.plain(l, "mlp.up_proj", "mlp.down_proj", d.mlpBias))
	})
}
