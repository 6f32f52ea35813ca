package arch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fileOf is a GGUF file of one block with tensors of these shapes.
func fileOf(arch string, values map[string]any, shapes map[string][]int) *GGUF {
	all := map[string]any{"general.architecture": arch}
	for k, v := range map[string]any{"block_count": uint32(1), "context_length": uint32(8), "embedding_length": uint32(8), "attention.head_count": uint32(4),
		"attention.head_count_kv": uint32(2), "attention.key_length": uint32(2), "feed_forward_length": uint32(3)} {
		all[arch+"."+k] = v
	}
	for k, v := range values {
		all[arch+"."+k] = v
	}
	shapes["token_embd.weight"] = []int{5, 8}
	return &GGUF{Values: all, Count: len(shapes) + 1, Shape: func(t string) []int { return shapes[t] }, Floats: func(string) []float32 { return nil }}
}

// spell writes where a tensor is: the rows of each part, and columns.
func spell(s Stored) string {
	var words []string
	for _, p := range s.Parts {
		w := strings.TrimPrefix(p.Tensor, "blk.0.")
		if p.Expert >= 0 {
			w += fmt.Sprintf("[%d]", p.Expert)
		}
		if p.Transposed {
			w += "'"
		}
		words = append(words, fmt.Sprintf("%s %d+%d", w, p.First, p.Rows))
	}
	for _, c := range s.Columns {
		words = append(words, fmt.Sprintf("column %d+%d", c.First, c.Count))
	}
	return strings.Join(words, ", ")
}

