package arch

import "fmt"

var _ = register(qwen3next, "qwen3_next", "qwen3_5", "qwen3_5_moe")

var _ = registerGGUF(
	ggufForm{arch: "qwen3next", kind: "qwen3_next", class: "Qwen3NextForCausalLM", config: qwen3nextGGUF, write: qwen3nextKeys, partial: true,
		names: map[string]string{"ffn_norm": "post_attention_norm"}},
	ggufForm{arch: "qwen35", kind: "qwen3_5_text", class: "Qwen3_5ForCausalLM", config: qwen3nextGGUF, write: qwen3nextKeys, partial: true,
		names: map[string]string{"ffn_norm": "post_attention_norm"}, tensors: tiledValueHeads},
	ggufForm{arch: "qwen35moe", kind: "qwen3_5_moe_text", class: "Qwen3_5MoeForCausalLM", config: qwen3nextGGUF, write: qwen3nextKeys, partial: true,
		names: map[string]string{"ffn_norm": "post_attention_norm"}, tensors: tiledValueHeads},
)

func qwen3nextKeys(k *ggufKeys) {
	full := -1
	for i := range k.m.Blocks {
		for op := range k.m.Blocks[i].Ops() {
			switch o := op.(type) {
			case *DeltaRule:
				k.set("ssm.conv_kernel", o.Kernel)
				k.set("ssm.state_size", o.KeyDim)
				k.set("ssm.group_count", o.KeyHeads)
				k.set("ssm.time_step_rank", o.ValueHeads)
				k.set("ssm.inner_size", o.ValueHeads*o.ValueDim)
			case *Attention:
				if full < 0 {
					full = i
				}
			}
		}
	}
	k.set("full_attention_interval", full+1)
	kv := k.attention().KVHeads
	k.set("attention.head_count_kv", kv) // layers without attention have none to tell
	if k.arch != "qwen3next" {
		sections := k.scaling().Sections
		if len(sections) == 0 {
			n := int32(len(k.attention().Rope.Frequencies))
			first := (n + 2) / 3
			sections = []int32{first, (n - first + 1) / 2, (n - first) / 2}
		}
		k.set("rope.dimension_sections", append(sections[:min(3, len(sections)):min(3, len(sections))], 0))
	}
}

func qwen3nextGGUF(g *GGUF, c ggufConfig) {
	heads := g.int("ssm.time_step_rank", 0)
	c["linear_num_key_heads"], c["linear_num_value_heads"] = g.int("ssm.group_count", 0), heads
	c["linear_key_head_dim"], c["linear_value_head_dim"] = g.int("ssm.state_size", 0), g.int("ssm.inner_size", 0)/max(heads, 1)
	c["linear_conv_kernel_dim"] = g.int("ssm.conv_kernel", 0)
	c["full_attention_interval"] = g.int("full_attention_interval", 4)
	if g.int("expert_count", 0) > 0 {
		g.qwenExperts(c, true)
	}
}

// tiledValueHeads undoes the order of value heads that GGUF files have since Qwen
// 3.5: not those of the first key head, then those of the second and so on, but the
// first value heads of all key heads, then the second ones.
func tiledValueHeads(w *ggufNames, m *Model) {
	for i := range m.Blocks {
		for op := range m.Blocks[i].Ops() {
			d, ok := op.(*DeltaRule)
			if w.block = fmt.Sprintf("blk.%d.", i); !ok || !w.stored(w.rows("attn_gate", 0, d.ValueHeads*d.ValueDim)) {
				continue
			}
			before := 2 * d.KeyHeads * d.KeyDim // rows of queries and keys
			w.all[d.In.Path+".weight"] = d.tiled(w.all[d.In.Path+".weight"], before, d.ValueDim)
			w.all[d.Conv.Tensor] = d.tiled(w.all[d.Conv.Tensor], before, d.ValueDim)
			w.all[d.Z.Path+".weight"] = d.tiled(w.all[d.Z.Path+".weight"], 0, d.ValueDim)
			for _, name := range []string{d.A.Path + ".weight", d.B.Path + ".weight", d.ALog.Tensor, d.DtBias.Tensor} {
				w.all[name] = d.tiled(w.all[name], 0, 1)
			}
			out := w.all[d.Out.Path+".weight"]
			for _, p := range d.tiled(Stored{Parts: out.Parts}, 0, d.ValueDim).Parts {
				out.Columns = append(out.Columns, Span{p.First, p.Rows})
			}
			w.all[d.Out.Path+".weight"] = out
		}
	}
}

