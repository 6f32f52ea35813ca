package arch

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// ropeOf is the rotation of the first layer of a small Llama with heads of 8.
func ropeOf(t *testing.T, own string) *Rope {
	t.Helper()
	for op := range read(t, "llama", own).Blocks[0].Ops() {
		if a, ok := op.(*Attention); ok {
			return a.Rope
		}
	}
	t.Fatal("no attention")
	return nil
}

func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
	for i := range got {
		if math.Abs(got[i]-want[i]) > 1e-9*(1+math.Abs(want[i])) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

// plain are the frequencies of heads of 8 at a base of 10000.
var plain = []float64{1, 0.1, 0.01, 0.001}

// Each type of scaling changes frequencies and magnitude as its definition says.
func TestRopeTypes(t *testing.T) {
	tau := 2 * math.Pi
	for _, c := range []struct {
		name, config string
		want, long   []float64
		from         int
		magnitude    float64
	}{
		{"default", ``, plain, nil, 0, 1},
		{"theta", `"rope_theta": 256`, []float64{1, 1. / 4, 1. / 16, 1. / 64}, nil, 0, 1},
		{"theta of rope_parameters", `"rope_theta": 5, "rope_parameters": {"rope_theta": 256}`, []float64{1, 1. / 4, 1. / 16, 1. / 64}, nil, 0, 1},
		{"part of a head", `"partial_rotary_factor": 0.5`, []float64{1, 0.01}, nil, 0, 1},
		{"part of a head in rope_parameters", `"rope_parameters": {"partial_rotary_factor": 0.5}`, []float64{1, 0.01}, nil, 0, 1},
		{"dynamic", `"rope_scaling": {"type": "dynamic", "factor": 4}`, plain, nil, 0, 1},
		{"linear", `"rope_scaling": {"type": "linear", "factor": 4}`, []float64{0.25, 0.025, 0.0025, 0.00025}, nil, 0, 1},
		{"rope_type before type", `"rope_scaling": {"rope_type": "linear", "type": "default", "factor": 4}`, []float64{0.25, 0.025, 0.0025, 0.00025}, nil, 0, 1},
		{"by kind of layer", `"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2}, "sliding_attention": {}}`, []float64{0.5, 0.05, 0.005, 0.0005}, nil, 0, 1},
		{"llama3", `"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 2, "high_freq_factor": 16, "original_max_position_embeddings": 1000}`,
			nil, nil, 0, 1},
		{"yarn", `"rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "beta_fast": 8, "beta_slow": 1}`,
			// Pair 8 ln(64/(tau 8))/(2 ln 10000) = 0.1 begins the ramp, rounded down, and 1.01, rounded up, ends it.
			[]float64{1, 0.1*0.5 + 0.1/4*0.5, 0.01 / 4, 0.001 / 4}, nil, 0, 0.1*math.Log(4) + 1},
		{"yarn as it falls", `"rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "beta_fast": 8, "beta_slow": 1, "truncate": false, "attention_factor": 1.5}`,
			nil, nil, 0, 1.5},
		{"yarn, two scales", `"rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "beta_fast": 8, "beta_slow": 1, "mscale": 2, "mscale_all_dim": 1}`,
			[]float64{1, 0.0625, 0.0025, 0.00025}, nil, 0, (0.2*math.Log(4) + 1) / (0.1*math.Log(4) + 1)},
		{"longrope", `"rope_scaling": {"type": "longrope", "short_factor": [1, 2, 4, 5], "long_factor": [10, 10, 10, 20]}, "original_max_position_embeddings": 32`,
			[]float64{1, 0.05, 0.0025, 0.0002}, []float64{0.1, 0.01, 0.001, 0.00005}, 32, math.Sqrt(1 + math.Log(4)/math.Log(32))},
		{"longrope by factor", `"rope_scaling": {"type": "su", "factor": 16, "short_factor": [1, 1, 1, 1], "long_factor": [2, 2, 2, 2], "original_max_position_embeddings": 32}`,
			plain, []float64{0.5, 0.05, 0.005, 0.0005}, 32, math.Sqrt(1 + math.Log(16)/math.Log(32))},
		{"proportional", `"rope_scaling": {"type": "proportional", "partial_rotary_factor": 0.5}`, []float64{1, 0.1, 0, 0}, nil, 0, 1},
	} {
		r := ropeOf(t, c.config)
		switch c.name {
		case "llama3":
			at := func(f float64) float64 {
				wavelength := tau / f
				switch {
				case wavelength < 1000./16:
					return f
				case wavelength > 1000./2:
					return f / 8
				}
				s := (1000/wavelength - 2) / (16 - 2)
				return (1-s)*f/8 + s*f
			}
			near(t, c.name, r.Frequencies, []float64{1, at(0.1), 0.01 / 8, 0.001 / 8})
		case "yarn as it falls":
			first, last := 8*math.Log(64/(tau*8))/(2*math.Log(10000)), 8*math.Log(64/tau)/(2*math.Log(10000))
			var want []float64
			for i, f := range plain {
				ramp := min(max((float64(i)-first)/(last-first), 0), 1)
				want = append(want, f*(1-ramp)+f/4*ramp)
			}
			near(t, c.name, r.Frequencies, want)
		default:
			near(t, c.name, r.Frequencies, c.want)
		}
		if math.Abs(float64(r.Magnitude)-c.magnitude) > 1e-6 {
			t.Errorf("%s: magnitude %g, want %g", c.name, r.Magnitude, c.magnitude)
		}
		if near(t, c.name+", long", r.Long, c.long); r.LongFrom != c.from {
			t.Errorf("%s: long from %d, want %d", c.name, r.LongFrom, c.from)
		}
	}
}

// A base given for each kind of layer is that of its layers.
func TestRopeByKind(t *testing.T) {
	own := `"head_dim": 8, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"], `
	for config, want := range map[string][2]float64{
		`"rope_parameters": {"sliding_attention": {"rope_theta": 100}, "full_attention": {"rope_theta": 900}}`: {100, 900},
		`"rope_theta": 900, "rope_local_base_freq": 100`:                                                       {100, 900},
		`"rope_parameters": {"full_attention": {"rope_theta": 900}}`:                                           {10000, 900},
	} {
		m := read(t, "gemma3", own+config)
		for l := range want {
			for op := range m.Blocks[l].Ops() {
				if a, ok := op.(*Attention); ok && a.Rope.Base != want[l] {
					t.Errorf("%s: layer %d turns by %g, want %g", config, l, a.Rope.Base, want[l])
				}
			}
		}
	}
}

// Slopes fall by powers of two; heads beyond a power of two lie between.
func TestALiBiSlopes(t *testing.T) {
	for heads, want := range map[int][]float64{
		8: {1. / 2, 1. / 4, 1. / 8, 1. / 16, 1. / 32, 1. / 64, 1. / 128, 1. / 256},
		1: {1. / 256},
		6: {1. / 4, 1. / 16, 1. / 64, 1. / 256, 1. / 2, 1. / 8},
	} {
		var got []float64
		for _, s := range alibiSlopes(heads, 8) {
			got = append(got, float64(s))
		}
		near(t, "slopes", got, want)
	}
	if s := alibiSlopes(2, 4); s[0] != 0.25 || s[1] != 1./16 {
		t.Errorf("slopes of at most 4: %v", s)
	}
}

// Configs that are wrong, or ask for what cannot be, are refused with the reason.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		family, config string
		kind           error
		says           string
	}{
		{"nothing", ``, ErrFamily, `unknown architecture "nothing"`},
		{"kimi_linear", ``, ErrUnsupported, "the family kimi_linear has Kimi delta attention"},
		{"llama4_text", ``, ErrUnsupported, "the family llama4 has attention in chunks"},
		{"llama", `"architectures": ["LlamaForSequenceClassification"]`, ErrFamily, "does not continue texts"},
		{"llama", `"vocab_size": null`, ErrConfig, "vocab_size is missing"},
		{"llama", `"hidden_size": 2000000`, ErrConfig, "not between 1 and 1048576"},
		{"llama", `"hidden_size": 48.5`, ErrConfig, "not a whole number"},
		{"llama", `"hidden_size": "48"`, ErrConfig, "hidden_size is"},
		{"llama", `"num_key_value_heads": 4`, ErrConfig, "6 attention heads are no multiple of 4"},
		{"llama", `"rms_norm_eps": 2`, ErrConfig, "epsilon 2"},
		{"llama", `"hidden_act": "xielu"`, ErrUnsupported, `activation "xielu"`},
		{"llama", `"rope_theta": 0`, ErrConfig, "must be positive"},
		{"llama", `"rope_scaling": {"type": "new"}`, ErrUnsupported, `rope_scaling of type "new"`},
		{"llama", `"rope_scaling": {"type": "linear", "factor": 0.5}`, ErrConfig, "0.5 is not at least 1"},
		{"llama", `"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}`, ErrConfig, "type llama3 needs"},
		{"llama", `"rope_scaling": {"type": "yarn"}`, ErrConfig, "type yarn needs"},
		{"llama", `"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1, 1, 1, 1]}`, ErrConfig, "has 1 entries for 4 pairs"},
		{"llama", `"rope_scaling": {"type": "longrope", "short_factor": [1, 1, 1, 0], "long_factor": [1, 1, 1, 1]}`, ErrConfig, "an entry of 0"},
		{"llama", `"partial_rotary_factor": 0.1`, ErrUnsupported, "rotary embeddings of 0 elements"},
		{"mistral", `"sliding_window": 8, "layer_types": ["full_attention"]`, ErrConfig, "layer_types has 1 entries for 2 layers"},
		{"mistral", `"sliding_window": 8, "layer_types": ["full_attention", "chunked_attention"]`, ErrUnsupported, `layers of type "chunked_attention"`},
		{"qwen3_moe", `"num_experts": 5000`, ErrConfig, "num_experts is 5000"},
		{"qwen3_moe", `"num_experts": 4000, "num_hidden_layers": 4000`, ErrConfig, "4000 experts in each of 4000 layers are too many"},
		{"qwen3_moe", `"num_experts_per_tok": 0`, ErrConfig, "num_experts_per_tok is 0"},
		{"deepseek_v3", `"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "first_k_dense_replace": 0, "n_group": 3`, ErrUnsupported, "3 groups of 8 experts"},
		{"gemma4", `"num_kv_shared_layers": 2`, ErrUnsupported, "shares keys with no layer of its type"},
		{"gemma4", `"num_hidden_layers": 4, "num_kv_shared_layers": 1, "layer_types": ["full_attention", "full_attention", "full_attention", "full_attention"],
			"per_layer_config": {"3": {"head_dim": 16}}`, ErrUnsupported, "which has other heads"},
		{"gemma4", `"per_layer_config": {"1": {"num_key_value_heads": 4}}`, ErrConfig, "of layer 1 are no multiple of 4"},
		{"qwen3_next", `"linear_num_key_heads": 3, "linear_num_value_heads": 4, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8`, ErrConfig, "4 value heads"},
		{"granitemoehybrid", `"layer_types": ["mamba", "mamba"], "mamba_n_heads": 8, "mamba_n_groups": 3, "shared_intermediate_size": 8`, ErrConfig, "8 Mamba heads in 3 groups"},
		{"phimoe", `"num_experts_per_tok": 3`, ErrUnsupported, "SparseMixer with 3"},
	} {
		_, err := Read(config(t, c.family, c.config), nil)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %s: %v, want %q", c.family, c.config, err, c.says)
		}
	}
}

