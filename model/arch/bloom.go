package arch

var _ = register(bloom, "bloom")

var _ = registerGGUF(ggufForm{arch: "bloom", kind: "bloom", class: "BloomForCausalLM", keys: map[string]string{
	"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "layer_norm_eps": "layer_norm_epsilon",
	"intermediate_size": "", "num_key_value_heads": "", "head_dim": "", "rope_theta": "", "attention_bias": "", "mlp_bias": ""},
	config: func(_ *GGUF, c ggufConfig) { c["seq_length"] = c["max_position_embeddings"] }})

// bloom is BLOOM: a LayerNorm after the embedding, ALiBi, queries, keys and
// values together for each head.
func bloom(c *Config) *Model {
	c.Default(`{"n_layer": 2, "n_head": 8, "seq_length": 2048, "max_position_embeddings": 2048, "layer_norm_epsilon": 1e-5}`)
	d := c.decoder(true)
	d.body, d.layer = c.Prefix("word_embeddings.weight", "transformer.", ""), "h"
	d.norm = d.layerNorm(true)
	d.act = GELUTanh
	slopes := alibiSlopes(d.heads, 8)
	m := d.finishNamed("word_embeddings", "ln_f", "lm_head", func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "self_attention.query_key_value", GroupByKV, true)
		a.O = d.linear(l, "self_attention.dense", RoleO, d.hidden, d.hidden, true)
		a.Slopes = slopes
		b := d.block(l, a, d.plain(l, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h", true))
		for s := range b.Steps {
			if step := &b.Steps[s]; c.Bool(false, "apply_residual_connection_post_layernorm") {
				step.Before, step.Branches[0].Pre = step.Branches[0].Pre, nil
			}
		}
		return b
	})
	m.Embed.Norm = d.norm(d.body+"word_embeddings_layernorm", d.hidden)
	return m
}
