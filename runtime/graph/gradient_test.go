package graph

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/model/arch"
)

// described are configurations of tiny models that together have everything that a
// block can have.
var described = map[string]string{
	"llama": `{"model_type": "llama", "hidden_size": 12, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 20,
		"num_hidden_layers": 1, "attention_bias": true, "mlp_bias": true}`,
	"per-head norms": `{"model_type": "qwen3", "hidden_size": 12, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 20,
		"num_hidden_layers": 1}`,
	"norms after, caps, window": `{"model_type": "gemma2", "hidden_size": 12, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 20,
		"num_hidden_layers": 1, "sliding_window": 4, "query_pre_attn_scalar": 3, "attn_logit_softcapping": 0.7}`,
	"norms of whole queries, after the steps": `{"model_type": "olmo2", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 20,
		"num_hidden_layers": 1}`,
	"sinks, limited experts": `{"model_type": "gpt_oss", "hidden_size": 12, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 8,
		"num_hidden_layers": 1, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 5, "attention_bias": true, "swiglu_limit": 0.8}`,
	"delta rule, gated attention": `{"model_type": "qwen3_5_text", "hidden_size": 12, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 20,
		"num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2, "linear_num_value_heads": 4,
		"linear_key_head_dim": 8, "linear_value_head_dim": 5, "linear_conv_kernel_dim": 3}`,
	"grouped delta rule, shared expert": `{"model_type": "qwen3_next", "hidden_size": 12, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 20,
		"num_hidden_layers": 1, "layer_types": ["linear_attention"], "linear_num_key_heads": 2, "linear_num_value_heads": 4,
		"linear_key_head_dim": 8, "linear_value_head_dim": 5, "linear_conv_kernel_dim": 3, "num_experts": 4, "num_experts_per_tok": 2,
		"moe_intermediate_size": 6, "shared_expert_intermediate_size": 8, "decoder_sparse_step": 1}`,
	"latent attention, groups of experts": `{"model_type": "deepseek_v3", "hidden_size": 12, "num_attention_heads": 2, "intermediate_size": 20, "num_hidden_layers": 2,
		"q_lora_rank": 7, "kv_lora_rank": 5, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 8, "first_k_dense_replace": 1, "rope_interleave": true,
		"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "moe_intermediate_size": 6, "norm_topk_prob": true,
		"routed_scaling_factor": 1.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc"}`,
	"fused matrices, long rotation": `{"model_type": "phi3", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 20, "num_hidden_layers": 1,
		"max_position_embeddings": 64, "original_max_position_embeddings": 8,
		"rope_scaling": {"type": "longrope", "short_factor": [1, 2, 3], "long_factor": [2, 3, 4]}}`,
	"groups of a fused matrix, parallel": `{"model_type": "falcon", "hidden_size": 12, "num_attention_heads": 4, "num_kv_heads": 2, "new_decoder_architecture": true,
		"ffn_hidden_size": 20, "num_hidden_layers": 1, "alibi": true}`,
	"adjacent pairs, parallel": `{"model_type": "gptj", "n_embd": 12, "n_head": 2, "n_layer": 1, "rotary_dim": 4, "n_inner": 20}`,
	"distance and limits": `{"model_type": "mpt", "d_model": 12, "n_heads": 2, "n_layers": 1, "expansion_ratio": 2,
		"attn_config": {"alibi": true, "clip_qkv": 1.1}}`,
	"limits after norms": `{"model_type": "olmoe", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 8, "num_hidden_layers": 1,
		"num_experts": 4, "num_experts_per_tok": 2, "clip_qkv": 0.9}`,
	"norms after the rotation": `{"model_type": "hunyuan_v1_dense", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 6, "intermediate_size": 20,
		"num_hidden_layers": 1}`,
	"norms between steps": `{"model_type": "opt", "hidden_size": 12, "num_attention_heads": 2, "ffn_dim": 20, "num_hidden_layers": 1, "do_layer_norm_before": false,
		"activation_function": "gelu", "max_position_embeddings": 64}`,
	"norms before steps": `{"model_type": "bloom", "hidden_size": 12, "n_head": 2, "n_layer": 1, "apply_residual_connection_post_layernorm": true}`,
	"single steps": `{"model_type": "nemotron_h", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 6, "intermediate_size": 20,
		"hybrid_override_pattern": "E", "n_routed_experts": 4, "moe_intermediate_size": 6, "moe_shared_expert_intermediate_size": 8}`,
	"rectified":                 `{"model_type": "opt", "hidden_size": 12, "num_attention_heads": 2, "ffn_dim": 20, "num_hidden_layers": 1, "max_position_embeddings": 64}`,
	"squares, weights beside 1": `{"model_type": "nemotron", "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 20, "num_hidden_layers": 1}`,
	"short convolution": `{"model_type": "lfm2", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 20, "num_hidden_layers": 1,
		"layer_types": ["conv"], "conv_L_cache": 3, "conv_bias": true, "block_auto_adjust_ff_dim": false}`,
	"state space": `{"model_type": "granitemoehybrid", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 6, "num_hidden_layers": 1,
		"layer_types": ["mamba"], "mamba_n_heads": 4, "mamba_d_state": 3, "mamba_n_groups": 2, "mamba_expand": 2, "mamba_d_conv": 3, "num_local_experts": 3, "num_experts_per_tok": 2,
		"shared_intermediate_size": 8, "residual_multiplier": 0.4,
		"time_step_limit": [0.7, 2.5]}`,
	"a sparse mixer": `{"model_type": "phimoe", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 8, "num_hidden_layers": 1,
		"num_local_experts": 4, "num_experts_per_tok": 2, "router_jitter_noise": 0.3}`,
	"temperature": `{"model_type": "ministral3", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 6, "intermediate_size": 20, "num_hidden_layers": 1,
		"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000, "factor": 4, "original_max_position_embeddings": 4, "llama_4_scaling_beta": 0.5}}`,
	"shared keys, inputs of layers, values from keys, experts beside": `{"model_type": "gemma4_text", "hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 6,
		"global_head_dim": 8, "intermediate_size": 10, "num_hidden_layers": 4, "sliding_window": 5, "attention_k_eq_v": true,
		"layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"], "hidden_size_per_layer_input": 3, "num_kv_shared_layers": 2,
		"enable_moe_block": true, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 6,
		"rope_parameters": {"full_attention": {"partial_rotary_factor": 0.5, "rope_theta": 1000000, "rope_type": "proportional"}, "sliding_attention": {"rope_theta": 10000}}}`,
}

