package arch

import (
	"fmt"

	"nibble/model/source"
)

var _ = register(nemotronH, "nemotron_h")

// nemotronH is Nemotron-H and Nemotron 3: layers of one step each, which is Mamba-2,
// attention without rotation, an MLP without a gate, or such experts as DeepSeek-V3
// chooses.
func nemotronH(c *Config) *Model {
	kinds := c.nemotronKinds()
	c.Default(fmt.Sprintf(`{"vocab_size": 131072, "hidden_size": 4096, "num_hidden_layers": %d, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
		"max_position_embeddings": 4096, "intermediate_size": 21504, "layer_norm_epsilon": 1e-5, "n_routed_experts": 8, "num_experts_per_tok": 2,
		"ssm_state_size": 128, "n_groups": 8, "time_step_min": 0.001}`, max(len(kinds), 1)))
	d := c.decoder(false)
	d.layers = len(kinds)
	d.body = c.Prefix("embeddings.weight", "backbone.", "model.", "")
	d.eps = float32(c.Float(1e-5, "layer_norm_epsilon", "rms_norm_eps"))
	d.dim = c.DimOr(128, "head_dim", "attention_head_dim")
	d.act = c.Activation(ReLUSquared, "mlp_hidden_act")
	if c.Has("moe_latent_size") {
		c.Refuse("experts in a latent space (moe_latent_size)")
	}
	return d.finishNamed("embeddings", "norm_f", "lm_head", func(l int) Block {
		return Block{Layer: l, Steps: []Step{one(d.blockNorm(l, "norm"), d.nemotronStep(l, kinds[l]), nil)}}
	})
}

// nemotronStep is what a kind of layer does.
func (d *decoder) nemotronStep(l int, kind string) Op {
	c := d.c
	switch kind {
	case "mamba", "linear_attention":
		heads := c.DimOr(128, "mamba_num_heads")
		s := d.mamba2(l, "mixer", heads*c.DimOr(64, "mamba_head_dim"), heads, c.Bool(false, "use_bias"))
		s.DtMin, s.DtMax = float32(c.Float(0, "time_step_min", "mamba_dt_min")), 0
		return s
	case "attention", "full_attention":
		q, kv := d.heads*d.dim, d.kv*d.dim
		a := d.attention(l)
		a.Q, a.K = d.linear(l, "mixer.q_proj", RoleQ, q, d.hidden, d.qkvBias), d.linear(l, "mixer.k_proj", RoleK, kv, d.hidden, d.qkvBias)
		a.V, a.O = d.linear(l, "mixer.v_proj", RoleV, kv, d.hidden, d.qkvBias), d.linear(l, "mixer.o_proj", RoleO, d.hidden, q, d.oBias)
		return a
	case "mlp":
		return d.plain(l, "mixer.up_proj", "mixer.down_proj", d.mlpBias)
	}
	bias := d.mlpBias
	d.mlpBias = false // which experts have not
	m := d.mixtureOf(l, "mixer.gate", "mixer.experts", [3]string{"", "up_proj", "down_proj"}, c.DimOr(7688, "moe_intermediate_size"))
	d.mlpBias = bias
	d.bySigmoids(m)
	m.Shared = d.with(c.DimOr(7688, "moe_shared_expert_intermediate_size")).plain(l, "mixer.shared_experts.up_proj", "mixer.shared_experts.down_proj", bias)
	return m
}

// nemotronKinds are the kinds of layers: a list of names, or a pattern of letters.
func (c *Config) nemotronKinds() []string {
	kinds := c.Strings("layers_block_type", "layer_types")
	if kinds == nil {
		names := map[rune]string{'M': "mamba", '*': "attention", '-': "mlp", 'E': "moe"}
		for _, letter := range c.String("M*-", "hybrid_override_pattern") {
			if names[letter] == "" {
				c.Refuse("layers of kind %s", source.Quote(string(letter)))
			}
			kinds = append(kinds, names[letter])
		}
	}
	if len(kinds) == 0 || len(kinds) > maxLayers {
		c.fail(fmt.Errorf("%w: there are kinds for %d layers", ErrConfig, len(kinds)))
	}
	for _, k := range kinds {
		switch k {
		case "mamba", "linear_attention", "attention", "full_attention", "mlp", "moe":
		default:
			c.Refuse("layers of type %s", source.Quote(k))
		}
	}
	return kinds
}
