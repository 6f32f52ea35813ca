package arch

var _ = register(starcoder2, "starcoder2")

var _ = registerGGUF(ggufForm{arch: "starcoder2", kind: "starcoder2", class: "Starcoder2ForCausalLM",
	keys: map[string]string{"layer_norm_eps": "norm_epsilon", "attention_bias": "use_bias", "mlp_bias": ""}})

// starcoder2 is StarCoder2: LayerNorms, biases everywhere, an MLP without a gate,
// a window.
func starcoder2(c *Config) *Model {
	c.Default(`{"num_key_value_heads": 2, "max_position_embeddings": 4096, "norm_epsilon": 1e-5, "hidden_act": "gelu_pytorch_tanh"}`)
	d := c.decoder(true)
	d.norm = d.layerNorm(true)
	bias := c.Bool(true, "use_bias")
	d.qkvBias, d.oBias = bias, bias
	windows := c.windows(d.layers)
	rope := c.Rope("", d.dim, 10000, 1)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope, a.Window = rope, windows[l]
		return d.block(l, a, d.plain(l, "mlp.c_fc", "mlp.c_proj", bias))
	})
}
