package runtime

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/runtime/reference"
)

// unusual are small configs in which every step and every order within one occurs.
var unusual = map[string]string{
	"llama3 rope":       `"model_type": "llama", "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 16}, "tie_word_embeddings": true`,
	"longrope":          `"model_type": "phi3", "sliding_window": 7, "original_max_position_embeddings": 16, "rope_scaling": {"type": "longrope", "short_factor": [1, 1.5, 2, 3], "long_factor": [2, 3, 4, 5]}`,
	"norms after ropes": `"model_type": "hunyuan_v1_moe", "num_experts": 4, "moe_topk": 2`,
	"clips after norms": `"model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2, "clip_qkv": 0.7`,
	"clips":             `"model_type": "olmo", "clip_qkv": 0.7`,
	"head by head":      `"model_type": "stablelm", "qk_layernorm": true, "use_parallel_residual": true`,
	"heads of layers":   `"model_type": "gemma4", "num_hidden_layers": 4, "num_kv_shared_layers": 2, "head_dim": 8, "hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 40, "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"], "sliding_window": 5, "per_layer_config": {"1": {"head_dim": 16, "num_key_value_heads": 1}, "3": {"head_dim": 16, "num_key_value_heads": 1}}`,
	"experts beside":    `"model_type": "gemma4", "head_dim": 8, "global_head_dim": 16, "attention_k_eq_v": true, "hidden_size_per_layer_input": 0, "layer_types": ["full_attention", "full_attention"], "enable_moe_block": true, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 10, "final_logit_softcapping": 5`,
	"caps":              `"model_type": "gemma2", "head_dim": 8, "sliding_window": 5, "attn_logit_softcapping": 2`,
	"time steps":        `"model_type": "granitemoehybrid", "layer_types": ["mamba", "attention"], "shared_intermediate_size": 20, "mamba_n_heads": 8, "mamba_d_state": 6, "mamba_n_groups": 4, "time_step_limit": [0.5, 0.9], "residual_multiplier": 0.5, "attention_multiplier": 0.3`,
	"delta rule":        `"model_type": "qwen3_next", "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 6, "full_attention_interval": 2, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 10, "shared_expert_intermediate_size": 12`,
	"convolutions":      `"model_type": "lfm2_moe", "layer_types": ["conv", "full_attention"], "conv_bias": true, "num_dense_layers": 1, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 10, "routed_scaling_factor": 1.5`,
	"latent":            `"model_type": "deepseek_v3", "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 10, "n_shared_experts": 1, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5, "q_lora_rank": 12, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1`,
	"groups":            `"model_type": "deepseek_v2", "topk_method": "group_limited_greedy", "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 10, "kv_lora_rank": 10, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5, "n_group": 4, "topk_group": 2`,
	"a mixer":           `"model_type": "phimoe", "num_local_experts": 5, "router_jitter_noise": 0.2, "attention_bias": true, "lm_head_bias": true`,
	"kept norms":        `"model_type": "bloom", "n_layer": 2, "n_head": 6, "apply_residual_connection_post_layernorm": true`,
	"single steps":      `"model_type": "nemotron_h", "hybrid_override_pattern": "ME*-", "head_dim": 8, "mamba_num_heads": 4, "mamba_head_dim": 6, "ssm_state_size": 5, "n_groups": 2, "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "moe_intermediate_size": 10, "moe_shared_expert_intermediate_size": 12`,
	"slopes":            `"model_type": "falcon", "alibi": true, "parallel_attn": false, "multi_query": false, "bias": true`,
	"grouped rows":      `"model_type": "falcon", "new_decoder_architecture": true, "num_kv_heads": 2`,
	"late norms":        `"model_type": "opt", "num_key_value_heads": 6, "ffn_dim": 20, "do_layer_norm_before": false`,
	"narrow ends":       `"model_type": "opt", "ffn_dim": 20, "do_layer_norm_before": false, "word_embed_proj_dim": 14`,
	"sinks":             `"model_type": "gpt_oss", "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 5, "swiglu_limit": 0.4`,
	"temperature":       `"model_type": "ministral3", "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000, "factor": 4, "original_max_position_embeddings": 6, "llama_4_scaling_beta": 0.5}`,
	"one added":         `"model_type": "nemotron", "mlp_bias": true, "head_dim": 16`,
	"corrected":         `"model_type": "ernie4_5_moe", "moe_num_experts": 5, "moe_k": 2, "moe_intermediate_size": 10, "use_bias": true`,
	"multipliers":       `"model_type": "minicpm", "scale_emb": 3, "scale_depth": 1.4, "dim_model_base": 20`,
	"unit rows":         `"model_type": "baichuan", "vocab_size": 64001, "hidden_size": 12, "num_attention_heads": 2`,
}

