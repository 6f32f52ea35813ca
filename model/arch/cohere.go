package arch

var _ = register(cohere, "cohere", "cohere2")

var _ = registerGGUF(
	ggufForm{arch: "command-r", kind: "cohere", class: "CohereForCausalLM", config: cohereGGUF, write: func(k *ggufKeys) { k.set("logit_scale", k.m.Head.Scale) }},
	ggufForm{arch: "cohere2", kind: "cohere2", class: "Cohere2ForCausalLM", config: cohereGGUF, write: func(k *ggufKeys) { k.set("logit_scale", k.m.Head.Scale) }},
)

func cohereGGUF(g *GGUF, c ggufConfig) {
	c["logit_scale"] = 1
	g.copy(c, "logit_scale", "logit_scale")
	c["use_qk_norm"] = g.has("blk.0.attn_q_norm.weight")
	g.windows(c)
}

// cohere is Command R (Cohere) and its successor with windows: one LayerNorm
// without bias feeds attention and MLP, pairs that turn are adjacent, logits are
// scaled.
func cohere(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 8192, "layer_norm_eps": 1e-5, "logit_scale": 0.0625}`)
	two := c.Type() == "cohere2"
	if !two {
		c.Default(`{"rope_theta": 500000}`)
	}
	d := c.decoder(true)
	d.norm = d.layerNorm(false)
	rope := c.Rope("", d.dim, 10000, 1)
	if rope != nil {
		rope.Adjacent = true
	}
	types := c.LayerTypes(d.layers, always(fullAttention))
	if two {
		types = c.LayerTypes(d.layers, everyNth(c.Int(4, "sliding_window_pattern")))
	}
	m := d.finish(func(l int) Block {
		a := d.attention(l)
		if !two || types[l] == slidingAttention {
			a.Rope = rope
		}
		if two && types[l] == slidingAttention {
			a.Window = c.Int(4096, "sliding_window")
		}
		if c.Bool(false, "use_qk_norm") {
			d.headNorms(a, l, "self_attn.q_norm", "self_attn.k_norm")
			a.QNorm.Weight = table(a.QNorm.Weight.Tensor, d.heads, d.dim) // weights of each head
			a.KNorm.Weight = table(a.KNorm.Weight.Tensor, d.kv, d.dim)
		}
		return d.parallel(l, a, d.mlp(l, "mlp", d.inner))
	})
	m.Head.Scale = float32(c.Float(1, "logit_scale"))
	return m
}