// describe reads a description by its configuration.
func describe(t *testing.T, config string) *arch.Model {
	t.Helper()
	with := fmt.Sprintf(`%s, "vocab_size": 16, "rms_norm_eps": 0.1}`, config[:len(config)-1]) // large enough to show
	m, err := arch.Read([]byte(with), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func engine(t *testing.T, threads int) *kernels.Engine {
	t.Helper()
	eng, err := kernels.New(kernels.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eng.Close)
	return eng
}

// noise returns a matrix of normal deviates around mean.
func noise(rng *rand.Rand, rows, cols int, mean, deviation float64) kernels.Matrix {
	m := kernels.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(mean + deviation*rng.NormFloat64())
	}
	return m
}

// random is a model's parts, drawn by their names.
type random struct {
	m        *arch.Model
	seed     uint64
	matrices map[string]Weight
	lengths  map[string]int // of vectors
}

func newRandom(m *arch.Model, seed uint64) *random {
	r := &random{m: m, seed: seed, matrices: map[string]Weight{}, lengths: map[string]int{}}
	for _, v := range m.Vectors() {
		r.lengths[v.Tensor] = v.Len
	}
	for _, l := range m.Linears() {
		r.lengths[l.Path] = l.Rows
		if l.Bias == nil {
			r.lengths[l.Path] = 0
		}
	}
	return r
}

func (r *random) source(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(r.seed, h.Sum64()))
}

