package cost

import (
	"fmt"
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

// What a recurrent step computes counts where it is wider than attention, in memory and
// in time.
func TestRecurrentSteps(t *testing.T) {
	shape := func(width int) Shape {
		c, err := model.ParseConfig([]byte(fmt.Sprintf(`{"model_type": "lfm2", "architectures": ["Lfm2ForCausalLM"], "hidden_size": %d, "num_attention_heads": 2, "num_key_value_heads": 1,
			"intermediate_size": 32, "block_auto_adjust_ff_dim": false, "num_hidden_layers": 2, "layer_types": ["conv", "full_attention"], "conv_L_cache": 3, "vocab_size": 32,
			"max_position_embeddings": 64, "norm_eps": 1e-5}`, width)), nil)
		if err != nil {
			t.Fatal(err)
		}
		return Shape{Config: c, Samples: 1, Length: 10}
	}
	s := shape(64)
	w := s.Config.Widths()
	if w.Recurrent != 3*64 {
		t.Fatalf("%+v", w)
	}
	without := w
	without.Recurrent = 0
	if got, want := LayerValues(64, w)-LayerValues(64, without), float64(2*w.Recurrent-2*w.Heads*w.HeadDim-4*w.KVHeads*w.HeadDim); got != want {
		t.Errorf("%g values more, want %g", got, want)
	}
	if got, want := s.Computed(), int64(6*64+3*w.Recurrent+3*w.Inner); got != want {
		t.Errorf("%d values are kept, want %d", got, want)
	}
}
