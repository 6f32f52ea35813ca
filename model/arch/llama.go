package arch

var _ = register(llama, "llama", "mistral", "ministral", "ministral3", "yi", "internlm3", "smollm3", "arcee", "seed_oss")

var _ = registerGGUF(
	ggufForm{arch: "llama", kind: "llama", class: "LlamaForCausalLM", paired: true, config: llamaGGUF},
	ggufForm{arch: "mistral3", kind: "ministral3", class: "Ministral3ForCausalLM", paired: true, config: ministral3GGUF, write: ministral3Keys},
	ggufForm{arch: "smollm3", kind: "smollm3", class: "SmolLM3ForCausalLM", paired: true},
	ggufForm{arch: "arcee", kind: "arcee", class: "ArceeForCausalLM", paired: true,
		config: func(_ *GGUF, c ggufConfig) { c["hidden_act"] = "relu2" }},
	ggufForm{arch: "seed_oss", kind: "seed_oss", class: "SeedOssForCausalLM",
		config: func(g *GGUF, c ggufConfig) { c["attention_out_bias"] = g.has("blk.0.attn_output.bias") }},
)

// llamaGGUF tells the families apart that llama.cpp takes for Llama.
func llamaGGUF(g *GGUF, c ggufConfig) {
	switch {
	case g.int("expert_count", 0) > 0:
		c["model_type"], c["architectures"] = "mixtral", []string{"MixtralForCausalLM"}
		g.experts(c, "num_local_experts")
	case g.int("attention.sliding_window", 0) > 0:
		c["model_type"], c["architectures"] = "mistral", []string{"MistralForCausalLM"}
	case g.has("blk.0.attn_q.bias") && !g.has("blk.0.attn_output.bias"):
		c["model_type"], c["architectures"] = "internlm3", []string{"InternLM3ForCausalLM"}
		c["qkv_bias"], c["bias"] = true, false
	}
}

func ministral3Keys(k *ggufKeys) {
	if t := k.attention().Temperature; t != nil {
		k.set("attention.temperature_scale", t.Beta)
		k.set("rope.scaling.original_context_length", t.Original)
	}
	k.nonZero("rope.scaling.yarn_log_multiplier", float32(k.scaling().All))
}

func ministral3GGUF(g *GGUF, c ggufConfig) {
	p, _ := c["rope_scaling"].(map[string]any)
	if p == nil {
		p = map[string]any{"rope_type": "default"}
	}
	if m, ok := g.float("rope.scaling.yarn_log_multiplier"); ok {
		p["mscale"], p["mscale_all_dim"] = m, m
	}
	g.copy(p, "llama_4_scaling_beta", "attention.temperature_scale")
	g.copy(p, "original_max_position_embeddings", "rope.scaling.original_context_length")
	p["rope_theta"] = c["rope_theta"]
	delete(c, "rope_scaling")
	delete(c, "rope_theta")
	c["rope_parameters"] = p
}

// llama is Llama 1 to 3 and everything of its shape: Mistral (with a window),
// Ministral 3 (with a temperature), InternLM3 (with biases), SmolLM3 (layers
// without rotation), Arcee (squared ReLU without a gate).
func llama(c *Config) *Model {
	kind := c.Type()
	switch kind {
	case "llama", "yi":
		c.Default(`{"max_position_embeddings": 2048}`)
	case "mistral", "ministral":
		c.Default(`{"num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096}`)
	case "ministral3":
		c.Default(`{"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 262144, "rms_norm_eps": 1e-5}`)
	case "internlm3":
		c.Default(`{"num_key_value_heads": 2, "head_dim": 128, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5}`)
	case "arcee":
		c.Default(`{"max_position_embeddings": 4096, "hidden_act": "relu2", "rms_norm_eps": 1e-5}`)
	case "seed_oss":
		c.Default(`{"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 524288, "attention_bias": true}`)
	case "smollm3":
		c.Default(`{"rope_theta": 2000000, "max_position_embeddings": 32768, "num_key_value_heads": 4}`)
	}
	d := c.decoder(kind == "smollm3")
	if kind == "internlm3" {
		d.qkvBias = c.Bool(d.qkvBias, "qkv_bias")
		d.oBias, d.mlpBias = c.Bool(d.oBias, "bias"), c.Bool(d.mlpBias, "bias")
	} else if kind == "seed_oss" {
		d.oBias = c.Bool(false, "attention_out_bias")
	}
	windows := c.windows(d.layers)
	rope := c.Rope("", d.dim, 10000, 1)
	turned := c.turned(d.layers)
	temperature := c.temperature()
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Window = windows[l]
		a.Temperature = temperature
		if turned[l] {
			a.Rope = rope
		}
		if kind == "arcee" {
			mlp := d.plain(l, "mlp.up_proj", "mlp.down_proj", d.mlpBias)
			return d.block(l, a, mlp)
		}
		return d.block(l, a, d.mlp(l, "mlp", d.inner))
	})
}

// temperature reads the attention temperature of Ministral 3.
func (c *Config) temperature() *Temperature {
	p := c.ropeParameters("")
	defer c.Join(p)
	beta := p.Float(0, "llama_4_scaling_beta")
	if beta == 0 {
		return nil
	}
	original := p.Int(c.Int(0, "max_position_embeddings"), "original_max_position_embeddings")
	if original < 1 {
		c.Refuse("llama_4_scaling_beta without original_max_position_embeddings")
	}
	return &Temperature{Beta: float32(beta), Original: original}
}

// turned reports for each layer whether it rotates queries and keys:
// no_rope_layers has 1 for those that do, no_rope_layer_interval says that every
// such layer does not.
func (c *Config) turned(layers int) []bool {
	given, every := c.Ints("no_rope_layers"), c.Int(0, "no_rope_layer_interval")
	if c.Type() == "smollm3" && every == 0 {
		every = 4
	}
	turned := make([]bool, layers)
	for i := range turned {
		switch {
		case i < len(given):
			turned[i] = given[i] != 0
		case every > 0:
			turned[i] = (i+1)%every != 0
		default:
			turned[i] = true
		}
	}
	return turned
}

// windows returns the window of each layer, 0 for none: sliding_window, where
// layer_types says so or, without layer_types, everywhere. use_sliding_window
// turns it off, and before max_window_layers there is none.
func (c *Config) windows(layers int) []int {
	w := make([]int, layers)
	size := c.Int(0, "sliding_window")
	if size <= 0 || !c.Bool(true, "use_sliding_window") {
		return w
	}
	first := 0
	if c.Has("use_sliding_window") && c.Type() != "qwen3_moe" { // which slides everywhere
		first = c.Int(0, "max_window_layers")
	}
	types := c.LayerTypes(layers, always(slidingAttention))
	for i := range w {
		if types[i] == slidingAttention && (c.Has("layer_types") || i >= first) {
			w[i] = size
		}
	}
	return w
}
