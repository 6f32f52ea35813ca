package arch

var _ = register(internLM2, "internlm2")

// Its GGUF files are laid out as Llama's, which it is but for names.
var _ = registerGGUF(ggufForm{arch: "internlm2", kind: "llama", class: "LlamaForCausalLM", paired: true, apart: true})

// internLM2 is InternLM2: Llama under other names, with queries, keys and values
// together for each key-value head.
func internLM2(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048}`)
	d := c.decoder(false)
	d.body = c.Prefix("tok_embeddings.weight", "model.", "")
	bias := c.Bool(false, "bias")
	rope := c.Rope("", d.dim, 10000, 1)
	return d.finishNamed("tok_embeddings", "norm", "output", func(l int) Block {
		a := d.attention(l)
		d.fused(a, l, "attention.wqkv", GroupByKV, bias)
		a.O = d.linear(l, "attention.wo", RoleO, d.hidden, d.heads*d.dim, bias)
		a.Rope = rope
		return d.named(l, "attention_norm", a, "ffn_norm", d.gated(l, "feed_forward", "w1", "w3", "w2", d.inner))
	})
}
