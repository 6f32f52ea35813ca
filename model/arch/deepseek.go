package arch

import (
	"math"

	"nibble/model/source"
)

var (
	_ = register(deepseek, "deepseek_v2", "deepseek_v3", "kimi_k2")
	_ = register(deepseekOne, "deepseek")
)

var _ = registerGGUF(
	ggufForm{arch: "deepseek2", kind: "deepseek_v2", class: "DeepseekV2ForCausalLM", config: deepseekGGUF, write: deepseekKeys},
	ggufForm{arch: "deepseek", kind: "deepseek", class: "DeepseekForCausalLM", paired: true, write: (*ggufKeys).sharedExperts, config: func(g *GGUF, c ggufConfig) { g.deepseekExperts(c) }},
)

func deepseekKeys(k *ggufKeys) {
	for op := range k.m.Blocks[0].Ops() {
		a, ok := op.(*LatentAttention)
		if !ok {
			continue
		}
		k.set("attention.kv_lora_rank", a.Rank)
		if a.QA != nil {
			k.set("attention.q_lora_rank", a.QA.Rows)
		}
		k.set("attention.key_length", a.Rank+a.RopeDim)
		k.set("attention.value_length", a.Rank)
		k.set("attention.key_length_mla", a.NopeDim+a.RopeDim)
		k.set("attention.value_length_mla", a.ValueDim)
		if a.Rope != nil {
			k.rotation(a.Rope, a.RopeDim)
		}
	}
	k.nonZero("rope.scaling.yarn_log_multiplier", float32(k.scaling().All/10))
	k.sharedExperts()
}

func deepseekGGUF(g *GGUF, c ggufConfig) {
	if g.int("expert_gating_func", 1) == 2 {
		c["model_type"], c["architectures"] = "deepseek_v3", []string{"DeepseekV3ForCausalLM"}
	}
	key := g.int("attention.key_length_mla", g.headDim()) // with latent keys, key_length is that of the latent
	turning := g.int("rope.dimension_count", 0)
	c["qk_rope_head_dim"], c["qk_nope_head_dim"] = turning, key-turning
	c["v_head_dim"] = g.int("attention.value_length_mla", g.int("attention.value_length", 0))
	c["kv_lora_rank"] = g.int("attention.kv_lora_rank", 0)
	c["q_lora_rank"] = nil
	g.copy(c, "q_lora_rank", "attention.q_lora_rank")
	c["num_key_value_heads"] = c["num_attention_heads"]
	delete(c, "head_dim")
	delete(c, "partial_rotary_factor")
	if m, ok := g.float("rope.scaling.yarn_log_multiplier"); ok {
		if s, ok := c["rope_scaling"].(map[string]any); ok {
			s["mscale"], s["mscale_all_dim"] = 10*m, 10*m // both are alike in all models
		}
	}
	g.deepseekExperts(c)
	if c["model_type"] == "deepseek_v3" {
		c["topk_method"], c["scoring_func"] = "noaux_tc", "sigmoid"
	}
}

// deepseekExperts translates the keys of experts of which some meet every token.
func (g *GGUF) deepseekExperts(c ggufConfig) {
	g.experts(c, "n_routed_experts")
	g.copy(c, "n_shared_experts", "expert_shared_count")
	g.copy(c, "first_k_dense_replace", "leading_dense_block_count")
	g.copy(c, "routed_scaling_factor", "expert_weights_scale")
	c["norm_topk_prob"] = g.bool("expert_weights_norm", false)
	c["topk_method"] = "greedy"
	if groups := g.int("expert_group_count", 1); groups > 1 {
		c["topk_method"], c["n_group"], c["topk_group"] = "group_limited_greedy", groups, g.int("expert_group_used_count", 1)
	}
}

