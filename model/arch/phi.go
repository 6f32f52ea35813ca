package arch

var (
	_ = register(phi, "phi")
	_ = register(phiFirst, "phi-msft")
	_ = register(phi3, "phi3")
	_ = register(phimoe, "phimoe")
)

var _ = registerGGUF(
	ggufForm{arch: "phi2", kind: "phi", class: "PhiForCausalLM", partial: true},
	ggufForm{arch: "phi3", kind: "phi3", class: "Phi3ForCausalLM", gateUp: true},
	ggufForm{arch: "phimoe", kind: "phimoe", class: "PhimoeForCausalLM", keys: map[string]string{"layer_norm_eps": "rms_norm_eps"},
		config: func(g *GGUF, c ggufConfig) {
			g.experts(c, "num_local_experts")
			c["lm_head_bias"] = g.has("output.bias")
		}},
)

// phi is Phi 1, 1.5 and 2: one LayerNorm feeds attention and MLP in parallel,
// biases everywhere, part of each head turns.
func phi(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5}`)
	d := c.decoder(false)
	d.norm = d.layerNorm(true)
	d.qkvBias = true
	rope := c.Rope("", d.dim, 10000, 0.5)
	m := d.finishNamed("embed_tokens", "final_layernorm", "lm_head", func(l int) Block {
		a := d.attention(l)
		a.O = d.linear(l, "self_attn.dense", RoleO, d.hidden, d.heads*d.dim, true)
		a.Rope = rope
		if c.Bool(false, "qk_layernorm") {
			d.headNorms(a, l, "self_attn.q_layernorm", "self_attn.k_layernorm")
		}
		return d.parallel(l, a, d.plain(l, "mlp.fc1", "mlp.fc2", true))
	})
	m.Head.Bias = vector("lm_head.bias", m.Vocab)
	return m
}

// phiFirst is Phi 1.5 in the form that Microsoft's own code wrote: fused queries,
// keys and values, and other names.
func phiFirst(c *Config) *Model {
	c.Default(`{"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "rotary_dim": 32}`)
	d := c.decoder(false)
	d.body, d.layer = c.Prefix("embd.wte.weight", "transformer.", ""), "h"
	d.norm = d.layerNorm(true)
	d.kv = c.DimOr(d.heads, "n_head_kv")
	rope := c.Rope("", d.dim, 10000, float64(min(c.Dim("rotary_dim"), d.dim))/float64(d.dim))
	m := d.finishNamed("embd.wte", "", "lm_head.linear", func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "mixer.Wqkv", QThenKThenV, true)
		a.O = d.linear(l, "mixer.out_proj", RoleO, d.hidden, d.heads*d.dim, true)
		a.Rope = rope
		n := d.blockNorm(l, "ln")
		return Block{Layer: l, Parallel: true, Steps: []Step{one(n, a, nil), one(n, d.plain(l, "mlp.fc1", "mlp.fc2", true), nil)}}
	})
	m.Norm = d.norm("lm_head.ln", d.hidden)
	m.Head.Bias = vector("lm_head.linear.bias", m.Vocab)
	return m
}

// parallel is a block of two branches that read one norm.
func (d *decoder) parallel(layer int, attention, mlp Op) Block {
	n := d.blockNorm(layer, "input_layernorm")
	return Block{Layer: layer, Parallel: true, Steps: []Step{one(n, attention, nil), one(n, mlp, nil)}}
}

// phi3 is Phi 3, 3.5 and 4: Llama with fused matrices and rotations for long
// contexts.
func phi3(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 4096, "rms_norm_eps": 1e-5}`)
	d := c.decoder(false)
	windows := c.windows(d.layers)
	rope := c.Rope("", d.dim, 10000, 1)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "self_attn.qkv_proj", QThenKThenV, d.qkvBias)
		a.Rope, a.Window = rope, windows[l]
		return d.block(l, a, d.gateUp(l, "mlp.gate_up_proj", "mlp.down_proj"))
	})
}

// gateUp is an MLP whose gate and up are one matrix.
func (d *decoder) gateUp(layer int, gateUp, down string) *MLP {
	return &MLP{
		GateUp: d.linear(layer, gateUp, RoleGateUp, 2*d.inner, d.hidden, d.mlpBias),
		Down:   d.linear(layer, down, RoleDown, d.hidden, d.inner, d.mlpBias),
		Inner:  d.inner, Act: d.act,
	}
}

// phimoe is Phi 3.5 MoE: Mixtral's names, LayerNorms, biases, and the choice of
// SparseMixer.
func phimoe(c *Config) *Model {
	c.Default(`{"num_key_value_heads": 8, "max_position_embeddings": 131072, "num_local_experts": 16, "num_experts_per_tok": 2, "router_jitter_noise": 0.01, "rms_norm_eps": 1e-5}`)
	d := c.decoder(false)
	d.norm = d.layerNorm(true)
	windows := c.windows(d.layers)
	rope := c.Rope("", d.dim, 1e6, 1)
	m := d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope, a.Window = rope, windows[l]
		return d.block(l, a, d.sparseMixer(l))
	})
	if c.Bool(false, "lm_head_bias") {
		m.Head.Bias = vector("lm_head.bias", m.Vocab)
	}
	return m
}

func (d *decoder) sparseMixer(l int) *MoE {
	m := d.mixtralExperts(l)
	m.Routing.Score = SparseMixer
	m.Routing.Jitter = float32(d.c.Float(0, "router_jitter_noise"))
	if m.TopK != 2 {
		d.c.Refuse("SparseMixer with %d experts for each token (2 are)", m.TopK)
	}
	return m
}
