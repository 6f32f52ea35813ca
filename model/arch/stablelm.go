package arch

import "fmt"

var _ = register(stableLM, "stablelm", "stablelm_epoch")

var _ = registerGGUF(ggufForm{arch: "stablelm", kind: "stablelm", class: "StableLmForCausalLM", partial: true,
	keys: map[string]string{"attention_bias": "use_qkv_bias"},
	config: func(g *GGUF, c ggufConfig) {
		c["use_parallel_residual"] = !g.has("blk.0.ffn_norm.weight")
		c["qk_layernorm"] = g.has("blk.0.attn_q_norm.weight")
	}})

// stableLM is StableLM 3B and 2: Llama with LayerNorms, of which a quarter of
// each head turns; the 12B runs its branches in parallel.
func stableLM(c *Config) *Model {
	c.Default(`{"num_key_value_heads": 32, "max_position_embeddings": 4096, "layer_norm_eps": 1e-5}`)
	d := c.decoder(false)
	d.norm = d.layerNorm(true)
	d.qkvBias = c.Bool(false, "use_qkv_bias")
	rope := c.Rope("", d.dim, 10000, 0.25)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		if c.Bool(false, "qk_layernorm") {
			a.QNorm, a.KNorm = d.eachHead(l, "self_attn.q_layernorm", d.heads), d.eachHead(l, "self_attn.k_layernorm", d.kv)
		}
		mlp := d.mlp(l, "mlp", d.inner)
		if c.Bool(false, "use_parallel_residual") {
			return d.parallel(l, a, mlp)
		}
		return d.block(l, a, mlp)
	})
}

// eachHead is a norm that has weights of its own for each head, and no biases. The
// family's files hold those of a head as a tensor.
func (d *decoder) eachHead(layer int, name string, heads int) *Norm {
	n := d.layerNorm(false)(d.in(layer, name), d.dim)
	n.Weight = table(n.Weight.Tensor, heads, d.dim)
	var parts []string
	for h := range heads {
		parts = append(parts, d.in(layer, fmt.Sprintf("%s.norms.%d.weight", name, h)))
	}
	if d.c.natively(parts...) {
		n.Weight.Parts = parts
	}
	return n
}
