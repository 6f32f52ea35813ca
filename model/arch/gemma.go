package arch

import "math"

var _ = register(gemma, "gemma", "gemma2", "gemma3")

var _ = registerGGUF(
	ggufForm{arch: "gemma", kind: "gemma", class: "GemmaForCausalLM", config: gemmaGGUF},
	ggufForm{arch: "gemma2", kind: "gemma2", class: "Gemma2ForCausalLM", config: gemmaGGUF},
	ggufForm{arch: "gemma3", kind: "gemma3_text", class: "Gemma3ForCausalLM", config: gemmaGGUF},
)

func gemmaGGUF(g *GGUF, c ggufConfig) {
	c["hidden_activation"] = "gelu_pytorch_tanh"
	c["query_pre_attn_scalar"] = g.headDim()
	if layers := c["num_hidden_layers"]; g.arch == "gemma2" && layers == 46 || g.arch == "gemma3" && layers == 62 { // 27B
		c["query_pre_attn_scalar"] = g.int("embedding_length", 0) / max(g.int("attention.head_count", 1), 1)
	}
	c["attn_logit_softcapping"], c["final_logit_softcapping"] = nil, nil
	g.copy(c, "attn_logit_softcapping", "attn_logit_softcapping")
	g.copy(c, "final_logit_softcapping", "final_logit_softcapping")
	g.windows(c)
	if g.arch == "gemma3" {
		c["rope_local_base_freq"] = 10000
		g.copy(c, "rope_local_base_freq", "rope.freq_base_swa")
	}
}

// gemma is Gemma 1 to 3: embeddings times the root of the width, norms that add
// 1 to their weights. Gemma 2 normalizes what branches give as well and caps
// logits; Gemma 3 has norms of heads, and rotations of their own for layers with
// a window.
func gemma(c *Config) *Model {
	kind := c.Type()
	switch kind {
	case "gemma":
		c.Default(`{"head_dim": 256, "max_position_embeddings": 8192, "num_key_value_heads": 16}`)
	case "gemma2":
		c.Default(`{"head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 8192, "query_pre_attn_scalar": 256,
			"sliding_window": 4096, "attn_logit_softcapping": 50, "final_logit_softcapping": 30, "sliding_window_pattern": 2}`)
	default:
		c.Default(`{"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
			"num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072, "query_pre_attn_scalar": 256, "sliding_window": 4096,
			"rope_theta": 1000000, "rope_local_base_freq": 10000, "sliding_window_pattern": 6}`)
	}
	d := c.decoder(true)
	if c.Has("hidden_activation") {
		d.act = c.Activation(GELUTanh, "hidden_activation")
	} else {
		d.act = GELUTanh // old files say gelu and mean its approximation
	}
	d.norm = d.rms(1)
	types := c.LayerTypes(d.layers, always(fullAttention))
	if kind != "gemma" {
		types = c.LayerTypes(d.layers, everyNth(c.Int(6, "sliding_window_pattern", "_sliding_window_pattern")))
	}
	ropes := map[string]*Rope{fullAttention: c.Rope(fullAttention, d.dim, 10000, 1)}
	ropes[slidingAttention] = ropes[fullAttention]
	if kind == "gemma3" {
		ropes[slidingAttention] = c.localRope(d.dim, c.Float(10000, "rope_local_base_freq"))
	}
	m := d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = ropes[types[l]]
		a.Scale = float32(1 / math.Sqrt(c.Float(float64(d.dim), "query_pre_attn_scalar")))
		if kind == "gemma" {
			return d.block(l, a, d.mlp(l, "mlp", d.inner))
		}
		if types[l] == slidingAttention {
			a.Window = c.Int(0, "sliding_window")
		}
		if kind == "gemma2" {
			a.SoftCap = float32(c.Float(0, "attn_logit_softcapping"))
		} else {
			d.headNorms(a, l, "self_attn.q_norm", "self_attn.k_norm")
		}
		return d.sandwich(l, a, d.mlp(l, "mlp", d.inner))
	})
	m.Embed.Scale = float32(math.Sqrt(float64(d.hidden)))
	if kind != "gemma" {
		m.Head.SoftCap = float32(c.Float(0, "final_logit_softcapping"))
	}
	return m
}

// localRope is the rotation of layers with a window: as rope_parameters has it for
// them, and otherwise unscaled, of a base of its own.
func (c *Config) localRope(dim int, theta float64) *Rope {
	if inner := c.Sub("rope_parameters").Sub(slidingAttention); len(inner.values) > 0 {
		return c.Rope(slidingAttention, dim, theta, 1)
	}
	return c.scaled(&Config{}, "default", theta, dim)
}

// sandwich is a block whose branches are normalized before and after.
func (d *decoder) sandwich(layer int, attention, mlp Op) Block {
	return Block{Layer: layer, Steps: []Step{
		one(d.blockNorm(layer, "input_layernorm"), attention, d.blockNorm(layer, "post_attention_layernorm")),
		one(d.blockNorm(layer, "pre_feedforward_layernorm"), mlp, d.blockNorm(layer, "post_feedforward_layernorm")),
	}}
}
