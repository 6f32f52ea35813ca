package model

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nibble/model/arch"
	"nibble/model/modeltest"
)

type object = map[string]any

// parsed reads a small config.json with some values set, or removed where nil.
func parsed(t *testing.T, change object) (Config, error) {
	t.Helper()
	j := modeltest.Small().JSON()
	for k, v := range change {
		if j[k] = v; v == nil {
			delete(j, k)
		}
	}
	data, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig(data, nil)
	if err == nil && string(c.Raw) != string(data) {
		t.Errorf("%v: the config is not kept as read", change)
	}
	c.Raw = nil
	return c, err
}

// Every field of config.json has its effect, and what is left out its default.
func TestConfig(t *testing.T) {
	small := configWant{Config: modeltest.Small(), Arch: "LlamaForCausalLM", Positions: 1024, BOS: 1, EOS: []int{2}}
	llama3 := object{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}
	for name, c := range map[string]struct {
		change object
		want   func(c *configWant)
	}{
		"as it is":                     {nil, func(*configWant) {}},
		"no architectures, model_type": {object{"architectures": nil}, func(c *configWant) { c.Arch = "llama" }},
		"no head_dim":                  {object{"head_dim": nil}, func(c *configWant) { c.HeadDim = 8 }},
		"no num_key_value_heads":       {object{"num_key_value_heads": nil}, func(c *configWant) { c.KVHeads = 6 }},
		"no max_position_embeddings":   {object{"max_position_embeddings": nil}, func(c *configWant) { c.Positions = 2048 }},
		"no rms_norm_eps":              {object{"rms_norm_eps": nil}, func(c *configWant) { c.Eps = 1e-6 }},
		"rms_norm_eps 0":               {object{"rms_norm_eps": 0}, func(c *configWant) { c.Eps = 0 }},
		"no rope_theta":                {object{"rope_theta": nil}, func(*configWant) {}},
		"rope_theta":                   {object{"rope_theta": 500000}, func(c *configWant) { c.Theta = 500000 }},
		"rope_parameters": {object{"rope_theta": nil, "rope_parameters": object{"rope_type": "default", "rope_theta": 500000}},
			func(c *configWant) { c.Theta = 500000 }},
		"rope_parameters without rope_type": {object{"rope_theta": nil, "rope_parameters": object{"rope_theta": 500000}},
			func(c *configWant) { c.Theta = 500000 }},
		"rope_parameters beside rope_scaling null": {object{"rope_theta": nil, "rope_scaling": json.RawMessage("null"), "rope_parameters": object{"rope_theta": 500000}},
			func(c *configWant) { c.Theta = 500000 }},
		"rope_parameters without rope_theta": {object{"rope_theta": 500000, "rope_parameters": llama3},
			func(c *configWant) {
				c.Theta, c.Scaling = 500000, modeltest.Scaling{Type: "llama3", Factor: 8, Low: 1, High: 4, Original: 64}
			}},
		"rope_scaling, type for rope_type": {object{"rope_scaling": object{"type": "linear", "factor": 2.5}},
			func(c *configWant) { c.Scaling = modeltest.Scaling{Type: "linear", Factor: 2.5} }},
		"rope_scaling of factor 1": {object{"rope_scaling": object{"rope_type": "linear", "factor": 1}},
			func(c *configWant) { c.Scaling = modeltest.Scaling{Type: "linear", Factor: 1} }},
		"rope_scaling llama3": {object{"rope_scaling": llama3}, func(c *configWant) {
			c.Scaling = modeltest.Scaling{Type: "llama3", Factor: 8, Low: 1, High: 4, Original: 64}
		}},
		"rope_scaling default":    {object{"rope_scaling": object{"rope_type": "default"}}, func(*configWant) {}},
		"attention_bias":          {object{"attention_bias": true}, func(c *configWant) { c.AttentionBias = true }},
		"mlp_bias":                {object{"mlp_bias": true}, func(c *configWant) { c.MLPBias = true }},
		"tie_word_embeddings":     {object{"tie_word_embeddings": true}, func(c *configWant) { c.Tied = true }},
		"torch_dtype":             {object{"torch_dtype": "float16"}, func(c *configWant) { c.DType = "float16" }},
		"dtype":                   {object{"dtype": "bfloat16"}, func(c *configWant) { c.DType = "bfloat16" }},
		"no bos_token_id":         {object{"bos_token_id": nil}, func(c *configWant) { c.BOS = -1 }},
		"several ends":            {object{"eos_token_id": []int{3, 4}}, func(c *configWant) { c.EOS = []int{3, 4} }},
		"no end":                  {object{"eos_token_id": nil}, func(c *configWant) { c.EOS = nil }},
		"hidden_act swish":        {object{"hidden_act": "swish"}, func(*configWant) {}},
		"no hidden_act":           {object{"hidden_act": nil}, func(*configWant) {}},
		"the longest context":     {object{"max_position_embeddings": 1 << 24}, func(c *configWant) { c.Positions = 1 << 24 }},
		"the largest vocabulary":  {object{"vocab_size": 1 << 22}, func(c *configWant) { c.Vocab = 1 << 22 }},
		"the most layers":         {object{"num_hidden_layers": 1 << 12}, func(c *configWant) { c.Layers = 1 << 12 }},
		"one of each":             {object{"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2}, func(c *configWant) { c.Heads, c.KVHeads, c.HeadDim = 1, 1, 2 }},
		"as many heads as may be": {object{"num_attention_heads": 1 << 19, "head_dim": 2}, func(c *configWant) { c.Heads, c.HeadDim = 1<<19, 2 }},
	} {
		want := small
		c.want(&want)
		got, err := parsed(t, c.change)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := want.differs(got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// configWant is what a config should say.
type configWant struct {
	modeltest.Config
	Arch      string
	Positions int
	BOS       int
	EOS       []int
}

// differs says what of a config is not as it should be.
func (w configWant) differs(c Config) string {
	eps, theta, dtype := w.Eps, w.Theta, w.DType
	a := c.Blocks[0].Steps[0].Branches[0].Do.(*arch.Attention)
	m := c.Blocks[0].Steps[1].Branches[0].Do.(*arch.MLP)
	got := configWant{w.Config, c.Arch, c.Positions, c.BOS, c.EOS}
	got.Vocab, got.Hidden, got.Layers, got.Heads, got.KVHeads, got.HeadDim, got.Inner = c.Vocab, c.Hidden, len(c.Blocks), a.Heads, a.KVHeads, a.HeadDim, m.Inner
	got.Tied, got.AttentionBias, got.MLPBias, got.DType = c.Tied, a.Q.Bias != nil && a.O.Bias != nil, m.Gate.Bias != nil && m.Down.Bias != nil, c.DType
	got.Eps, got.Theta = float64(c.Norm.Eps), a.Rope.Base
	w.Eps = float64(float32(eps))
	if !reflect.DeepEqual(got, w) {
		return fmt.Sprintf("%+v, want %+v", got, w)
	}
	if n := c.Blocks[0].Steps[0].Branches[0].Pre; n.Eps != c.Norm.Eps || c.DType != dtype {
		return fmt.Sprintf("epsilon %g of layers, %g at the end", n.Eps, c.Norm.Eps)
	}
	for i, f := range a.Rope.Frequencies {
		if want := w.Frequency(i); math.Abs(f/want-1) > 1e-12 {
			return fmt.Sprintf("pair %d turns by %g, want %g (base %g)", i, f, want, theta)
		}
	}
	return ""
}

// A config that no model can have is refused as damaged, one that asks for what
// nibble lacks as unsupported.
func TestConfigRefuses(t *testing.T) {
	llama3 := func(change object) object {
		r := object{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}
		for k, v := range change {
			r[k] = v
		}
		return object{"rope_scaling": r}
	}
	for _, c := range []struct {
		change object
		want   error
	}{
		{object{"architectures": []string{"BertModel"}}, ErrArch},
		{object{"architectures": nil, "model_type": "bert"}, ErrArch},
		{object{"hidden_act": "mystery"}, ErrUnsupported},
		{object{"rope_scaling": object{"rope_type": "mystery", "factor": 2}}, ErrUnsupported},
		{object{"rope_scaling": object{"rope_type": "linear"}}, ErrCorrupt},
		{object{"rope_scaling": object{"rope_type": "linear", "factor": 0.9}}, ErrCorrupt},
		{object{"rope_scaling": "linear"}, ErrCorrupt},
		{llama3(object{"factor": 0.9}), ErrCorrupt},
		{llama3(object{"low_freq_factor": 0}), ErrCorrupt},
		{llama3(object{"high_freq_factor": 1}), ErrCorrupt},
		{llama3(object{"original_max_position_embeddings": 0}), ErrCorrupt},
		{object{"vocab_size": 0}, ErrCorrupt},
		{object{"vocab_size": 1<<22 + 1}, ErrCorrupt},
		{object{"hidden_size": 0, "head_dim": 8}, ErrCorrupt},
		{object{"hidden_size": 1<<20 + 1}, ErrCorrupt},
		{object{"num_hidden_layers": 1<<12 + 1}, ErrCorrupt},
		{object{"num_attention_heads": 0}, ErrCorrupt},
		{object{"num_attention_heads": 1 << 20, "head_dim": 2}, ErrCorrupt},
		{object{"num_key_value_heads": 0}, ErrCorrupt},
		{object{"num_key_value_heads": 4}, ErrCorrupt},
		{object{"intermediate_size": 0}, ErrCorrupt},
		{object{"max_position_embeddings": 0}, ErrCorrupt},
		{object{"max_position_embeddings": 1<<24 + 1}, ErrCorrupt},
		{object{"head_dim": 0}, ErrCorrupt},
		{object{"head_dim": 9}, ErrUnsupported},
		{object{"rope_theta": 0}, ErrCorrupt},
		{object{"rms_norm_eps": -1e-9}, ErrCorrupt},
		{object{"bos_token_id": "one"}, ErrCorrupt},
		{object{"eos_token_id": []string{"two"}}, ErrCorrupt},
	} {
		if _, err := parsed(t, c.change); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.change, err, c.want)
		}
	}
}

// The matrices, norms and biases of a config, and how many parameters they are.
func TestModules(t *testing.T) {
	for _, tied := range []bool{false, true} {
		c := modeltest.Small()
		c.Tied, c.AttentionBias, c.MLPBias = tied, true, true
		tiny := modeltest.New(1, c)
		ck, err := Open(tiny.Write(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer ck.Close()
		want := object{}
		params := int64(0)
		for name, x := range tiny.Tensors {
			want[name] = true
			params += int64(len(x.Data))
		}
		for _, v := range ck.Config.Vectors() {
			delete(want, v.Tensor)
		}
		kinds := map[string]int{}
		for _, m := range ck.Config.Modules() {
			w := tiny.Tensors[m.Name+".weight"]
			if m.Rows != w.Rows || m.Cols != w.Cols || m.Tied != (tied && m.Kind == "embed") {
				t.Errorf("%+v, the tensor is %d x %d", m, w.Rows, w.Cols)
			}
			kinds[m.Kind]++
			delete(want, m.Name+".weight")
			if m.Linear.Bias != nil {
				delete(want, m.Name+".bias")
			}
		}
		if len(want) > 0 || ck.Params() != params {
			t.Errorf("%v are no part of the model; it has %d parameters, want %d", want, ck.Params(), params)
		}
		if kinds["q"] != c.Layers || kinds["embed"] != 1 || (kinds["head"] == 1) == tied {
			t.Errorf("matrices by kind: %v", kinds)
		}
	}
}

// A quantized copy keeps every tensor that is not quantized, biases among them.
func TestWriterKeepsTheRest(t *testing.T) {
	c := modeltest.Small()
	c.AttentionBias, c.MLPBias, c.DType = true, true, "BF16"
	src, err := Open(modeltest.New(1, c).Write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dir := t.TempDir() + "/out"
	w, err := Create(take(t, dir), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if data, err := os.ReadFile(dir + "/model.safetensors"); err != nil || binary.LittleEndian.Uint64(data)%8 != 0 {
		t.Errorf("the tensors do not begin at a multiple of 8 bytes, %v", err)
	}
	if !slices.Equal(ck.Names(), src.Names()) || ck.Quantized || ck.DType() != "BF16" {
		t.Errorf("%s: %v, want %v", ck.DType(), ck.Names(), src.Names())
	}
	for _, name := range src.Names() {
		a, errA := src.Tensor(name)
		b, errB := ck.Tensor(name)
		if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s is not as it was", name)
		}
	}
}

// End tokens are generation_config.json's, and config.json's where it has none.
func TestGenerationEOS(t *testing.T) {
	for name, c := range map[string]struct {
		generation string // "" for no such file
		want       []int
		notes      int
	}{
		"none":           {"", []int{1023}, 0},
		"without ends":   {`{"temperature": 1}`, []int{1023}, 0},
		"one":            {`{"eos_token_id": 5}`, []int{5}, 0},
		"several":        {`{"eos_token_id": [5, 6]}`, []int{5, 6}, 0},
		"null":           {`{"eos_token_id": null}`, []int{1023}, 0},
		"no token":       {`{"eos_token_id": "end"}`, []int{1023}, 1},
		"no JSON object": {`[`, []int{1023}, 1},
	} {
		dir := directory(t, map[string]func([]byte) []byte{
			"generation_config.json": func([]byte) []byte {
				if c.generation == "" {
					return nil
				}
				return []byte(c.generation)
			},
			"config.json": config("eos_token_id", 1023),
		})
		ck, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer ck.Close()
		if g := ck.Generation; !slices.Equal(g.EOS, c.want) || len(g.Notes) != c.notes {
			t.Errorf("%s: texts end with %v, notes %q; want %v", name, g.EOS, g.Notes, c.want)
		}
	}
}

// Tensors that are no part of the model do not count.
func TestOtherTypes(t *testing.T) {
	tiny := modeltest.New(1, modeltest.Small())
	dir := tiny.Write(t, nil)
	file := dir + "/model.safetensors"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	extra := rewrite(func(h map[string]any) {
		end := 0.0
		for _, e := range h {
			end = max(end, e.(map[string]any)["data_offsets"].([]any)[1].(float64))
		}
		h["counts"] = map[string]any{"dtype": "I64", "shape": []int{2}, "data_offsets": []float64{end, end + 16}}
	})
	if err := os.WriteFile(file, append(extra(data), make([]byte, 16)...), 0o644); err != nil {
		t.Fatal(err)
	}
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if slices.Contains(ck.Names(), "counts") {
		t.Error("a tensor that is no part of the model is listed")
	}
	if _, err := ck.Tensor("nothing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tensor that is not there: %v, want ErrNotFound", err)
	}
	if ck.DType() != "F32" || ck.Mapped() != true {
		t.Errorf("stored as %q", ck.DType())
	}
}

// The first element that is not finite is found in every type, wherever it is.
func TestCheckFinite(t *testing.T) {
	for _, dtype := range []string{"F32", "BF16", "F16"} {
		for _, at := range []int{-1, 0, 5, 47} {
			for _, bad := range []float64{math.NaN(), math.Inf(-1)} {
				c := modeltest.Small()
				c.DType = dtype
				tiny := modeltest.New(1, c)
				if at >= 0 {
					tiny.Tensors[norm].Data[at] = bad
				}
				ck, err := Open(tiny.Write(t, nil))
				if err != nil {
					t.Fatal(err)
				}
				err = ck.CheckFinite(t.Context(), norm)
				if at < 0 && err != nil || at >= 0 && (!errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), fmt.Sprintf("element %d is", at))) {
					t.Errorf("%s with %g at %d: %v", dtype, bad, at, err)
				}
				if err := ck.CheckFinite(t.Context(), "model.layers.0.mlp.up_proj.weight"); err != nil {
					t.Errorf("%s: %v", dtype, err)
				}
				ck.Close()
			}
		}
	}
}
