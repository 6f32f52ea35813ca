package arch

import "math"

var _ = register(minicpm, "minicpm")

var _ = registerGGUF(ggufForm{arch: "minicpm", kind: "minicpm", class: "MiniCPMForCausalLM", paired: true, write: (*ggufKeys).scales, config: func(g *GGUF, c ggufConfig) {
	c["scale_emb"], c["scale_depth"], c["dim_model_base"] = 12, 1.4, 256 // of files older than their keys
	g.copy(c, "scale_emb", "embedding_scale")
	if s, ok := g.float("residual_scale"); ok {
		c["scale_depth"] = float64(s) * math.Sqrt(float64(g.int("block_count", 0)))
	}
	if s, ok := g.float("logit_scale"); ok && s > 0 {
		c["dim_model_base"] = float64(g.int("embedding_length", 0)) / float64(s)
	}
}})

// minicpm is MiniCPM 1 and 2: Llama with multipliers that follow from its depth and
// the width of the model that its settings were found with.
func minicpm(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048, "scale_emb": 1, "scale_depth": 1, "dim_model_base": 1, "num_experts": 0}`)
	d := c.decoder(true)
	rope := c.Rope("", d.dim, 10000, 1)
	m := d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		b := d.block(l, a, d.minicpmMLP(l))
		for s := range b.Steps {
			b.Steps[s].Scale = float32(c.Float(1, "scale_depth") / math.Sqrt(float64(d.layers)))
		}
		return b
	})
	m.Embed.Scale = float32(c.Float(1, "scale_emb"))
	m.Head.Scale = float32(c.Float(1, "dim_model_base") / float64(d.hidden))
	return m
}

func (d *decoder) minicpmMLP(l int) Op {
	if d.c.Int(0, "num_experts") == 0 {
		return d.mlp(l, "mlp", d.inner)
	}
	m := d.mixtureOf(l, "mlp.gate", "mlp.experts", [3]string{"w1", "w3", "w2"}, d.inner)
	m.Routing.Renormalize = true
	return m
}