// As many experts as there are meet a token at most.
func TestTopKIsBounded(t *testing.T) {
	m := read(t, "mixtral", `"num_local_experts": 2, "num_experts_per_tok": 3`)
	if c := m.Census(); c.TopK != 2 || c.Experts != 2 || c.MoE != 2 {
		t.Errorf("%+v", c)
	}
}

// What Python writes is read, and nothing of it within texts is changed.
func TestStandardJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": [0.0, Infinity, -Infinity], "b": NaN}`:                `{"a": [0.0, 1.7976931348623157e308, -1.7976931348623157e308], "b": null}`,
		`{"a": "Infinity \" NaN", "NaN": {"__float__": "Infinity"}}`: `{"a": "Infinity \" NaN", "NaN": 1.7976931348623157e308}`,
		`{"a": "\\", "b": NaN}`:                                      `{"a": "\\", "b": null}`,
		`{"plain": 1}`:                                               `{"plain": 1}`,
	} {
		if got := string(StandardJSON([]byte(in))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// A wrapper's word on ties is the whole model's, and all else the inner config's.
func TestWrappers(t *testing.T) {
	inner := `"text_config": {"model_type": "qwen3_vl_text", "hidden_size": 24, "head_dim": 8, "tie_word_embeddings": true, "eos_token_id": null}`
	for outer, tied := range map[string]bool{``: true, `"tie_word_embeddings": false, `: false, `"tie_word_embeddings": null, `: true} {
		m := read(t, "qwen3_vl", outer+inner)
		if m.Tied != tied || m.Hidden != 24 || m.Family != "qwen3_vl" {
			t.Errorf("%s: tied %v, hidden %d, family %s", outer, m.Tied, m.Hidden, m.Family)
		}
	}
}

// Files decide what a config leaves open: prefixes, a head that is not there, and
// experts in stacks.
func TestStored(t *testing.T) {
	files := func(names ...string) func(string) bool {
		return func(tensor string) bool {
			for _, n := range names {
				if n == tensor {
					return true
				}
			}
			return false
		}
	}
	m, err := Read(config(t, "gpt2", ``), files("wte.weight"))
	if err != nil || m.Embed.Path != "wte" || m.Embed.Positions.Tensor != "wpe.weight" || !m.Tied {
		t.Errorf("GPT-2 without its prefix: %v, %+v", err, m.Embed)
	}
	m, err = Read(config(t, "llama", ``), files("model.embed_tokens.weight"))
	if err != nil || !m.Tied || !m.HeadMissing {
		t.Errorf("a head that is not there: %v, tied %v", err, m.Tied)
	}
	m, err = Read(config(t, "qwen3_moe", `"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 20`),
		files("model.layers.0.mlp.experts.gate_up_proj", "model.layers.1.mlp.experts.gate_up_proj"))
	if err != nil {
		t.Fatal(err)
	}
	for op := range m.Blocks[1].Ops() {
		if x, ok := op.(*MoE); ok {
			got := [3]View{x.Experts[2].Gate.View, x.Experts[2].Up.View, x.Experts[2].Down.View}
			stack := "model.layers.1.mlp.experts."
			if want := [3]View{{Tensor: stack + "gate_up_proj", Expert: 2}, {Tensor: stack + "gate_up_proj", Expert: 2, First: 20}, {Tensor: stack + "down_proj", Expert: 2}}; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	}
}
