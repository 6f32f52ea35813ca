package arch

var _ = register(glm4, "glm4", "glm")

// glm4 is GLM-4: norms before and after the branches (after them only since
// 0414), adjacent pairs of half of each head turn, fused gate and up.
func glm4(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 131072, "num_key_value_heads": 2, "head_dim": 128, "attention_bias": true, "rms_norm_eps": 1.5625e-7}`)
	d := c.decoder(false)
	d.oBias = false
	rope := c.Rope("", d.dim, 10000, 0.5)
	if rope != nil {
		rope.Adjacent = true
	}
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		mlp := d.gateUp(l, "mlp.gate_up_proj", "mlp.down_proj")
		if c.Type() == "glm" {
			return d.block(l, a, mlp)
		}
		b := d.block(l, a, mlp)
		b.Steps[0].Branches[0].Post = d.blockNorm(l, "post_self_attn_layernorm")
		b.Steps[1].Branches[0].Post = d.blockNorm(l, "post_mlp_layernorm")
		return b
	})
}