// deepseek is DeepSeek-V2 and V3: latent attention, and experts of which some
// meet every token.
func deepseek(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
		"routed_scaling_factor": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 0, "moe_layer_freq": 1}`)
	three := c.Type() != "deepseek_v2"
	if three {
		c.Default(`{"n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "n_group": 8, "topk_group": 4,
			"first_k_dense_replace": 3, "routed_scaling_factor": 2.5, "q_lora_rank": 1536}`)
	} else {
		c.Default(`{"n_routed_experts": 64, "n_shared_experts": 2, "moe_intermediate_size": 1407, "q_lora_rank": 1536}`)
	}
	d := c.decoder(false)
	rope := c.Rope("", c.Dim("qk_rope_head_dim"), 10000, 1)
	if rope != nil {
		rope.Adjacent = c.Bool(true, "rope_interleave")
	}
	return d.finish(func(l int) Block {
		a := d.latent(l)
		a.Rope = rope
		return d.block(l, a, d.deepseekMLP(l, three))
	})
}

// deepseekOne is DeepSeek 1: attention as Llama has it, beside the experts of its
// successors.
func deepseekOne(c *Config) *Model {
	c.Default(`{"max_position_embeddings": 2048, "norm_topk_prob": false, "n_routed_experts": 0, "first_k_dense_replace": 0}`)
	d := c.decoder(false)
	rope := c.Rope("", d.dim, 10000, 1)
	return d.finish(func(l int) Block {
		a := d.attention(l)
		a.Rope = rope
		return d.block(l, a, d.deepseekMLP(l, false))
	})
}

// deepseekMLP is experts, and in the first layers an MLP. By sigmoids the experts
// are chosen since V3.
func (d *decoder) deepseekMLP(l int, sigmoid bool) Op {
	c := d.c
	if c.Int(0, "n_routed_experts") == 0 || l < c.Int(0, "first_k_dense_replace") || l%max(c.Int(1, "moe_layer_freq"), 1) != 0 {
		return d.mlp(l, "mlp", d.inner)
	}
	return d.deepseekExperts(l, sigmoid)
}

func (d *decoder) latent(l int) *LatentAttention {
	c := d.c
	a := &LatentAttention{Heads: d.heads, Rank: c.Dim("kv_lora_rank"), NopeDim: c.Dim("qk_nope_head_dim"), RopeDim: c.Dim("qk_rope_head_dim"), ValueDim: c.Dim("v_head_dim")}
	head := a.NopeDim + a.RopeDim
	norm := func(name string, width int) *Norm { // whose epsilon no config sets
		n := d.norm(d.in(l, name), width)
		n.Eps = 1e-6
		return n
	}
	if rank := c.Int(0, "q_lora_rank"); rank > 0 {
		a.QA = d.linear(l, "self_attn.q_a_proj", RoleQA, rank, d.hidden, d.qkvBias)
		a.QANorm = norm("self_attn.q_a_layernorm", rank)
		a.QB = d.linear(l, "self_attn.q_b_proj", RoleQB, d.heads*head, rank, false)
	} else {
		a.Q = d.linear(l, "self_attn.q_proj", RoleQ, d.heads*head, d.hidden, false)
	}
	a.KVA = d.linear(l, "self_attn.kv_a_proj_with_mqa", RoleKVA, a.Rank+a.RopeDim, d.hidden, d.qkvBias)
	a.KVANorm = norm("self_attn.kv_a_layernorm", a.Rank)
	a.KVB = d.linear(l, "self_attn.kv_b_proj", RoleKVB, d.heads*(a.NopeDim+a.ValueDim), a.Rank, false)
	a.O = d.linear(l, "self_attn.o_proj", RoleO, d.hidden, d.heads*a.ValueDim, d.qkvBias)
	a.Scale = float32(1 / math.Sqrt(float64(head)))
	p := c.ropeParameters("")
	if all := p.Float(0, "mscale_all_dim"); all != 0 {
		s := yarnScale(p.Float(1, "factor"), all)
		a.Scale *= float32(s * s)
	}
	c.Join(p)
	return a
}

// bySigmoids routes as DeepSeek-V3 does: by sigmoids, which a vector beside the router
// corrects for the choice, in groups.
func (d *decoder) bySigmoids(m *MoE) {
	m.Routing.Score = SigmoidScore
	m.Routing.Renormalize = d.c.Bool(true, "norm_topk_prob")
	m.Routing.Correction = vector(m.Router.Path+".e_score_correction_bias", len(m.Experts))
	d.inGroups(m, 2)
}

// inGroups chooses experts from groups, which their best so many scores judge; 0 for no
// groups.
func (d *decoder) inGroups(m *MoE, best int) {
	m.Routing.Factor = float32(d.c.Float(1, "routed_scaling_factor"))
	if m.Routing.GroupBest = best; best == 0 {
		return
	}
	m.Routing.Groups, m.Routing.TopGroups = d.c.DimOr(1, "n_group"), d.c.DimOr(1, "topk_group")
	if len(m.Experts)%m.Routing.Groups != 0 {
		d.c.Refuse("%d groups of %d experts", m.Routing.Groups, len(m.Experts))
	}
}

func (d *decoder) deepseekExperts(l int, three bool) *MoE {
	c := d.c
	inner := c.Dim("moe_intermediate_size")
	m := d.mixture(l, "mlp.gate", "mlp.experts", inner)
	m.Routing.Renormalize = c.Bool(false, "norm_topk_prob")
	switch method := c.String("greedy", "topk_method"); {
	case three:
		d.bySigmoids(m)
	case method == "greedy":
		d.inGroups(m, 0)
	case method == "group_limited_greedy":
		d.inGroups(m, 1)
	default:
		c.Refuse("topk_method %s", source.Quote(method))
	}
	if shared := c.Int(0, "n_shared_experts"); shared > 0 {
		m.Shared = d.mlp(l, "mlp.shared_experts", shared*inner)
	}
	return m
}