func (r *random) parts() Parts {
	return Parts{
		Weight: func(l *arch.Linear) (Weight, error) {
			w := Weight{Value: noise(r.source(l.Path), l.Rows, l.Cols, 0, 0.4), Gradient: kernels.NewMatrix(l.Rows, l.Cols)}
			r.matrices[l.Path] = w
			return w, nil
		},
		Bias: func(path string) []float32 {
			if n := r.lengths[path]; n > 0 {
				return noise(r.source(path+".bias"), 1, n, 0, 0.3).Data
			}
			return nil
		},
		Vector: func(tensor string) []float32 { return noise(r.source(tensor), 1, r.lengths[tensor], 0.8, 0.3).Data },
	}
}

// texts are random ones for a block.
func (r *random) texts(layer int, lengths ...int) Texts {
	n := 0
	for _, l := range lengths {
		n += l
	}
	rng := r.source(fmt.Sprint("texts of ", layer))
	t := Texts{X: noise(rng, n, r.m.Hidden, 0, 1), Lengths: lengths}
	for op := range r.m.Blocks[layer].Ops() {
		switch op := op.(type) {
		case *arch.PerLayerInput:
			t.PerLayer = noise(rng, n, op.Width, 0, 1)
		case *arch.Attention:
			if op.KVFrom >= 0 {
				width := op.KVHeads * op.HeadDim
				t.Borrowed = KeysValues{noise(rng, n, width, 0, 1), noise(rng, n, width, 0, 1), kernels.NewMatrix(n, width), kernels.NewMatrix(n, width)}
			}
		}
	}
	return t
}

// slope is a loss that is linear in the outputs, so that its gradient is weights.
type slope struct {
	t       *testing.T
	tape    *Tape
	texts   Texts
	weights kernels.Matrix
}

func (s *slope) loss() float64 {
	y, err := s.tape.Forward(context.Background(), s.texts)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := 0.0
	for i := range y.Rows {
		for j, v := range y.Row(i) {
			sum += float64(v) * float64(s.weights.Row(i)[j])
		}
	}
	return sum
}

// sides tells on which side of every bend the block computed: which tokens chose
// which experts and which are near those, and what is beyond a limit or below 0.
func (s *slope) sides() (all []int) {
	beyond := func(m kernels.Matrix, limit float32) {
		for i := range m.Rows {
			for j, v := range m.Row(i) {
				if v > limit {
					all = append(all, j)
				}
			}
			all = append(all, -1)
		}
	}
	p := &s.tape.p
	feedForward := func(m *mlp) {
		r := record[mlpRecord](p, m.number)
		if m.Act == arch.ReLU {
			beyond(r.g, 0)
		}
		if m.Limit != 0 {
			beyond(r.g, m.Limit)
			beyond(r.u, m.Limit)
			beyond(r.u, -m.Limit)
		}
	}
	limited := func(w *way, r *wayRecord) {
		unclipped := r.in
		if w.clipsLate {
			unclipped = r.normed
		}
		if w.limit != 0 {
			beyond(unclipped, w.limit)
			beyond(unclipped, -w.limit)
		}
	}
	for _, st := range p.g.Blocks[0].steps {
		for _, br := range st.branches {
			switch op := br.op.(type) {
			case *attention:
				r := record[attentionRecord](p, op.number)
				limited(&op.qWay, &r.q)
				limited(&op.kWay, &r.k)
				limited(&op.vWay, &r.v)
			case *ssm:
				r := record[ssmRecord](p, op.number)
				for t := range r.wide.Rows {
					for h := range op.Heads {
						if op.token(r, h, t).free {
							all = append(all, t, h)
						}
					}
				}
			case *mlp:
				feedForward(op)
			case *experts:
				r := record[expertsRecord](p, op.number)
				for t := 0; op.Routing.Score == arch.SparseMixer && t < r.logits.Rows; t++ {
					for _, pick := range op.rule.sparsePicks(r.logits.Row(t)) {
						for i, share := range pick.among {
							if share > 0 {
								all = append(all, i)
							}
						}
					}
				}
				for i, c := range r.chosen {
					if all = append(append(all, c.tokens...), -1); len(c.tokens) > 0 {
						feedForward(op.all[i])
					}
				}
			}
		}
	}
	return all
}

