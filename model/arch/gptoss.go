package arch

var _ = register(gptOSS, "gpt_oss")

var _ = registerGGUF(ggufForm{arch: "gpt-oss", kind: "gpt_oss", class: "GptOssForCausalLM", config: gptOSSGGUF,
	names: map[string]string{"ffn_norm": "post_attention_norm"}})

func gptOSSGGUF(g *GGUF, c ggufConfig) {
	g.experts(c, "num_local_experts")
	c["intermediate_size"] = g.int("expert_feed_forward_length", g.int("feed_forward_length", 0))
	delete(c, "moe_intermediate_size")
	g.windows(c)
	if s, ok := c["rope_scaling"].(map[string]any); ok {
		// Files do not say it: the published models interpolate between rotations without
		// rounding where that begins and ends.
		s["truncate"] = s["factor"] != float32(32) || s["original_max_position_embeddings"] != 4096
	}
}

// gptOSS is gpt-oss: layers with a window beside layers without, sinks, and
// experts with biases and limits. Files hold the experts in stacks, inputs x
// outputs with gate and up interleaved, or in blocks of MXFP4.
func gptOSS(c *Config) *Model {
	c.Default(`{"num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128, "rope_theta": 150000, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
		"num_local_experts": 128, "num_experts_per_tok": 4, "attention_bias": true, "swiglu_limit": 7.0,
		"rope_scaling": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false, "original_max_position_embeddings": 4096}}`)
	d := c.decoder(false)
	types := c.LayerTypes(d.layers, everyNth(2))
	rope := c.Rope("", d.dim, 150000, 1)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		a.Sinks = vector(d.in(l, "self_attn.sinks"), d.heads)
		if types[l] == slidingAttention {
			a.Window = c.Int(0, "sliding_window")
		}
		return d.block(l, a, d.gptOSSExperts(l))
	})
}

func (d *decoder) gptOSSExperts(l int) *MoE {
	m := d.mixture(l, "mlp.router", "mlp.experts", d.inner)
	m.Router.Bias = vector(d.in(l, "mlp.router.bias"), m.Router.Rows)
	m.Routing.Renormalize = true // a softmax over the chosen
	gateUp, down := d.in(l, "mlp.experts.gate_up_proj"), d.in(l, "mlp.experts.down_proj")
	blocks := d.c.Stored(gateUp + "_blocks")
	for e := range m.Experts {
		x := &m.Experts[e]
		x.Limit = float32(d.c.Float(7, "swiglu_limit"))
		if !d.c.natively(gateUp, gateUp+"_blocks") {
			x.Gate.Bias, x.Up.Bias, x.Down.Bias = vector(x.Gate.Path+".bias", d.inner), vector(x.Up.Path+".bias", d.inner), vector(x.Down.Path+".bias", d.hidden)
			continue
		}
		x.Gate.View = View{Tensor: gateUp, Expert: e, Transposed: !blocks, Step: 2}
		x.Up.View = View{Tensor: gateUp, Expert: e, Transposed: !blocks, First: 1, Step: 2}
		x.Down.View = View{Tensor: down, Expert: e, Transposed: !blocks}
		x.Gate.Bias = &Vector{View: View{Tensor: gateUp + "_bias", Expert: e, Step: 2}, Len: d.inner}
		x.Up.Bias = &Vector{View: View{Tensor: gateUp + "_bias", Expert: e, First: 1, Step: 2}, Len: d.inner}
		x.Down.Bias = &Vector{View: View{Tensor: down + "_bias", Expert: e}, Len: d.hidden}
	}
	return m
}