// tiled cuts what follows some rows of a tensor into those of each value head.
func (d *DeltaRule) tiled(s Stored, before, rows int) Stored {
	tensor := s.Parts[0].View
	part := func(first, n int) Part {
		v := tensor
		v.First = first
		return Part{View: v, Rows: n}
	}
	s.Parts = nil
	if before > 0 {
		s.Parts = append(s.Parts, part(0, before))
	}
	each := d.ValueHeads / d.KeyHeads
	for k := range d.KeyHeads {
		for i := range each {
			s.Parts = append(s.Parts, part(before+(i*d.KeyHeads+k)*rows, rows))
		}
	}
	return s
}

// qwen3next is Qwen3-Next, Qwen 3.5 and 3.6: three layers of the gated delta
// rule, then one of gated attention. The norms of the stream add 1 to their
// weights.
func qwen3next(c *Config) *Model {
	c.Default(`{"num_key_value_heads": 2, "head_dim": 256, "max_position_embeddings": 32768, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
		"linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32, "norm_topk_prob": true, "full_attention_interval": 4}`)
	next := c.Type() == "qwen3_next"
	d := c.decoder(false)
	d.norm = d.rms(1)
	rope := c.Rope("", d.dim, 10000, 0.25)
	every := c.Int(4, "full_attention_interval")
	types := c.LayerTypes(d.layers, func(l int) string {
		if every > 0 && (l+1)%every == 0 {
			return fullAttention
		}
		return linearAttention
	})
	moe := c.Has("num_experts", "num_local_experts") && c.Int(0, "num_experts", "num_local_experts") > 0
	return d.finish(func(l int) Block {
		var first Op
		if types[l] == linearAttention {
			first = d.deltaRule(l, next)
		} else {
			a := d.attention(l)
			a.Q = d.linear(l, "self_attn.q_proj", RoleQ, 2*d.heads*d.dim, d.hidden, d.qkvBias)
			a.Gated = true
			d.headNorms(a, l, "self_attn.q_norm", "self_attn.k_norm")
			a.Rope = rope
			first = a
		}
		if moe && c.sparse(l) {
			return d.block(l, first, d.sharedExperts(l))
		}
		return d.block(l, first, d.mlp(l, "mlp", d.inner))
	})
}

// deltaRule has separate matrices since 3.5; before, queries, keys, values and
// gates lie together for each key head, and so do rates and decays.
func (d *decoder) deltaRule(l int, grouped bool) *DeltaRule {
	c := d.c
	r := &DeltaRule{KeyHeads: c.Dim("linear_num_key_heads"), ValueHeads: c.Dim("linear_num_value_heads"),
		KeyDim: c.Dim("linear_key_head_dim"), ValueDim: c.Dim("linear_value_head_dim"), Kernel: c.Dim("linear_conv_kernel_dim"), Grouped: grouped}
	if r.ValueHeads%r.KeyHeads != 0 {
		c.fail(fmt.Errorf("%w: %d value heads are no multiple of %d key heads", ErrConfig, r.ValueHeads, r.KeyHeads))
	}
	keys, values := r.KeyHeads*r.KeyDim, r.ValueHeads*r.ValueDim
	channels := 2*keys + values
	if grouped {
		r.In = d.linear(l, "linear_attn.in_proj_qkvz", RoleIn, channels+values, d.hidden, false)
		r.B = d.linear(l, "linear_attn.in_proj_ba", RoleB, 2*r.ValueHeads, d.hidden, false)
	} else {
		r.In = d.linear(l, "linear_attn.in_proj_qkv", RoleIn, channels, d.hidden, false)
		r.Z = d.linear(l, "linear_attn.in_proj_z", RoleZ, values, d.hidden, false)
		r.B = d.linear(l, "linear_attn.in_proj_b", RoleB, r.ValueHeads, d.hidden, false)
		r.A = d.linear(l, "linear_attn.in_proj_a", RoleA, r.ValueHeads, d.hidden, false)
		r.A.Keep = true
	}
	r.B.Keep = true
	r.Out = d.linear(l, "linear_attn.out_proj", RoleOut, d.hidden, values, false)
	r.Conv = table(d.in(l, "linear_attn.conv1d.weight"), channels, 1, r.Kernel)
	r.ALog, r.DtBias = vector(d.in(l, "linear_attn.A_log"), r.ValueHeads), vector(d.in(l, "linear_attn.dt_bias"), r.ValueHeads)
	r.Norm = d.rms(0)(d.in(l, "linear_attn.norm"), r.ValueDim)
	return r
}
