package arch

import "math"

var _ = register(mpt, "mpt")

var _ = registerGGUF(ggufForm{arch: "mpt", kind: "mpt", class: "MPTForCausalLM",
	keys: map[string]string{"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads", "max_position_embeddings": "max_seq_len",
		"layer_norm_eps": "layer_norm_epsilon", "intermediate_size": "", "num_key_value_heads": "", "head_dim": "", "rope_theta": "", "attention_bias": "", "mlp_bias": ""},
	config: func(g *GGUF, c ggufConfig) {
		attn := map[string]any{"alibi": false, "kv_n_heads": c["num_key_value_heads"]}
		if bias, ok := g.float("attention.max_alibi_bias"); ok && bias > 0 {
			attn["alibi"], attn["alibi_bias_max"] = true, bias
		}
		if clip, ok := g.float("attention.clamp_kqv"); ok && clip > 0 {
			attn["clip_qkv"] = clip
		}
		attn["qk_ln"] = g.has("blk.0.attn_q_norm.weight")
		c["attn_config"] = attn
		c["no_bias"] = !g.has("blk.0.attn_qkv.bias") && !g.has("blk.0.ffn_up.bias") && !g.has("blk.0.attn_norm.bias")
		c["expansion_ratio"] = g.int("feed_forward_length", 0) / max(g.int("embedding_length", 1), 1)
	}})

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
