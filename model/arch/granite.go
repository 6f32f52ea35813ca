package arch

import (
	"math"
	"slices"
)

var _ = register(granite, "granite", "granitemoe", "granitemoeshared", "granitemoehybrid")

var _ = registerGGUF(
	ggufForm{arch: "granite", kind: "granite", class: "GraniteForCausalLM", paired: true, config: graniteGGUF, write: graniteKeys},
	ggufForm{arch: "granitemoe", kind: "granitemoe", class: "GraniteMoeForCausalLM", paired: true, config: graniteGGUF, write: graniteKeys},
	ggufForm{arch: "granitehybrid", kind: "granitemoehybrid", class: "GraniteMoeHybridForCausalLM", paired: true, config: graniteGGUF, write: graniteKeys},
)

func graniteKeys(k *ggufKeys) {
	k.scales()
	if a := k.attention(); a != nil {
		k.set("attention.scale", a.Scale)
	}
}

func graniteGGUF(g *GGUF, c ggufConfig) {
	c["attention_multiplier"] = 1 / math.Sqrt(float64(max(g.headDim(), 1)))
	for key, name := range map[string]string{"attention.scale": "attention_multiplier", "embedding_scale": "embedding_multiplier",
		"residual_scale": "residual_multiplier", "logit_scale": "logits_scaling"} {
		g.copy(c, name, key)
	}
	if g.int("expert_count", 0) > 0 {
		g.experts(c, "num_local_experts")
		if n, ok := c["moe_intermediate_size"]; ok {
			c["intermediate_size"] = n
		}
		delete(c, "moe_intermediate_size")
		if n := g.int("expert_shared_feed_forward_length", 0); n > 0 {
			c["shared_intermediate_size"] = n
			if g.arch == "granitemoe" {
				c["model_type"], c["architectures"] = "granitemoeshared", []string{"GraniteMoeSharedForCausalLM"}
			}
		}
	} else if g.arch == "granitehybrid" {
		c["shared_intermediate_size"] = c["intermediate_size"]
	}
	if g.arch != "granitehybrid" {
		return
	}
	layers := g.int("block_count", 0)
	mamba := make([]bool, 0, max(min(layers, maxLayers), 0))
	for _, heads := range g.ints("attention.head_count_kv", layers) {
		mamba = append(mamba, heads == 0)
	}
	c.layerTypes(mamba, "mamba", "attention")
	if g.bool("rope.scaling.finetuned", !slices.Contains(mamba, true)) {
		c["position_embedding_type"] = "rope"
	}
	for key, name := range map[string]string{"ssm.conv_kernel": "mamba_d_conv", "ssm.state_size": "mamba_d_state",
		"ssm.group_count": "mamba_n_groups", "ssm.time_step_rank": "mamba_n_heads"} {
		g.copy(c, name, key)
	}
	if hidden := g.int("embedding_length", 0); hidden > 0 {
		c["mamba_expand"] = max(g.int("ssm.inner_size", 2*hidden)/hidden, 1)
	}
	c["mamba_conv_bias"] = true
}

// granite is Granite 3 and 4: Llama with four multipliers, experts in stacks, and
// in the hybrid family Mamba-2 layers.
func granite(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048, "embedding_multiplier": 1, "residual_multiplier": 1, "attention_multiplier": 1, "logits_scaling": 1, "num_local_experts": 8, "num_experts_per_tok": 2, "shared_intermediate_size": 0}`)
	kind := c.Type()
	if kind == "granitemoehybrid" {
		c.Default(`{"shared_intermediate_size": 1024}`)
	}
	d := c.decoder(kind == "granitemoehybrid")
	rope := c.Rope("", d.dim, 10000, 1)
	if kind == "granitemoehybrid" && c.String("", "position_embedding_type") != "rope" {
		rope = nil
	}
	types := c.LayerTypes(d.layers, always(fullAttention))
	m := d.finish(func(l int) Block {
		var first Op
		if types[l] == linearAttention {
			first = d.mamba2(l, "mamba", c.DimOr(2, "mamba_expand")*d.hidden, c.DimOr(128, "mamba_n_heads"), c.Bool(false, "mamba_proj_bias"))
		} else {
			a := d.attention(l)
			a.Rope = rope
			a.Scale = float32(c.Float(1, "attention_multiplier"))
			first = a
		}
		b := d.block(l, first, d.graniteMLP(l, kind))
		for s := range b.Steps {
			b.Steps[s].Scale = float32(c.Float(1, "residual_multiplier"))
		}
		return b
	})
	m.Embed.Scale = float32(c.Float(1, "embedding_multiplier"))
	m.Head.Scale = float32(1 / c.Float(1, "logits_scaling"))
	return m
}

// graniteMLP is an MLP, experts, or experts with a shared one.
func (d *decoder) graniteMLP(l int, kind string) Op {
	if kind == "granite" {
		return d.mlp(l, "mlp", d.inner)
	}
	var shared *MLP
	if inner := d.c.Int(0, "shared_intermediate_size"); inner > 0 {
		shared = d.with(inner).gateUp(l, "shared_mlp.input_linear", "shared_mlp.output_linear")
	}
	if d.c.Int(0, "num_local_experts") == 0 && shared != nil {
		return shared
	}
	m := d.mixture(l, "block_sparse_moe.router.layer", "block_sparse_moe.experts", d.inner)
	m.Routing.Renormalize = true
	m.Shared = shared
	in, out := d.in(l, "block_sparse_moe.input_linear.weight"), d.in(l, "block_sparse_moe.output_linear.weight")
	if d.c.natively(in) {
		for e := range m.Experts {
			x := &m.Experts[e]
			x.Gate.View, x.Up.View = View{Tensor: in, Expert: e}, View{Tensor: in, Expert: e, First: d.inner}
			x.Down.View = View{Tensor: out, Expert: e}
		}
	}
	return m
}
