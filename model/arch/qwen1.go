package arch

var _ = register(qwen1, "qwen")

var _ = registerGGUF(ggufForm{arch: "qwen", kind: "qwen", class: "QWenLMHeadModel",
	keys: map[string]string{"head_dim": "kv_channels", "num_key_value_heads": "", "attention_bias": "", "mlp_bias": ""}})

// qwen1 is the first Qwen: Llama with fused queries, keys and values that have
// biases, under names of its own. What it does for contexts longer than the trained
// one does nothing within it.
func qwen1(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 8192, "intermediate_size": 22016}`)
	d := c.decoder(false)
	d.body, d.layer = c.Prefix("wte.weight", "transformer.", ""), "h"
	d.dim = c.DimOr(d.dim, "kv_channels")
	if d.inner /= 2; d.inner < 1 || !c.Bool(true, "no_bias") {
		c.Refuse("a Qwen with intermediate_size %d, of which a half is the MLP's, or with biases on every matrix", 2*d.inner)
	}
	rope := c.Rope("", d.dim, 10000, 1)
	return d.finishNamed("wte", "ln_f", "lm_head", func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "attn.c_attn", QThenKThenV, true)
		a.O = d.linear(l, "attn.c_proj", RoleO, d.hidden, d.heads*d.dim, false)
		a.Rope = rope
		return d.named(l, "ln_1", a, "ln_2", d.gated(l, "mlp", "w2", "w1", "c_proj", d.inner))
	})
}
