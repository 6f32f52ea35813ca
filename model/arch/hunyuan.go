package arch

import (
	"math"
	"strings"
)

var _ = register(hunyuan, "hunyuan_v1_dense", "hunyuan_v1_moe")

// The base of rotations in files is what alpha raised it to.
var _ = registerGGUF(
	ggufForm{arch: "hunyuan-dense", kind: "hunyuan_v1_dense", class: "HunYuanDenseV1ForCausalLM"},
	ggufForm{arch: "hunyuan-moe", kind: "hunyuan_v1_moe", class: "HunYuanMoEV1ForCausalLM", config: func(g *GGUF, c ggufConfig) {
		g.experts(c, "num_experts")
		c["moe_topk"], c["intermediate_size"] = c["num_experts_per_tok"], g.int("expert_feed_forward_length", g.int("feed_forward_length", 0))
	}},
)

// hunyuan is Hunyuan 1: Llama with norms of heads after the rotation, whose base
// alpha may raise, and in the large ones experts beside one that meets every token.
func hunyuan(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "moe_topk": 1}`)
	moe := strings.HasSuffix(c.Type(), "_moe")
	d := c.decoder(false)
	rope := c.alphaRope(d.dim)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope, a.NormAfterRope = rope, true
		d.headNorms(a, l, "self_attn.query_layernorm", "self_attn.key_layernorm")
		if !moe {
			return d.block(l, a, d.mlp(l, "mlp", d.inner))
		}
		m := d.mixture(l, "mlp.gate.wg", "mlp.experts", d.inner)
		m.Routing.Renormalize = true
		m.Shared = d.mlp(l, "mlp.shared_mlp", d.inner)
		return d.block(l, a, m)
	})
}

// alphaRope is the rotation, of a base that alpha raises for good, although the
// type is called dynamic.
func (c *Config) alphaRope(dim int) *Rope {
	p := c.ropeParameters("")
	defer c.Join(p)
	alpha := p.Float(0, "alpha")
	if alpha <= 0 || p.String("", "rope_type", "type") != "dynamic" {
		return c.Rope("", dim, 10000, 1)
	}
	theta := p.Float(c.Float(10000, "rope_theta"), "rope_theta")
	return c.scaled(&Config{}, "default", theta*math.Pow(alpha, float64(dim)/float64(dim-2)), dim)
}