// along compares a gradient with the slope in a direction, of which it takes so much
// either way; at a bend there is none.
func (s *slope) along(name string, x, gradient, direction []float32, step float64) {
	s.t.Helper()
	was := slices.Clone(x)
	want, sides := 0.0, [2][]int{}
	move := func(i int, by float64) float64 {
		for j, d := range direction {
			x[j] = was[j] + float32(by*float64(d))
		}
		loss := s.loss()
		sides[i] = s.sides()
		return loss
	}
	got := (move(0, step) - move(1, -step)) / (2 * step)
	copy(x, was)
	for j, d := range direction {
		want += float64(d) * float64(gradient[j])
	}
	if slices.Equal(sides[0], sides[1]) && math.Abs(want-got) > 0.01*(1+math.Abs(got)) {
		s.t.Errorf("%s: gradient %g, slope %g", name, want, got)
	}
}

// check compares a gradient along itself and for some elements.
func (s *slope) check(rng *rand.Rand, name string, x, gradient []float32, elements int) {
	s.t.Helper()
	norm := 0.0
	for _, g := range gradient {
		norm += float64(g) * float64(g)
	}
	if norm == 0 {
		s.t.Errorf("%s has no gradient", name)
		return
	}
	direction := make([]float32, len(x))
	for i, g := range gradient {
		direction[i] = float32(float64(g) / math.Sqrt(norm))
	}
	s.along(name, x, gradient, direction, 3e-3)
	for range elements {
		clear(direction)
		i := rng.IntN(len(x))
		direction[i] = 1
		s.along(fmt.Sprint(name, " ", i), x, gradient, direction, 3e-3)
	}
}

// Gradients are the slopes of the loss, for everything that a block can have.
func TestGradients(t *testing.T) {
	eng := engine(t, 2)
	for _, name := range slices.Sorted(maps.Keys(described)) {
		m := describe(t, described[name])
		for layer := range m.Blocks {
			t.Run(fmt.Sprint(name, " ", layer), func(t *testing.T) {
				r := newRandom(m, 3)
				g, err := CompileBlock(eng, &m.Blocks[layer], r.parts())
				if err != nil {
					t.Fatal(err)
				}
				tape := g.NewTape(37)
				s := &slope{t, tape, r.texts(layer, 5, 1, 37), noise(r.source("loss"), 43, m.Hidden, 0, 1)}
				s.loss()
				dx, err := tape.Backward(context.Background(), 0, s.weights)
				if err != nil {
					t.Fatal(err)
				}
				of := slices.Clone(dx.Data)
				rng := rand.New(rand.NewPCG(9, 9))
				s.check(rng, "input", s.texts.X.Data, of, 12)
				if s.texts.PerLayer.Data != nil {
					s.check(rng, "the layer's input", s.texts.PerLayer.Data, slices.Clone(tape.PerLayerGradient().Data), 6)
				}
				if lent := s.texts.Borrowed; lent.Keys.Data != nil {
					s.check(rng, "borrowed keys", lent.Keys.Data, lent.DKeys.Data, 6)
					s.check(rng, "borrowed values", lent.Values.Data, lent.DValues.Data, 6)
				}
				for _, path := range slices.Sorted(maps.Keys(r.matrices)) {
					if w := r.matrices[path]; tape.Input(path).Rows > 0 {
						s.check(rng, path, w.Value.Data, w.Gradient.Data, 3)
					}
				}
			})
		}
	}
}
