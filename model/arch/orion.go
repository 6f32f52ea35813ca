package arch

var _ = register(orion, "orion")

var _ = registerGGUF(ggufForm{arch: "orion", kind: "orion", class: "OrionForCausalLM", keys: map[string]string{"layer_norm_eps": "rms_norm_eps"}})

// orion is Orion: Llama with LayerNorms.
func orion(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 4096}`)
	d := c.decoder(false)
	d.norm = d.layerNorm(true)
	rope := c.Rope("", d.dim, 10000, 1)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		return d.block(l, a, d.mlp(l, "mlp", d.inner))
	})
}
