package model

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/demo"
)

// demoFile is a file of the demo, to begin with.
func demoFile(f *testing.F, name string) []byte {
	f.Helper()
	data, err := demo.Files.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// The tensors of an accepted file fill it, one after the other, each as large as its
// type and shape say.
func FuzzSafetensors(f *testing.F) {
	for _, header := range []string{
		`{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"I64","shape":[],"data_offsets":[12,20]}}`,
		`{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[0],"data_offsets":[0,0]}}`,
		`{"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}}`, `{}`,
	} {
		file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
		f.Add(file)
		f.Add(append(file, make([]byte, 20)...))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		tensors := map[string]stored{}
		if parseSafetensors(file, tensors) != nil {
			return
		}
		total := 8 + int(binary.LittleEndian.Uint64(file))
		for name, s := range tensors {
			if size, known := dtypeSizes[s.dtype]; known {
				want := size
				for _, d := range s.shape {
					want *= d
				}
				if want != len(s.data) {
					t.Errorf("%q: %s %v in %d bytes", name, s.dtype, s.shape, len(s.data))
				}
			}
			if cap(s.data) != len(s.data) {
				t.Errorf("%q can be made longer, into the next tensor", name)
			}
			total += len(s.data)
		}
		if total != len(file) {
			t.Errorf("header and tensors have %d bytes of %d", total, len(file))
		}
	})
}

// checkBlocks makes sure that the numbers of a description can be computed with.
func checkBlocks(t *testing.T, c Config) {
	for i := range c.Blocks {
		for _, n := range c.Blocks[i].Norms() {
			if !(n.Eps >= 0 && n.Eps <= 1) {
				t.Errorf("a norm's epsilon is %g", n.Eps)
			}
		}
		for op := range c.Blocks[i].Ops() {
			a, ok := op.(*arch.Attention)
			if !ok {
				continue
			}
			if a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || c.Positions < 1 {
				t.Errorf("%+v", a)
			}
			if a.Rope == nil {
				continue
			}
			if 2*len(a.Rope.Frequencies) > a.HeadDim {
				t.Errorf("%d pairs of %d elements turn", len(a.Rope.Frequencies), a.HeadDim)
			}
			for _, v := range append(a.Rope.Frequencies, float64(a.Rope.Magnitude)) {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("%g is a number of its rotations", v)
				}
			}
		}
	}
}

// What an accepted configuration says can be computed with: no size overflows, and
// no number is broken.
func FuzzConfig(f *testing.F) {
	f.Add(demoFile(f, "config.json"))
	f.Add([]byte(`{"architectures":["LlamaForCausalLM"],"vocab_size":8,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,
		"head_dim":4,"intermediate_size":8,"max_position_embeddings":32,"rms_norm_eps":1e-5,"bos_token_id":1,"eos_token_id":[2,3],"tie_word_embeddings":true,
		"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":8192}}`))
	for _, family := range arch.Families() {
		f.Add(fmt.Appendf(nil, `{"model_type":%q,"vocab_size":8,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8,
			"max_position_embeddings":32,"num_experts":4,"num_experts_per_tok":2,"moe_intermediate_size":8}`, family))
	}
	f.Add([]byte(`{"model_type":"llama","vocab_size":8,"hidden_size":8,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":8,"rms_norm_eps":1e300}`))
	f.Add([]byte(`{"model_type":"llama","rope_parameters":{"type":"linear","factor":2,"rope_theta":1e6},"dtype":"bfloat16","eos_token_id":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := parseConfig(data, nil)
		if err != nil {
			return
		}
		checkBlocks(t, c)
		for _, id := range append(c.EOS, c.BOS) {
			if id != int(int32(id)) {
				t.Errorf("token %d is no id", id)
			}
		}
		for _, m := range c.Modules() {
			if m.Rows < 1 || m.Cols < 1 || m.Rows > math.MaxInt/8/m.Cols {
				t.Errorf("%+v", m)
			}
		}
	})
}

// Every scheme of an accepted quantization is one that kernels have.
func FuzzQuantConfig(f *testing.F) {
	const weights = `"weights":{"num_bits":4,"type":"int","symmetric":true,"strategy":"group","group_size":32,"dynamic":false}`
	for _, text := range []string{
		`{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{"targets":["Linear"],` + weights + `,"input_activations":null}},"ignore":["lm_head"],"quantization_status":"compressed"}`,
		`{"quant_method":"compressed-tensors","format":"mixed-precision","config_groups":{"g":{"targets":["re:.*down_proj$","model.layers.0.mlp.up_proj"],"format":"pack-quantized",` + weights + `}}}`,
		`{"quantization_config":{"config_groups":{"g":{"targets":["Embedding"],"weights":{"num_bits":8,"type":"int","symmetric":false,"strategy":"channel","actorder":"static"}}}},"sparsity_config":{"format":"dense"}}`,
		`{"quant_method":"gptq","bits":4}`, `null`, `{"config_groups":{"g":{"targets":["re:(a+)+$"],` + weights + `}},"transform_config":{},"kv_cache_scheme":null}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		qc, err := parseQuantConfig(data)
		if err != nil {
			return
		}
		for _, g := range qc.groups {
			if err := g.scheme.Validate(); err != nil && g.scheme != (kernels.Scheme{}) {
				t.Errorf("%+v: %v", g.scheme, err)
			}
		}
		for _, module := range []string{embedPath, headPath, "model.layers.0.mlp.down_proj"} {
			if g, ok := qc.find(named(module)); ok && (g.weights.Bits < 2 || g.weights.Bits > 8) {
				t.Errorf("%s: %+v", module, g)
			}
		}
	})
}

// An accepted index names a file for every tensor, and reads the same again.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"1","a":"2"}}`))
	f.Add([]byte(`{"weight_map":{"a":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := parseIndex(data)
		if err != nil {
			return
		}
		if len(index) == 0 || len(index) > len(data) {
			t.Errorf("%d tensors", len(index))
		}
		for tensor, shard := range index {
			if shard == "" {
				t.Errorf("%q is in a file without a name", tensor)
			}
		}
	})
}

// oneFile is a directory with one file.
type oneFile struct {
	embedFiles
	name string
	data []byte
}

func (o oneFile) read(name string) ([]byte, error) {
	if name != o.name {
		return nil, fs.ErrNotExist
	}
	return o.data, nil
}

// A generation_config.json gives end tokens or leaves those of config.json, and what
// cannot be read is told.
func FuzzGeneration(f *testing.F) {
	f.Add(demoFile(f, generationFile))
	for _, text := range []string{`{"eos_token_id":[1,2],"temperature":0.6,"top_k":50.0}`, `{"eos_token_id":"x"}`, `{"eos_token_id":4294967296}`, `[]`, `{`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Checkpoint{files: oneFile{name: generationFile, data: data}, Config: Config{EOS: []int{7}}}
		c.openGeneration()
		g := c.Generation
		if own := slices.Equal(g.EOS, c.Config.EOS); len(g.EOS) == 0 || len(g.Notes) > 0 && !own {
			t.Errorf("end tokens %v, notes %q", g.EOS, g.Notes)
		}
		for _, id := range g.EOS {
			if id != int(int32(id)) {
				t.Errorf("token %d is no id", id)
			}
		}
	})
}
