package arch

var _ = register(baichuan, "baichuan")

var _ = registerGGUF(ggufForm{arch: "baichuan", kind: "baichuan", class: "BaichuanForCausalLM", paired: true, apart: true})

// baichuan is Baichuan 1 and 2: Llama with fused queries, keys and values; the
// 13B has ALiBi instead of rotations; the second version brings the rows of its
// head to length 1.
func baichuan(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 4096}`)
	if !c.Has("max_position_embeddings") || c.Has("model_max_length") {
		c.values["max_position_embeddings"] = c.lookup([]string{"model_max_length", "max_position_embeddings"})
	}
	d := c.decoder(false)
	const large = 5120 // hidden states of the 13B
	var rope *Rope
	var slopes []float32
	if d.hidden >= large {
		slopes = alibiSlopes(d.heads, 8)
	} else {
		rope = c.Rope("", d.dim, 10000, 1)
	}
	m := d.finish(func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "self_attn.W_pack", QThenKThenV, false)
		a.Rope, a.Slopes = rope, slopes
		return d.block(l, a, d.mlp(l, "mlp", d.inner))
	})
	m.Head.Normalize = m.Vocab > 64000 // that of the first version
	return m
}
