package arch

var _ = register(opt, "opt")

// opt is OPT: learned positions that begin at row 2, ReLU, biases everywhere. The
// 350M model normalizes after the additions and embeds in another width.
func opt(c *Config) *Model {
	c.Default(`{"vocab_size": 50272, "hidden_size": 768, "num_hidden_layers": 12, "ffn_dim": 3072, "max_position_embeddings": 2048, "num_attention_heads": 12,
		"layer_norm_eps": 1e-5, "activation_function": "relu"}`)
	d := c.decoder(true)
	d.body = c.Prefix("embed_tokens.weight", "model.decoder.", "decoder.", "")
	bias := c.Bool(true, "enable_bias")
	d.norm = d.layerNorm(true)
	if !c.Bool(true, "layer_norm_elementwise_affine") {
		d.norm = func(_ string, width int) *Norm { return &Norm{Kind: LayerNorm, Width: width, Eps: d.eps} }
	}
	d.qkvBias, d.oBias = bias, bias
	before := c.Bool(true, "do_layer_norm_before")
	m := d.finishNamed("embed_tokens", "final_layer_norm", "lm_head", func(l int) Block {
		a := d.attention(l)
		a.O = d.linear(l, "self_attn.out_proj", RoleO, d.hidden, d.hidden, bias)
		b := d.named(l, "self_attn_layer_norm", a, "final_layer_norm", d.plain(l, "fc1", "fc2", bias))
		for s := range b.Steps {
			if step := &b.Steps[s]; !before {
				step.After, step.Branches[0].Pre = step.Branches[0].Pre, nil
			}
		}
		return b
	})
	if !before || c.Bool(false, "_remove_final_layer_norm") {
		m.Norm = nil
	}
	if width := c.DimOr(d.hidden, "word_embed_proj_dim"); width != d.hidden {
		m.Embed.Cols, m.Head.Cols = width, width
		m.Embed.Project = matrix(d.body+"project_in", RoleEnds, -1, d.hidden, width, false)
		m.Head.Project = matrix(d.body+"project_out", RoleEnds, -1, width, d.hidden, false)
		m.Embed.Project.Keep, m.Head.Project.Keep = true, true
	}
	m.Embed.Positions = &PositionTable{Tensor: d.body + "embed_positions.weight", Offset: 2, Rows: m.Positions + 2}
	return m
}
