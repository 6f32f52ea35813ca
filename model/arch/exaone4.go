package arch

var _ = register(exaone4, "exaone4")

var _ = registerGGUF(ggufForm{arch: "exaone4", kind: "exaone4", class: "Exaone4ForCausalLM", write: (*ggufKeys).layersWithWindow, config: func(g *GGUF, c ggufConfig) { g.windows(c) }})

// exaone4 is EXAONE 4: norms after the branches, norms of heads; in the large
// one three layers with a window and rotations, then one without either.
func exaone4(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048, "num_key_value_heads": 32, "rms_norm_eps": 1e-5, "sliding_window": 4096, "sliding_window_pattern": 4}`)
	d := c.decoder(false)
	rope := c.Rope("", d.dim, 10000, 1)
	types := c.LayerTypes(d.layers, func(l int) string {
		if c.Int(0, "sliding_window") == 0 {
			return fullAttention
		}
		if p := c.lookup([]string{"sliding_window_pattern"}); len(p) > 0 && p[0] == '"' { // such as "LLLG"
			pattern := c.String("", "sliding_window_pattern")
			if l == d.layers-1 || pattern[l%len(pattern)] == 'G' {
				return fullAttention
			}
			return slidingAttention
		}
		return everyNth(c.Int(4, "sliding_window_pattern"))(l)
	})
	return d.finish(func(l int) Block {
		a := d.attention(l)
		d.headNorms(a, l, "self_attn.q_norm", "self_attn.k_norm")
		window := c.Int(0, "sliding_window")
		if types[l] == slidingAttention {
			a.Window = window
		}
		if window == 0 || types[l] == slidingAttention {
			a.Rope = rope
		}
		return d.after(l, a, d.mlp(l, "mlp", d.inner))
	})
}