// Tensors are found where GGUF files have them, in the order that they have there.
func TestGGUFTensors(t *testing.T) {
	moe := map[string]any{"expert_count": uint32(2), "expert_used_count": uint32(1), "expert_feed_forward_length": uint32(3)}
	delta := map[string]any{"full_attention_interval": uint32(4), "ssm.conv_kernel": uint32(4), "ssm.state_size": uint32(2), "ssm.group_count": uint32(2),
		"ssm.time_step_rank": uint32(4), "ssm.inner_size": uint32(12), "rope.dimension_count": uint32(2)}
	latent := map[string]any{"attention.kv_lora_rank": uint32(6), "attention.key_length": uint32(8), "attention.value_length": uint32(6), "rope.dimension_count": uint32(2),
		"attention.key_length_mla": uint32(5), "attention.value_length_mla": uint32(2), "attention.head_count": uint32(2)}
	for _, c := range []struct {
		arch   string
		values map[string]any
		shapes map[string][]int
		tensor string
		want   string
	}{
		{"llama", nil, map[string][]int{}, "model.layers.0.self_attn.k_proj.weight", "attn_k.weight 0+4"},
		{"llama", nil, map[string][]int{"blk.0.attn_qkv.weight": {16, 8}}, "model.layers.0.self_attn.k_proj.weight", "attn_qkv.weight 8+4"},
		{"llama", nil, map[string][]int{"blk.0.attn_qkv.weight": {16, 8}}, "model.layers.0.self_attn.v_proj.weight", "attn_qkv.weight 12+4"},
		{"gpt-oss", moe, map[string][]int{"blk.0.ffn_down_exps.weight": {2, 8, 3}, "blk.0.post_attention_norm.weight": {8}},
			"model.layers.0.post_attention_layernorm.weight", "post_attention_norm.weight 0+8"},
		{"qwen3moe", moe, map[string][]int{"blk.0.ffn_down_exps.weight": {2, 8, 3}}, "model.layers.0.mlp.experts.1.up_proj.weight", "ffn_up_exps.weight[1] 0+3"},
		{"qwen3moe", moe, map[string][]int{"blk.0.ffn_down_exps.weight": {2, 8, 3}, "blk.0.ffn_gate_up_exps.weight": {2, 6, 8}},
			"model.layers.0.mlp.experts.1.up_proj.weight", "ffn_gate_up_exps.weight[1] 3+3"},
		{"phi3", nil, map[string][]int{"blk.0.attn_qkv.weight": {16, 8}}, "model.layers.0.self_attn.qkv_proj.weight", "attn_qkv.weight 0+8, attn_qkv.weight 8+4, attn_qkv.weight 12+4"},
		{"phi3", nil, map[string][]int{}, "model.layers.0.mlp.gate_up_proj.weight", "ffn_up.weight 0+6"},
		{"phi3", nil, map[string][]int{"blk.0.ffn_gate.weight": {3, 8}}, "model.layers.0.mlp.gate_up_proj.weight", "ffn_gate.weight 0+3, ffn_up.weight 0+3"},
		{"falcon", map[string]any{"attention.layer_norm_epsilon": float32(1e-5)}, map[string][]int{"blk.0.attn_qkv.weight": {16, 8}, "blk.0.attn_norm.weight": {8}, "blk.0.attn_norm_2.weight": {8}},
			"transformer.h.0.self_attention.query_key_value.weight",
			"attn_qkv.weight 0+4, attn_qkv.weight 8+2, attn_qkv.weight 12+2, attn_qkv.weight 4+4, attn_qkv.weight 10+2, attn_qkv.weight 14+2"},
		{"falcon", nil, map[string][]int{"blk.0.attn_norm.weight": {8}, "blk.0.attn_norm_2.weight": {8}}, "transformer.h.0.ln_attn.weight", "attn_norm_2.weight 0+8"},
		{"falcon", nil, map[string][]int{"blk.0.attn_norm.weight": {8}, "blk.0.attn_norm_2.weight": {8}}, "transformer.h.0.ln_mlp.weight", "attn_norm.weight 0+8"},
		{"deepseek2", latent, map[string][]int{"blk.0.attn_k_b.weight": {2, 6, 3}}, "model.layers.0.self_attn.kv_b_proj.weight",
			"attn_k_b.weight[0]' 0+3, attn_v_b.weight[0] 0+2, attn_k_b.weight[1]' 0+3, attn_v_b.weight[1] 0+2"},
		{"deepseek2", latent, map[string][]int{"blk.0.attn_kv_b.weight": {10, 6}}, "model.layers.0.self_attn.kv_b_proj.weight", "attn_kv_b.weight 0+10"},
		{"qwen35", delta, map[string][]int{"blk.0.attn_gate.weight": {12, 8}}, "model.layers.0.linear_attn.in_proj_z.weight",
			"attn_gate.weight 0+3, attn_gate.weight 6+3, attn_gate.weight 3+3, attn_gate.weight 9+3"},
		{"qwen35", delta, map[string][]int{"blk.0.attn_gate.weight": {12, 8}}, "model.layers.0.linear_attn.out_proj.weight",
			"ssm_out.weight 0+8, column 0+3, column 6+3, column 3+3, column 9+3"},
		{"qwen35", delta, map[string][]int{"blk.0.attn_gate.weight": {12, 8}}, "model.layers.0.linear_attn.A_log", "ssm_a 0+1, ssm_a 2+1, ssm_a 1+1, ssm_a 3+1"},
		{"qwen3next", delta, map[string][]int{"blk.0.attn_gate.weight": {12, 8}, "blk.0.attn_qkv.weight": {20, 8}}, "model.layers.0.linear_attn.in_proj_qkvz.weight",
			"attn_qkv.weight 0+2, attn_qkv.weight 4+2, attn_qkv.weight 8+6, attn_gate.weight 0+6, attn_qkv.weight 2+2, attn_qkv.weight 6+2, attn_qkv.weight 14+6, attn_gate.weight 6+6"},
	} {
		g := fileOf(c.arch, c.values, c.shapes)
		config, err := g.Config()
		if err != nil {
			t.Errorf("%s: %v", c.arch, err)
			continue
		}
		m, err := Read(config, func(string) bool { return false })
		if err != nil {
			t.Errorf("%s: %v in %s", c.arch, err, config)
			continue
		}
		s, ok := g.Tensors(m)[c.tensor]
		if !ok || spell(s) != c.want {
			t.Errorf("%s: %s is %s, not %s", c.arch, c.tensor, spell(s), c.want)
		}
	}
}

// Every form names a family that there is, and makes a description of its keys or
// says which is wrong.
func TestGGUFForms(t *testing.T) {
	for _, name := range GGUFArchitectures() {
		if kind := strings.TrimSuffix(ggufForms[name].kind, "_text"); !slices.Contains(Families(), kind) {
			t.Errorf("%s is to be %s, which is no family", name, kind)
		}
		config, err := fileOf(name, nil, map[string][]int{}).Config()
		if err != nil && !errors.Is(err, ErrKeys) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && !strings.Contains(string(config), `"model_type"`) {
			t.Errorf("%s: %s", name, config)
		}
	}
}

// Rows that lie in pairs are found.
func TestPartRow(t *testing.T) {
	p := Part{View: View{First: 10}, Rows: 8, Paired: 4}
	var rows []int
	for r := range p.Rows {
		rows = append(rows, p.Row(r))
	}
	if !slices.Equal(rows, []int{10, 12, 11, 13, 14, 16, 15, 17}) {
		t.Error(rows)
	}
}
