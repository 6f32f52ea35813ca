package arch

var _ = register(gptJ, "gptj")

// gptJ is GPT-J: one LayerNorm feeds attention and MLP, adjacent pairs of the
// first elements of each head turn.
func gptJ(c *Config) *Model {
	c.Default(`{"vocab_size": 50400, "n_embd": 4096, "n_layer": 28, "n_head": 16, "n_positions": 2048, "rotary_dim": 64, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}`)
	d := c.decoder(false)
	d.body, d.layer = c.Prefix("wte.weight", "transformer.", ""), "h"
	d.norm = d.layerNorm(true)
	rope := c.Rope("", d.dim, 10000, float64(c.DimOr(d.dim, "rotary_dim"))/float64(d.dim))
	if rope != nil {
		rope.Adjacent = true
	}
	m := d.finishNamed("wte", "ln_f", "lm_head", func(l int) Block {
		a := d.attention(l)
		a.Q = d.linear(l, "attn.q_proj", RoleQ, d.hidden, d.hidden, false)
		a.K = d.linear(l, "attn.k_proj", RoleK, d.hidden, d.hidden, false)
		a.V = d.linear(l, "attn.v_proj", RoleV, d.hidden, d.hidden, false)
		a.O = d.linear(l, "attn.out_proj", RoleO, d.hidden, d.hidden, false)
		a.Rope = rope
		n := d.blockNorm(l, "ln_1")
		return Block{Layer: l, Parallel: true, Steps: []Step{
			one(n, a, nil), one(n, d.plain(l, "mlp.fc_in", "mlp.fc_out", true), nil),
		}}
	})
	m.Head.Bias = vector("lm_head.bias", m.Vocab)
	return m
}