// The runtime gives what the description means, whole and in pieces.
func TestUnusual(t *testing.T) {
	eng, err := kernels.New(kernels.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ids := []int32{3, 17, 5, 5, 38, 0, 21, 9, 30, 14, 2, 11, 26, 33, 7, 19, 1, 36, 12, 28}
	for name, own := range unusual {
		t.Run(name, func(t *testing.T) {
			dir := randomModel(t, own)
			ck, err := model.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer ck.Close()
			want, err := reference.Logits(ck.Config.Model, func(name string) ([]int, []float64, error) {
				x, err := ck.Tensor(name)
				if err != nil {
					return nil, nil, err
				}
				wide := make([]float64, x.Len())
				for i, v := range x.Floats() {
					wide[i] = float64(v)
				}
				return x.Shape, wide, nil
			}, ints(ids))
			if err != nil {
				t.Fatal(err)
			}
			m, err := LoadFloat(context.Background(), eng, ck)
			if err != nil {
				t.Fatal(err)
			}
			f := fixture{Logits: want, Std: deviation(want)}
			for i := range want {
				f.Positions = append(f.Positions, i)
			}
			f.check(t, "whole", f.forward(t, m.NewExactSession(len(ids)), ids), 0)
			if !strings.Contains(own, "longrope") { // whose rotations follow the length
				f.check(t, "in pieces", f.forward(t, m.NewExactSession(len(ids)), ids, 3, 1, 1, 6), 0)
			}
		})
	}
}

func ints(ids []int32) (out []int) {
	for _, id := range ids {
		out = append(out, int(id))
	}
	return out
}

// deviation is that of all logits.
func deviation(logits [][]float64) float64 {
	n, sum, squares := 0.0, 0.0, 0.0
	for _, row := range logits {
		for _, v := range row {
			n, sum, squares = n+1, sum+v, squares+v*v
		}
	}
	return math.Sqrt(squares/n - sum/n*sum/n)
}

// randomModel writes a model whose config has values of its own, with random
// weights.
func randomModel(t *testing.T, own string) string {
	t.Helper()
	values := map[string]any{"vocab_size": 40, "hidden_size": 48, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 6,
		"num_key_value_heads": 2, "max_position_embeddings": 64}
	if err := json.Unmarshal([]byte("{"+own+"}"), &values); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	c, err := model.ParseConfig(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	header, data := map[string]any{}, []byte{}
	for _, d := range c.Described() {
		h := fnv.New64a()
		h.Write([]byte(d.Name))
		rng := rand.New(rand.NewPCG(1, h.Sum64()))
		n := 1
		for _, s := range d.Shape {
			n *= s
		}
		mean, spread := 0.0, 1.0
		if last := d.Shape[len(d.Shape)-1]; len(d.Shape) > 1 && !strings.Contains(d.Name, "norm") {
			spread = 1.3 / math.Sqrt(float64(last))
		} else {
			mean, spread = 0.6, 0.3
		}
		from := len(data)
		for range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(mean+spread*rng.NormFloat64())))
		}
		header[d.Name] = map[string]any{"dtype": "F32", "shape": d.Shape, "data_offsets": []int{from, len(data)}}
	}
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...)
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), append(file, data...), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}
