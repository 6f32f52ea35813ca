package arch

// sketches are small configs and what they describe, see sketch.
var sketches = []struct{ family, config, want string }{
	{"llama", ``, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"mistral", `"sliding_window": 8, "head_dim": 20`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 20, 20 turn @10000, window 8
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"qwen2", `"use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 8, 8 turn @10000
rms post_attention_layernorm > mlp.gate up down: silu 64
1: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 8, 8 turn @10000, window 8
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"qwen2_moe", `"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 28`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 8, 8 turn @10000
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_expert.gate mlp.shared_expert.up mlp.shared_expert.down shared_expert_gate: 2 of 6 x silu 20, softmax
`},
	{"qwen3", `"head_dim": 16`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 16, 16 turn @10000, rms self_attn.q_norm
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"qwen3_moe", `"head_dim": 16, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "mlp_only_layers": [0], "norm_topk_prob": true, "use_sliding_window": true, "sliding_window": 8`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 16, 16 turn @10000, window 8, rms self_attn.q_norm
rms post_attention_layernorm > mlp.gate up down: silu 64
1: rms input_layernorm > self_attn.q k v o: 6/2 of 16, 16 turn @10000, window 8, rms self_attn.q_norm
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down: 2 of 6 x silu 20, softmax, renormalized
`},
	{"qwen3_vl_moe_text", `"num_local_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 128, 128 turn @10000, rms self_attn.q_norm
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down: 2 of 6 x silu 20, softmax, renormalized
`},
	{"gemma", `"head_dim": 16`, `
model.embed_tokens x6.93 ... rms+1 model.norm eps 1e-06 > tied
0: rms+1 input_layernorm > self_attn.q k v o: 6/2 of 16, 16 turn @10000
rms+1 post_attention_layernorm > mlp.gate up down: gelu_tanh 64
`},
	{"gemma2", `"head_dim": 16, "query_pre_attn_scalar": 20, "sliding_window": 8`, `
model.embed_tokens x6.93 ... rms+1 model.norm eps 1e-06 > tied cap 30
0: rms+1 input_layernorm > self_attn.q k v o: 6/2 of 16, scale 0.224, 16 turn @10000, window 8, cap 50 > rms+1 post_attention_layernorm
rms+1 pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 64 > rms+1 post_feedforward_layernorm
1: rms+1 input_layernorm > self_attn.q k v o: 6/2 of 16, scale 0.224, 16 turn @10000, cap 50 > rms+1 post_attention_layernorm
rms+1 pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 64 > rms+1 post_feedforward_layernorm
`},
	{"gemma3_text", `"head_dim": 16, "sliding_window": 8, "sliding_window_pattern": 2, "query_pre_attn_scalar": 20`, `
model.embed_tokens x6.93 ... rms+1 model.norm eps 1e-06 > tied
0: rms+1 input_layernorm > self_attn.q k v o: 6/2 of 16, scale 0.224, 16 turn @10000, window 8, rms+1 self_attn.q_norm > rms+1 post_attention_layernorm
rms+1 pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 64 > rms+1 post_feedforward_layernorm
1: rms+1 input_layernorm > self_attn.q k v o: 6/2 of 16, scale 0.224, 16 turn @1e+06, rms+1 self_attn.q_norm > rms+1 post_attention_layernorm
rms+1 pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 64 > rms+1 post_feedforward_layernorm
`},
	{"gemma4_text", `"head_dim": 8, "global_head_dim": 16, "sliding_window": 8, "hidden_size_per_layer_input": 4, "num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"], "num_kv_shared_layers": 2, "use_double_wide_mlp": true, "final_logit_softcapping": 30`, `
model.embed_tokens x6.93 + inputs of layers ... rms model.norm eps 1e-06 > tied cap 30
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, scale 1, 8 turn @10000, window 8, rms self_attn.q_norm, v normed > rms post_attention_layernorm
rms pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 64 > rms post_feedforward_layernorm
per_layer_input_gate per_layer_projection: gelu_tanh 4 > rms post_per_layer_input_norm
x layer_scalar
1: rms input_layernorm > self_attn.q k v o: 6/2 of 16, scale 1, 4 turn @1e+06, rms self_attn.q_norm, v normed > rms post_attention_layernorm
rms pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 64 > rms post_feedforward_layernorm
per_layer_input_gate per_layer_projection: gelu_tanh 4 > rms post_per_layer_input_norm
x layer_scalar
2: rms input_layernorm > self_attn.q o: 6/2 of 8, scale 1, 8 turn @10000, window 8, rms self_attn.q_norm, keys of 0 > rms post_attention_layernorm
rms pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 128 > rms post_feedforward_layernorm
per_layer_input_gate per_layer_projection: gelu_tanh 4 > rms post_per_layer_input_norm
x layer_scalar
3: rms input_layernorm > self_attn.q o: 6/2 of 16, scale 1, 4 turn @1e+06, rms self_attn.q_norm, keys of 1 > rms post_attention_layernorm
rms pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 128 > rms post_feedforward_layernorm
per_layer_input_gate per_layer_projection: gelu_tanh 4 > rms post_per_layer_input_norm
x layer_scalar
`},
	{"gemma4_text", `"head_dim": 8, "hidden_size_per_layer_input": 0, "attention_k_eq_v": true, "per_layer_config": {"01": {"head_dim": 16, "num_key_value_heads": 1}}, "layer_types": ["sliding_attention", "sliding_attention"], "enable_moe_block": true, "num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 20`, `
model.embed_tokens x6.93 ... rms model.norm eps 1e-06 > tied
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, scale 1, 8 turn @10000, window 512, rms self_attn.q_norm, v normed > rms post_attention_layernorm
rms pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 64 > rms post_feedforward_layernorm_1 & rms pre_feedforward_layernorm_2 > router.proj experts.0.gate experts.0.up experts.0.down: 2 of 6 x gelu_tanh 20, softmax, renormalized, scaled, router normed > rms post_feedforward_layernorm_2 > rms post_feedforward_layernorm
x layer_scalar
1: rms input_layernorm > self_attn.q k o: 6/1 of 16, scale 1, 4 turn @1e+06, rms self_attn.q_norm, v normed, v = k > rms post_attention_layernorm
rms pre_feedforward_layernorm > mlp.gate up down: gelu_tanh 64 > rms post_feedforward_layernorm_1 & rms pre_feedforward_layernorm_2 > router.proj experts.0.gate experts.0.up experts.0.down: 2 of 6 x gelu_tanh 20, softmax, renormalized, scaled, router normed > rms post_feedforward_layernorm_2 > rms post_feedforward_layernorm
x layer_scalar
`},
	{"phi", `"partial_rotary_factor": 0.5, "qk_layernorm": true`, `
model.embed_tokens ... lnb model.final_layernorm eps 1e-05 > lm_head+b
0: lnb input_layernorm > self_attn.q+b k+b v+b dense+b: 6/2 of 8, 4 turn @10000, lnb self_attn.q_layernorm
lnb input_layernorm > mlp.fc1+b fc2+b: gelu_tanh 64
parallel
`},
	{"phi3", `"sliding_window": 8`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.qkv o: 6/2 of 8, 8 turn @10000, window 8, qkv
rms post_attention_layernorm > mlp.gate_up down: silu 64
`},
	{"phimoe", `"num_local_experts": 6, "attention_bias": true, "lm_head_bias": true`, `
model.embed_tokens ... lnb model.norm eps 1e-05 > lm_head+b
0: lnb input_layernorm > self_attn.q+b k+b v+b o+b: 6/2 of 8, 8 turn @1e+06
lnb post_attention_layernorm > block_sparse_moe.gate block_sparse_moe.experts.0.w1 block_sparse_moe.experts.0.w3 block_sparse_moe.experts.0.w2: 2 of 6 x silu 64, sparsemixer, jitter 0.01
`},
	{"phi-msft", `"n_embd": 48, "n_head": 6, "n_layer": 2, "n_positions": 64, "rotary_dim": 4`, `
transformer.embd.wte ... lnb lm_head.ln eps 1e-05 > lm_head.linear+b
0: lnb ln > mixer.Wqkv+b out+b: 6/6 of 8, 4 turn @10000, qkv
lnb ln > mlp.fc1+b fc2+b: gelu_tanh 64
parallel
`},
	{"gpt_oss", `"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q+b k+b v+b o+b: 6/2 of 16, 16 turn @150000 x1.35, window 8, sinks
rms post_attention_layernorm > mlp.router+b mlp.experts.0.gate+b mlp.experts.0.up+b mlp.experts.0.down+b: 2 of 4 x silu 64, softmax, renormalized, limit 7
1: rms input_layernorm > self_attn.q+b k+b v+b o+b: 6/2 of 16, 16 turn @150000 x1.35, sinks
rms post_attention_layernorm > mlp.router+b mlp.experts.0.gate+b mlp.experts.0.up+b mlp.experts.0.down+b: 2 of 4 x silu 64, softmax, renormalized, limit 7
`},
	{"smollm3", `"no_rope_layers": [1, 0]`, `
model.embed_tokens ... rms model.norm eps 1e-06 > tied
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @2e+06
rms post_attention_layernorm > mlp.gate up down: silu 64
1: rms input_layernorm > self_attn.q k v o: 6/2 of 8
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"granite", `"embedding_multiplier": 3, "residual_multiplier": 0.5, "attention_multiplier": 0.2, "logits_scaling": 2`, `
model.embed_tokens x3 ... rms model.norm eps 1e-06 > lm_head x0.5
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, scale 0.2, 8 turn @10000 x0.5
rms post_attention_layernorm > mlp.gate up down: silu 64 x0.5
`},
	{"granitemoehybrid", `"layer_types": ["mamba", "attention"], "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 40, "mamba_n_heads": 8, "mamba_d_state": 6, "mamba_n_groups": 2, "attention_multiplier": 0.2, "time_step_limit": [0.5, 2]`, `
model.embed_tokens ... rms model.norm eps 1e-06 > tied
0: rms input_layernorm > mamba.in out: 8 of 12, state 6 in 2, kernel 4, rms mamba.norm in 2, dt 0.5 to 2
rms post_attention_layernorm > block_sparse_moe.router.layer block_sparse_moe.experts.0.gate block_sparse_moe.experts.0.up block_sparse_moe.experts.0.down shared_mlp.input_linear shared_mlp.output_linear: 2 of 4 x silu 64, softmax, renormalized
1: rms input_layernorm > self_attn.q k v o: 6/2 of 8, scale 0.2
rms post_attention_layernorm > block_sparse_moe.router.layer block_sparse_moe.experts.0.gate block_sparse_moe.experts.0.up block_sparse_moe.experts.0.down shared_mlp.input_linear shared_mlp.output_linear: 2 of 4 x silu 64, softmax, renormalized
`},
	{"granitemoehybrid", `"layer_types": ["attention", "attention"], "num_local_experts": 0, "shared_intermediate_size": 40, "position_embedding_type": "rope"`, `
model.embed_tokens ... rms model.norm eps 1e-06 > tied
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, scale 1, 8 turn @10000
rms post_attention_layernorm > shared_mlp.input_linear output_linear: silu 40
`},
	{"qwen3_next", `"head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 12, "full_attention_interval": 2, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 28`, `
model.embed_tokens ... rms+1 model.norm eps 1e-06 > lm_head
0: rms+1 input_layernorm > linear_attn.in_proj_qkvz in_proj_ba out: 2/4 of 8/12, kernel 4, grouped
rms+1 post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_expert.gate mlp.shared_expert.up mlp.shared_expert.down shared_expert_gate: 2 of 6 x silu 20, softmax, renormalized
1: rms+1 input_layernorm > self_attn.q k v o: 6/2 of 16, 4 turn @10000, rms+1 self_attn.q_norm, gated
rms+1 post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_expert.gate mlp.shared_expert.up mlp.shared_expert.down shared_expert_gate: 2 of 6 x silu 20, softmax, renormalized
`},
	{"qwen3_5", `"head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 12, "full_attention_interval": 2`, `
model.embed_tokens ... rms+1 model.norm eps 1e-06 > lm_head
0: rms+1 input_layernorm > linear_attn.in_proj_qkv in_proj_z in_proj_b in_proj_a out: 2/4 of 8/12, kernel 4
rms+1 post_attention_layernorm > mlp.gate up down: silu 64
1: rms+1 input_layernorm > self_attn.q k v o: 6/2 of 16, 4 turn @10000, rms+1 self_attn.q_norm, gated
rms+1 post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"lfm2", `"layer_types": ["conv", "full_attention"], "conv_bias": true, "block_multiple_of": 8`, `
model.embed_tokens ... rms model.embedding_norm eps 1e-05 > tied
0: rms operator_norm > conv.in+b out+b: kernel 3, bias
rms ffn_norm > feed_forward.w1 w3 w2: silu 48
1: rms operator_norm > self_attn.q k v out: 6/2 of 8, 8 turn @1e+06, rms self_attn.q_layernorm
rms ffn_norm > feed_forward.w1 w3 w2: silu 48
`},
	{"lfm2_moe", `"layer_types": ["conv", "full_attention"], "num_dense_layers": 1, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "routed_scaling_factor": 1.5`, `
model.embed_tokens ... rms model.embedding_norm eps 1e-05 > tied
0: rms operator_norm > conv.in out: kernel 3
rms ffn_norm > feed_forward.w1 w3 w2: silu 64
1: rms operator_norm > self_attn.q k v out: 6/2 of 8, 8 turn @1e+06, rms self_attn.q_layernorm
rms ffn_norm > feed_forward.gate feed_forward.experts.0.w1 feed_forward.experts.0.w3 feed_forward.experts.0.w2: 2 of 6 x silu 20, sigmoid, renormalized, x1.5, corrected
`},
	{"mixtral", `"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @1e+06, window 8
rms post_attention_layernorm > block_sparse_moe.gate block_sparse_moe.experts.0.w1 block_sparse_moe.experts.0.w3 block_sparse_moe.experts.0.w2: 2 of 4 x silu 64, softmax, renormalized
`},
	{"olmo", `"clip_qkv": 3`, `
model.embed_tokens ... ln eps 1e-05 > lm_head
0: ln > self_attn.q k v o: 6/2 of 8, 8 turn @10000, clip 3
ln > mlp.gate up down: silu 64
`},
	{"olmo2", ``, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: self_attn.q k v o: 6/2 of 8, 8 turn @10000, rms self_attn.q_norm > rms post_attention_layernorm
mlp.gate up down: silu 64 > rms post_feedforward_layernorm
`},
	{"olmo3", `"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"], "rope_theta": 500000, "rope_scaling": {"rope_type": "yarn", "factor": 8, "original_max_position_embeddings": 32}`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: self_attn.q k v o: 6/2 of 8, 8 turn @500000, window 8, rms self_attn.q_norm > rms post_attention_layernorm
mlp.gate up down: silu 64 > rms post_feedforward_layernorm
1: self_attn.q k v o: 6/2 of 8, 8 turn @500000 x1.21, rms self_attn.q_norm > rms post_attention_layernorm
mlp.gate up down: silu 64 > rms post_feedforward_layernorm
`},
	{"olmoe", `"num_experts": 6, "num_experts_per_tok": 2, "clip_qkv": 3`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000, rms self_attn.q_norm, clip 3, after norm
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down: 2 of 6 x silu 64, softmax
`},
	{"glm", `"head_dim": 12`, `
model.embed_tokens ... rms model.norm eps 1.5625e-07 > lm_head
0: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 12, 6 turn @10000 adjacent
rms post_attention_layernorm > mlp.gate_up down: silu 64
`},
	{"glm4", `"head_dim": 12`, `
model.embed_tokens ... rms model.norm eps 1.5625e-07 > lm_head
0: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 12, 6 turn @10000 adjacent > rms post_self_attn_layernorm
rms post_attention_layernorm > mlp.gate_up down: silu 64 > rms post_mlp_layernorm
`},
	{"glm4_moe", `"head_dim": 16, "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "n_group": 2, "use_qk_norm": true, "attention_bias": true`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 16, 8 turn @10000, rms self_attn.q_norm
rms post_attention_layernorm > mlp.gate up down: silu 64
1: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 16, 8 turn @10000, rms self_attn.q_norm
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_experts.gate mlp.shared_experts.up mlp.shared_experts.down: 3 of 8 x silu 20, sigmoid, renormalized, corrected, 1 of 2 groups by 2
`},
	{"cohere", `"use_qk_norm": true, "logit_scale": 0.25`, `
model.embed_tokens ... ln model.norm eps 1e-05 > tied x0.25
0: ln input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @500000 adjacent, ln self_attn.q_norm in 6
ln input_layernorm > mlp.gate up down: silu 64
parallel
`},
	{"cohere2", `"sliding_window": 8, "sliding_window_pattern": 2`, `
model.embed_tokens ... ln model.norm eps 1e-05 > tied x0.0625
0: ln input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000 adjacent, window 8
ln input_layernorm > mlp.gate up down: silu 64
parallel
1: ln input_layernorm > self_attn.q k v o: 6/2 of 8
ln input_layernorm > mlp.gate up down: silu 64
parallel
`},
	{"exaone4", `"sliding_window": 8, "sliding_window_pattern": 2`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: self_attn.q k v o: 6/2 of 8, 8 turn @10000, window 8, rms self_attn.q_norm > rms post_attention_layernorm
mlp.gate up down: silu 64 > rms post_feedforward_layernorm
1: self_attn.q k v o: 6/2 of 8, rms self_attn.q_norm > rms post_attention_layernorm
mlp.gate up down: silu 64 > rms post_feedforward_layernorm
`},
	{"exaone4", `"sliding_window": 8, "sliding_window_pattern": "LG", "num_hidden_layers": 3`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: self_attn.q k v o: 6/2 of 8, 8 turn @10000, window 8, rms self_attn.q_norm > rms post_attention_layernorm
mlp.gate up down: silu 64 > rms post_feedforward_layernorm
1: self_attn.q k v o: 6/2 of 8, rms self_attn.q_norm > rms post_attention_layernorm
mlp.gate up down: silu 64 > rms post_feedforward_layernorm
`},
	{"deepseek", `"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "n_shared_experts": 2, "first_k_dense_replace": 1`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000
rms post_attention_layernorm > mlp.gate up down: silu 64
1: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_experts.gate mlp.shared_experts.up mlp.shared_experts.down: 3 of 8 x silu 20, softmax
`},
	{"deepseek_v2", `"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "n_shared_experts": 2, "kv_lora_rank": 20, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 10, "q_lora_rank": 24, "topk_method": "group_limited_greedy", "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2, "first_k_dense_replace": 1`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q_a kv_a_proj_with_mqa q_b kv_b o: 6 of 12+8, 10, scale 0.224, 8 turn @10000 adjacent
rms post_attention_layernorm > mlp.gate up down: silu 64
1: rms input_layernorm > self_attn.q_a kv_a_proj_with_mqa q_b kv_b o: 6 of 12+8, 10, scale 0.224, 8 turn @10000 adjacent
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_experts.gate mlp.shared_experts.up mlp.shared_experts.down: 3 of 8 x silu 20, softmax, x2, 2 of 4 groups by 1
`},
	{"deepseek_v3", `"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "n_shared_experts": 1, "kv_lora_rank": 20, "qk_nope_head_dim": 12, "qk_rope_head_dim": 8, "v_head_dim": 10, "q_lora_rank": null, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5, "first_k_dense_replace": 1, "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 32, "mscale": 1, "mscale_all_dim": 1}`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q kv_a_proj_with_mqa kv_b o: 6 of 12+8, 10, scale 0.29, 8 turn @10000 adjacent
rms post_attention_layernorm > mlp.gate up down: silu 64
1: rms input_layernorm > self_attn.q kv_a_proj_with_mqa kv_b o: 6 of 12+8, 10, scale 0.29, 8 turn @10000 adjacent
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_experts.gate mlp.shared_experts.up mlp.shared_experts.down: 3 of 8 x silu 20, sigmoid, renormalized, x2.5, corrected, 2 of 4 groups by 2
`},
	{"gpt2", `"scale_attn_by_inverse_layer_idx": true`, `
transformer.wte + positions ... lnb transformer.ln_f eps 1e-05 > tied
0: lnb ln_1 > attn.c_attn+b c+b: 6/2 of 8, qkv
lnb ln_2 > mlp.c_fc+b c+b: gelu_tanh 64
1: lnb ln_1 > attn.c_attn+b c+b: 6/2 of 8, scale 0.177, qkv
lnb ln_2 > mlp.c_fc+b c+b: gelu_tanh 64
`},
	{"gpt_neox", `"rotary_pct": 0.5`, `
gpt_neox.embed_in ... lnb gpt_neox.final_layer_norm eps 1e-05 > embed_out
0: lnb input_layernorm > attention.query_key_value+b dense+b: 6/2 of 8, 4 turn @10000, grouped
lnb post_attention_layernorm > mlp.dense_h_to_4h+b dense_4h_to_h+b: gelu 64
parallel
`},
	{"gpt_neox", `"use_parallel_residual": false, "attention_bias": false`, `
gpt_neox.embed_in ... lnb gpt_neox.final_layer_norm eps 1e-05 > embed_out
0: lnb input_layernorm > attention.query_key_value dense: 6/2 of 8, 2 turn @10000, grouped
lnb post_attention_layernorm > mlp.dense_h_to_4h+b dense_4h_to_h+b: gelu 64
`},
	{"gptj", `"rotary_dim": 4`, `
transformer.wte ... lnb transformer.ln_f eps 1e-05 > lm_head+b
0: lnb ln_1 > attn.q k v out: 6/2 of 8, 4 turn @10000 adjacent
lnb ln_1 > mlp.fc_in+b fc_out+b: gelu_tanh 64
parallel
`},
	{"falcon", `"new_decoder_architecture": true, "num_kv_heads": 2`, `
transformer.word_embeddings ... lnb transformer.ln_f eps 1e-05 > tied
0: lnb ln_attn > self_attention.query_key_value dense: 6/2 of 8, 8 turn @10000, grouped
lnb ln_mlp > mlp.dense_h_to_4h dense_4h_to_h: gelu 192
parallel
`},
	{"falcon", `"new_decoder_architecture": true, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1`, `
transformer.word_embeddings ... lnb transformer.ln_f eps 1e-05 > tied
0: lnb input_layernorm > self_attention.query_key_value dense: 6/2 of 8, 8 turn @10000, grouped
lnb input_layernorm > mlp.dense_h_to_4h dense_4h_to_h: gelu 192
parallel
`},
	{"falcon", `"alibi": true, "parallel_attn": false, "multi_query": false, "bias": true`, `
transformer.word_embeddings ... lnb transformer.ln_f eps 1e-05 > tied
0: lnb input_layernorm > self_attention.query_key_value+b dense+b: 6/2 of 8, slopes [0.0884 0.0221 0.00552 0.00138 0.177 0.0442], grouped
lnb post_attention_layernorm > mlp.dense_h_to_4h+b dense_4h_to_h+b: gelu 192
`},
	{"falcon", ``, `
transformer.word_embeddings ... lnb transformer.ln_f eps 1e-05 > tied
0: lnb input_layernorm > self_attention.query_key_value dense: 6/1 of 8, 8 turn @10000, grouped
lnb input_layernorm > mlp.dense_h_to_4h dense_4h_to_h: gelu 192
parallel
`},
	{"bloom", `"apply_residual_connection_post_layernorm": true`, `
transformer.word_embeddings > lnb transformer.word_embeddings_layernorm ... lnb transformer.ln_f eps 1e-05 > tied
0: lnb input_layernorm >> self_attention.query_key_value+b dense+b: 6/2 of 8, slopes [0.25 0.0625 0.0156 0.00391 0.5 0.125], grouped
lnb post_attention_layernorm >> mlp.dense_h_to_4h+b dense_4h_to_h+b: gelu_tanh 64
`},
	{"nemotron_h", `"hybrid_override_pattern": "ME*-", "head_dim": 16, "mamba_num_heads": 6, "mamba_head_dim": 16, "ssm_state_size": 5, "n_groups": 2, "n_routed_experts": 6, "n_group": 2, "topk_group": 1, "moe_intermediate_size": 20, "moe_shared_expert_intermediate_size": 28, "routed_scaling_factor": 1.5`, `
backbone.embeddings ... rms backbone.norm_f eps 1e-05 > lm_head
0: rms norm > mixer.in out: 6 of 16, state 5 in 2, kernel 4, rms mixer.norm in 2
1: rms norm > mixer.gate mixer.experts.0.up mixer.experts.0.down mixer.shared_experts.up mixer.shared_experts.down: 2 of 6 x relu2 20, sigmoid, renormalized, x1.5, corrected, 1 of 2 groups by 2
2: rms norm > mixer.q k v o: 6/2 of 16
3: rms norm > mixer.up down: relu2 64
`},
	{"bloom", ``, `
transformer.word_embeddings > lnb transformer.word_embeddings_layernorm ... lnb transformer.ln_f eps 1e-05 > tied
0: lnb input_layernorm > self_attention.query_key_value+b dense+b: 6/2 of 8, slopes [0.25 0.0625 0.0156 0.00391 0.5 0.125], grouped
lnb post_attention_layernorm > mlp.dense_h_to_4h+b dense_4h_to_h+b: gelu_tanh 64
`},
	{"mpt", `"d_model": 48, "n_heads": 6, "n_layers": 2, "max_seq_len": 64, "attn_config": {"clip_qkv": 3}`, `
transformer.wte ... ln transformer.norm_f eps 1e-05 > tied
0: ln norm_1 > attn.Wqkv out: 6/6 of 8, clip 3, slopes [0.25 0.0625 0.0156 0.00391 0.5 0.125], qkv
ln norm_2 > ffn.up down: gelu 192
`},
	{"mpt", `"d_model": 48, "n_heads": 6, "n_layers": 2, "max_seq_len": 64, "attn_config": {"alibi": false, "kv_n_heads": 2}`, `
transformer.wte + positions ... ln transformer.norm_f eps 1e-05 > tied
0: ln norm_1 > attn.Wqkv out: 6/2 of 8, qkv
ln norm_2 > ffn.up down: gelu 192
`},
	{"opt", `"word_embed_proj_dim": 32, "do_layer_norm_before": false`, `
model.decoder.embed_tokens 32 + positions ... tied
0: self_attn.q+b k+b v+b out+b: 6/2 of 8 >> lnb self_attn_layer_norm
fc1+b fc2+b: relu 64 >> lnb final_layer_norm
`},
	{"opt", `"ffn_dim": 64, "do_layer_norm_before": false`, `
model.decoder.embed_tokens + positions ... tied
0: self_attn.q+b k+b v+b out+b: 6/2 of 8 >> lnb self_attn_layer_norm
fc1+b fc2+b: relu 64 >> lnb final_layer_norm
`},
	{"opt", `"ffn_dim": 64, "enable_bias": false, "layer_norm_elementwise_affine": false`, `
model.decoder.embed_tokens + positions ... ln eps 1e-05 > tied
0: ln > self_attn.q k v out: 6/2 of 8
ln > fc1 fc2: relu 64
`},
	{"starcoder2", `"sliding_window": 8`, `
model.embed_tokens ... lnb model.norm eps 1e-05 > tied
0: lnb input_layernorm > self_attn.q+b k+b v+b o+b: 6/2 of 8, 8 turn @10000, window 8
lnb post_attention_layernorm > mlp.c_fc+b c+b: gelu_tanh 64
`},
	{"stablelm", `"use_parallel_residual": true, "use_qkv_bias": true`, `
model.embed_tokens ... lnb model.norm eps 1e-05 > lm_head
0: lnb input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 8, 2 turn @10000
lnb input_layernorm > mlp.gate up down: silu 64
parallel
`},
	{"stablelm", `"qk_layernorm": true`, `
model.embed_tokens ... lnb model.norm eps 1e-05 > lm_head
0: lnb input_layernorm > self_attn.q k v o: 6/2 of 8, 2 turn @10000, ln self_attn.q_layernorm from self_attn.q_layernorm.norms.0.weight to self_attn.q_layernorm.norms.5.weight in 6
lnb post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"baichuan", ``, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.W_pack o: 6/2 of 8, 8 turn @10000, qkv
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"internlm2", ``, `
model.tok_embeddings ... rms model.norm eps 1e-06 > output
0: rms attention_norm > attention.wqkv wo: 6/2 of 8, 8 turn @10000, grouped
rms ffn_norm > feed_forward.w1 w3 w2: silu 64
`},
	{"nemotron", `"mlp_bias": true`, `
model.embed_tokens ... ln+1b model.norm eps 1e-05 > lm_head
0: ln+1b input_layernorm > self_attn.q k v o: 6/2 of 8, 4 turn @10000
ln+1b post_attention_layernorm > mlp.up+b down+b: relu2 64
`},
	{"ministral3", `"rope_parameters": {"rope_type": "yarn", "rope_theta": 1000000, "factor": 16, "original_max_position_embeddings": 16, "llama_4_scaling_beta": 0.1}`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 128, 128 turn @1e+06 x1.28, &{0.1 16}
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"arcee", `"hidden_act": "relu2"`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000
rms post_attention_layernorm > mlp.up down: relu2 64
`},
	{"seed_oss", `"attention_bias": true`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 128, 128 turn @10000
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"internlm3", `"qkv_bias": true, "bias": false`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q+b k+b v+b o: 6/2 of 128, 128 turn @10000
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"ernie4_5", `"use_bias": true`, `
model.embed_tokens ... rms model.norm eps 1e-05 > tied
0: rms input_layernorm > self_attn.q+b k+b v+b o+b: 6/2 of 128, 128 turn @500000 adjacent
rms post_attention_layernorm > mlp.gate+b up+b down+b: silu 64
`},
	{"ernie4_5_moe", `"moe_num_experts": 6, "moe_k": 2, "moe_intermediate_size": 20, "use_bias": true`, `
model.embed_tokens ... rms model.norm eps 1e-05 > tied+b
0: rms input_layernorm > self_attn.q+b k+b v+b o+b: 6/2 of 8, 8 turn @500000 adjacent
rms post_attention_layernorm > mlp.gate+b up+b down+b: silu 64
1: rms input_layernorm > self_attn.q+b k+b v+b o+b: 6/2 of 8, 8 turn @500000 adjacent
rms post_attention_layernorm > mlp.gate mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_experts.gate+b mlp.shared_experts.up+b mlp.shared_experts.down+b: 2 of 6 x silu 20, softmax, renormalized, corrected
`},
	{"hunyuan_v1_dense", `"rope_scaling": {"type": "dynamic", "alpha": 1000}`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @1e+08, rms self_attn.query_layernorm, after rope
rms post_attention_layernorm > mlp.gate up down: silu 64
`},
	{"hunyuan_v1_moe", `"num_experts": 4, "moe_topk": 2`, `
model.embed_tokens ... rms model.norm eps 1e-05 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000, rms self_attn.query_layernorm, after rope
rms post_attention_layernorm > mlp.gate.wg mlp.experts.0.gate mlp.experts.0.up mlp.experts.0.down mlp.shared_mlp.gate mlp.shared_mlp.up mlp.shared_mlp.down: 2 of 4 x silu 64, softmax, renormalized
`},
	{"minicpm", `"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 24`, `
model.embed_tokens x12 ... rms model.norm eps 1e-06 > tied x0.5
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000 x0.99
rms post_attention_layernorm > mlp.gate up down: silu 64 x0.99
`},
	{"minicpm", `"num_experts": 4, "num_experts_per_tok": 2`, `
model.embed_tokens ... rms model.norm eps 1e-06 > tied x0.0208
0: rms input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000 x0.707
rms post_attention_layernorm > mlp.gate mlp.experts.0.w1 mlp.experts.0.w3 mlp.experts.0.w2: 2 of 4 x silu 64, softmax, renormalized x0.707
`},
	{"minimax_m2", `"head_dim": 16, "rotary_dim": 8, "num_local_experts": 6, "num_experts_per_tok": 2`, `
model.embed_tokens ... rms model.norm eps 1e-06 > lm_head
0: rms input_layernorm > self_attn.q k v o: 6/2 of 16, 8 turn @5e+06, rms self_attn.q_norm
rms post_attention_layernorm > block_sparse_moe.gate block_sparse_moe.experts.0.w1 block_sparse_moe.experts.0.w3 block_sparse_moe.experts.0.w2: 2 of 6 x silu 64, sigmoid, renormalized, corrected
`},
	{"qwen", `"num_key_value_heads": 6`, `
transformer.wte ... rms transformer.ln_f eps 1e-06 > lm_head
0: rms ln_1 > attn.c_attn+b c: 6/6 of 8, 8 turn @10000, qkv
rms ln_2 > mlp.w2 w1 c: silu 32
`},
	{"orion", ``, `
model.embed_tokens ... lnb model.norm eps 1e-06 > lm_head
0: lnb input_layernorm > self_attn.q k v o: 6/2 of 8, 8 turn @10000
lnb post_attention_layernorm > mlp.gate up down: silu 64
`},
}
