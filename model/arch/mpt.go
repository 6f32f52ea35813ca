package arch

import "math"

var _ = register(mpt, "mpt")

// mpt is MPT: ALiBi, no biases, norms without biases.
func mpt(c *Config) *Model {
	c.Default(`{"d_model": 2048, "n_heads": 16, "n_layers": 24, "expansion_ratio": 4, "max_seq_len": 2048, "vocab_size": 50368, "layer_norm_epsilon": 1e-5}`)
	attn := c.Sub("attn_config")
	defer c.Join(attn)
	if !c.Bool(true, "no_bias") {
		c.Refuse("an MPT with biases")
	}
	if attn.Bool(false, "qk_ln") {
		c.Refuse("attn_config.qk_ln")
	}
	d := c.decoder(true)
	d.body, d.layer = c.Prefix("wte.weight", "transformer.", ""), "blocks"
	d.norm = d.layerNorm(false)
	d.act = GELU
	d.inner = c.DimOr(4, "expansion_ratio") * d.hidden
	d.kv = attn.DimOr(d.heads, "kv_n_heads")
	var slopes []float32
	var positions *PositionTable
	if attn.Bool(true, "alibi") {
		slopes = alibiSlopes(d.heads, attn.Float(8, "alibi_bias_max"))
	} else {
		positions = &PositionTable{Tensor: d.body + "wpe.weight", Rows: d.model.Positions}
	}
	m := d.finishNamed("wte", "norm_f", "lm_head", func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "attn.Wqkv", QThenKThenV, false)
		a.O = d.linear(l, "attn.out_proj", RoleO, d.hidden, d.hidden, false)
		a.Slopes = slopes
		a.Clip = float32(attn.Float(0, "clip_qkv"))
		a.Scale = float32(attn.Float(1/math.Sqrt(float64(d.dim)), "softmax_scale"))
		return d.named(l, "norm_1", a, "norm_2", d.plain(l, "ffn.up_proj", "ffn.down_proj", false))
	})
	m.Embed.Positions = positions
	return m
}
