package arch

var _ = register(falcon, "falcon", "RefinedWeb", "RefinedWebModel")

// Of two norms, files have that of the MLP as attn_norm.
var _ = registerGGUF(ggufForm{arch: "falcon", kind: "falcon", class: "FalconForCausalLM",
	keys: map[string]string{"intermediate_size": "ffn_hidden_size", "num_key_value_heads": "num_kv_heads", "layer_norm_eps": "layer_norm_epsilon",
		"attention_bias": "bias", "mlp_bias": "", "head_dim": ""},
	names: map[string]string{"attn_norm": "attn_norm_2", "ffn_norm": "attn_norm"},
	config: func(g *GGUF, c ggufConfig) {
		c["multi_query"], c["new_decoder_architecture"] = true, c["num_key_value_heads"] != 1
		c["num_ln_in_parallel_attn"] = 1
		if g.has("blk.0.attn_norm_2.weight") {
			c["num_ln_in_parallel_attn"] = 2
		}
	}})

// falcon is Falcon: attention and MLP in parallel after one norm (7B), or a norm
// each (40B), or in turn with ALiBi (RW).
func falcon(c *Config) *Model {
	c.Default(`{"vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71, "max_position_embeddings": 2048, "layer_norm_epsilon": 1e-5, "activation": "gelu"}`)
	d := c.decoder(true)
	d.body, d.layer = c.Prefix("word_embeddings.weight", "transformer.", ""), "h"
	d.norm = d.layerNorm(true)
	d.act = c.Activation(GELU, "activation")
	d.inner = c.DimOr(4*d.hidden, "ffn_hidden_size")
	newer, bias := c.Bool(false, "new_decoder_architecture"), c.Bool(false, "bias")
	switch {
	case newer:
		d.kv = c.DimOr(d.heads, "num_kv_heads", "n_head_kv")
	case c.Bool(true, "multi_query"):
		d.kv = 1
	}
	var rope *Rope
	var slopes []float32
	if c.Bool(false, "alibi") {
		slopes = alibiSlopes(d.heads, 8)
	} else {
		rope = c.Rope("", d.dim, 10000, 1)
	}
	return d.finishNamed("word_embeddings", "ln_f", "lm_head", func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "self_attention.query_key_value", GroupByKV, bias)
		a.O = d.linear(l, "self_attention.dense", RoleO, d.hidden, d.heads*d.dim, bias)
		a.Rope = rope
		for _, s := range slopes { // which this family adds before it scales the scores
			a.Slopes = append(a.Slopes, s*a.Scale)
		}
		mlp := d.plain(l, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h", bias)
		switch {
		case newer && c.Int(2, "num_ln_in_parallel_attn") == 2:
			b := d.named(l, "ln_attn", a, "ln_mlp", mlp)
			b.Parallel = true
			return b
		case newer || c.Bool(true, "parallel_attn"):
			return d.parallel(l, a, mlp)
		}
		return d.block(l, a, mlp)
	})
}
