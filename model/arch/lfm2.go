package arch

var _ = register(lfm2, "lfm2", "lfm2_moe")

var _ = registerGGUF(
	ggufForm{arch: "lfm2", kind: "lfm2", class: "Lfm2ForCausalLM", config: lfm2GGUF, write: lfm2Keys,
		keys: map[string]string{"rms_norm_eps": "norm_eps"}, names: map[string]string{"output_norm": "token_embd_norm"}},
	ggufForm{arch: "lfm2moe", kind: "lfm2_moe", class: "Lfm2MoeForCausalLM", config: lfm2GGUF, write: lfm2Keys,
		keys: map[string]string{"rms_norm_eps": "norm_eps"}, names: map[string]string{"output_norm": "token_embd_norm"}},
)

func lfm2Keys(k *ggufKeys) {
	for i := range k.m.Blocks {
		for op := range k.m.Blocks[i].Ops() {
			if c, ok := op.(*ShortConv); ok {
				k.set("shortconv.l_cache", c.Kernel)
			}
		}
	}
}

func lfm2GGUF(g *GGUF, c ggufConfig) {
	c["block_auto_adjust_ff_dim"] = false // the file has the width that this gives
	g.copy(c, "conv_L_cache", "shortconv.l_cache")
	var conv []bool
	for _, heads := range g.ints("attention.head_count_kv", g.int("block_count", 0)) {
		conv = append(conv, heads == 0)
	}
	c.layerTypes(conv, convolution, fullAttention)
	if g.int("expert_count", 0) > 0 {
		g.experts(c, "num_experts")
		c["num_dense_layers"] = g.int("leading_dense_block_count", 0)
		c["norm_topk_prob"] = g.bool("expert_weights_norm", true)
		g.copy(c, "routed_scaling_factor", "expert_weights_scale")
	}
}

// lfm2 is LFM2: gated short convolutions, with attention in some layers.
func lfm2(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 128000, "num_key_value_heads": 8, "norm_eps": 1e-5, "conv_L_cache": 3, "rope_theta": 1000000,
		"block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": true, "num_dense_layers": 2, "norm_topk_prob": true, "use_expert_bias": true,
		"num_experts": 32, "num_experts_per_tok": 4, "moe_intermediate_size": 1792}`)
	d := c.decoder(true)
	if c.Has("block_ff_dim") {
		d.inner = c.Dim("block_ff_dim")
	}
	moe := c.Type() == "lfm2_moe"
	if !moe && c.Bool(true, "block_auto_adjust_ff_dim") {
		inner, multiple := int(2*float64(d.inner)/3), c.DimOr(256, "block_multiple_of")
		inner = int(c.Float(1, "block_ffn_dim_multiplier") * float64(inner))
		d.inner = multiple * ((inner + multiple - 1) / multiple)
	}
	rope := c.Rope("", d.dim, 1e6, 1)
	types := c.LayerTypes(d.layers, func(l int) string {
		for _, full := range c.Ints("full_attn_idxs") {
			if full == l {
				return fullAttention
			}
		}
		return convolution
	})
	return d.finishNamed("embed_tokens", "embedding_norm", "lm_head", func(l int) Block {
		var first Op
		if types[l] == convolution {
			first = d.shortConv(l)
		} else {
			a := d.attention(l)
			a.O = d.linear(l, "self_attn.out_proj", RoleO, d.hidden, d.heads*d.dim, false)
			d.headNorms(a, l, "self_attn.q_layernorm", "self_attn.k_layernorm")
			a.Rope = rope
			first = a
		}
		var second Op = d.gated(l, "feed_forward", "w1", "w3", "w2", d.inner)
		if moe && l >= c.Int(0, "num_dense_layers") {
			second = d.lfm2Experts(l)
		}
		return Block{Layer: l, Steps: []Step{
			one(d.blockNorm(l, "operator_norm"), first, nil), one(d.blockNorm(l, "ffn_norm"), second, nil),
		}}
	})
}

func (d *decoder) shortConv(l int) *ShortConv {
	s := &ShortConv{
		In:     d.linear(l, "conv.in_proj", RoleIn, 3*d.hidden, d.hidden, d.c.Bool(false, "conv_bias")),
		Out:    d.linear(l, "conv.out_proj", RoleOut, d.hidden, d.hidden, d.c.Bool(false, "conv_bias")),
		Kernel: d.c.Dim("conv_L_cache"), Width: d.hidden,
	}
	s.Conv = table(d.in(l, "conv.conv.weight"), d.hidden, 1, s.Kernel)
	if d.c.Bool(false, "conv_bias") {
		s.Bias = vector(d.in(l, "conv.conv.bias"), d.hidden)
	}
	return s
}

func (d *decoder) lfm2Experts(l int) *MoE {
	inner := d.c.Dim("moe_intermediate_size")
	m := d.mixtureOf(l, "feed_forward.gate", "feed_forward.experts", [3]string{"w1", "w3", "w2"}, inner)
	m.Routing.Score = SigmoidScore
	m.Routing.Renormalize = d.c.Bool(true, "norm_topk_prob")
	m.Routing.Factor = float32(d.c.Float(1, "routed_scaling_factor"))
	if d.c.Bool(true, "use_expert_bias") {
		m.Routing.Correction = vector(d.in(l, "feed_forward.expert_bias"), len(m.Experts))
	}
	return m
}
