package arch

var _ = register(gpt2, "gpt2")

var _ = registerGGUF(ggufForm{arch: "gpt2", kind: "gpt2", class: "GPT2LMHeadModel", keys: map[string]string{
	"hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "max_position_embeddings": "n_positions",
	"intermediate_size": "n_inner", "layer_norm_eps": "layer_norm_epsilon",
	"num_key_value_heads": "", "head_dim": "", "rope_theta": "", "attention_bias": "", "mlp_bias": ""}})

// gpt2 is GPT-2: learned positions, LayerNorms, fused queries, keys and values,
// matrices stored inputs x outputs.
func gpt2(c *Config) *Model {
	c.Default(`{"vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new"}`)
	d := c.decoder(true)
	d.body, d.layer = c.Prefix("wte.weight", "transformer.", ""), "h"
	d.norm = d.layerNorm(true)
	m := d.finishNamed("wte", "ln_f", "lm_head", func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "attn.c_attn", QThenKThenV, true)
		a.O = d.linear(l, "attn.c_proj", RoleO, d.hidden, d.hidden, true)
		if !c.Bool(true, "scale_attn_weights") {
			a.Scale = 1
		}
		if c.Bool(false, "scale_attn_by_inverse_layer_idx") {
			a.Scale /= float32(l + 1)
		}
		mlp := d.plain(l, "mlp.c_fc", "mlp.c_proj", true)
		for _, x := range []*Linear{a.Fused, a.O, mlp.Up, mlp.Down} {
			x.View.Transposed = true
		}
		return d.named(l, "ln_1", a, "ln_2", mlp)
	})
	m.Embed.Positions = &PositionTable{Tensor: d.body + "wpe.weight", Rows: m.Positions}
	return m
}

// named is a block of attention and MLP, each after a norm of the given name.
func (d *decoder) named(layer int, first string, attention Op, second string, mlp Op) Block {
	return Block{Layer: layer, Steps: []Step{
		one(d.blockNorm(layer, first), attention, nil), one(d.blockNorm(layer, second), mlp, nil),
	}}
}
