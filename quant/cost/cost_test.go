package cost

import (
	"slices"
	"testing"

	"nibble/model"
)

// A token meets the experts that it chooses, and all else.
func TestMetWeights(t *testing.T) {
	c, err := model.ParseConfig([]byte(`{"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
		"intermediate_size": 16, "moe_intermediate_size": 4, "num_hidden_layers": 2, "vocab_size": 32, "num_experts": 8, "num_experts_per_tok": 2,
		"mlp_only_layers": [0], "decoder_sparse_step": 1, "max_position_embeddings": 64}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	attention := 2*8*8 + 2*4*8
	if got, want := metWeights(c), []float64{float64(attention + 3*16*8), float64(attention + 2*3*4*8)}; !slices.Equal(got, want) {
		t.Errorf("%v weights, want %v", got, want)
	}
}
