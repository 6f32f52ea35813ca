package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
)

// group is a config group of "Linear" with further fields.
func group(weights, fields string) string {
	return `{"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 32, "strategy": "group"` + weights + `}` + fields + `}`
}

// What quantization_config may say, and what becomes of it.
func TestQuantConfig(t *testing.T) {
	const v, o = "model.layers.0.self_attn.v_proj", "model.layers.0.self_attn.o_proj"
	w4 := kernels.Scheme{Bits: 4, Group: 32, Sym: true}
	w8 := kernels.Scheme{Bits: 8, Sym: true}
	one := func(g, fields string) string {
		return `{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"g": ` + g + `}` + fields + `}`
	}
	for name, c := range map[string]struct {
		config  string
		want    map[string]kernels.Scheme // of modules
		told    string
		refused string
	}{
		"none":                     {`null`, map[string]kernels.Scheme{}, "", ""},
		"symmetric is the default": {one(group("", ""), ""), map[string]kernels.Scheme{v: w4, headPath: w4}, "", ""},
		"asymmetric":               {one(group(`, "symmetric": false`, ""), ""), map[string]kernels.Scheme{v: {Bits: 4, Group: 32}}, "", ""},
		"channel":                  {one(`{"targets": ["Linear"], "weights": {"strategy": "channel"}}`, ""), map[string]kernels.Scheme{v: w8}, "", ""},
		"no strategy":              {one(`{"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 32, "strategy": null}}`, ""), map[string]kernels.Scheme{v: w4}, "", ""},
		"group of -1":              {one(`{"targets": ["Linear"], "weights": {"num_bits": 8, "group_size": -1}}`, ""), map[string]kernels.Scheme{v: w8}, "", ""},
		"static order":             {one(group(`, "actorder": "static"`, ""), ""), map[string]kernels.Scheme{v: w4}, "", ""},
		"no method":                {`{"format": "pack-quantized", "config_groups": {"g": ` + group("", "") + `}}`, map[string]kernels.Scheme{v: w4}, "", ""},
		"inside":                   {`{"quantization_config": ` + one(group("", ""), "") + `, "sparsity_config": {"format": "dense"}}`, map[string]kernels.Scheme{v: w4}, "", ""},
		"format of the group":      {strings.Replace(one(group("", `, "format": "pack-quantized"`), ""), `"format": "pack-quantized", "config`, `"format": "mixed-precision", "config`, 1), map[string]kernels.Scheme{v: w4}, "", ""},
		"the most specific target": {one(`{"targets": ["Linear"], "weights": {}, "x": null}`, "")[:len(one(`{"targets": ["Linear"], "weights": {}, "x": null}`, ""))-2] +
			`, "h": {"targets": ["re:.*self_attn"], "weights": {"num_bits": 4, "group_size": 32}}, "i": {"targets": ["` + o + `"], "weights": {"num_bits": 4, "group_size": 64}}}}`, nil, "", "strategy"},
		"neutral parts":  {one(group("", `, "input_activations": null, "output_activations": null`), `, "kv_cache_scheme": null, "sparsity_config": {}, "transform_config": {"config_groups": {}}, "ignore": ["lm_head"], "version": "0.12"`), map[string]kernels.Scheme{v: w4}, "", ""},
		"dynamic inputs": {one(group("", `, "input_activations": {"num_bits": 8, "dynamic": true}`), ""), map[string]kernels.Scheme{v: w4}, "inputs of 8 bits", ""},
		"something new":  {one(group(`, "twist": 3`, `, "turn": {"a": 1}`), `, "spin": true, "calm": false`), map[string]kernels.Scheme{v: w4}, "spin is not known|g.turn is not known|g.weights.twist is not known", ""},

		"another method":       {`{"quant_method": "hqq", "bits": 4}`, nil, "", `method "hqq"`},
		"no method, no groups": {`{"group": 4}`, nil, "", `method ""`},
		"another format":       {strings.ReplaceAll(one(group("", ""), ""), "pack-quantized", "marlin-24"), nil, "", "marlin-24"},
		"a group's format":     {one(group("", `, "format": "mxfp8-quantized"`), ""), nil, "", "mxfp8-quantized"},
		"transforms":           {one(group("", ""), `, "transform_config": {"config_groups": {"R4": {"type": "hadamard"}}}`), nil, "", "transform_config"},
		"cached keys":          {one(group("", ""), `, "kv_cache_scheme": {"num_bits": 8}`), nil, "", "kv_cache_scheme"},
		"sparsity":             {one(group("", ""), `, "sparsity_config": {"format": "sparse-24-bitmask"}`), nil, "", "sparse-24-bitmask"},
		"static inputs":        {one(group("", `, "input_activations": {"num_bits": 8, "dynamic": false}`), ""), nil, "", "input_activations"},
		"inputs of 4 bits":     {one(group("", `, "input_activations": {"num_bits": 4, "dynamic": true}`), ""), nil, "", "input_activations"},
		"outputs":              {one(group("", `, "output_activations": {"num_bits": 8}`), ""), nil, "", "output_activations"},
		"no weights":           {one(`{"targets": ["Linear"], "weights": null, "input_activations": {}}`, ""), nil, "", "activations alone"},
		"an odd order":         {one(group(`, "actorder": "odd"`, ""), ""), nil, "", `"odd"`},
		"no expression":        {one(`{"targets": ["re:("], "weights": {"num_bits": 4, "group_size": 32}}`, ""), nil, "", "re:("},
		"a list":               {`{"quant_method": "compressed-tensors", "format": "dense", "config_groups": []}`, nil, "", "config_groups"},
	} {
		qc, err := parseQuantConfig(json.RawMessage(c.config))
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) || !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v, want %q", name, err, c.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for module, want := range c.want {
			if got, ok := qc.find(named(module)); !ok || got.scheme != want {
				t.Errorf("%s: %s is %v, want %v", name, module, got, want)
			}
		}
		if _, ok := qc.find(named(embedPath)); ok {
			t.Errorf("%s: the embedding is quantized", name)
		}
		told := strings.Join(qc.notes, "\n")
		if c.told == "" && told != "" {
			t.Errorf("%s: told %q", name, told)
		}
		for _, want := range strings.Split(c.told, "|") {
			if !strings.Contains(told, want) {
				t.Errorf("%s: told %q, want %q", name, told, want)
			}
		}
	}
}

// A module is quantized as the first group says of those that name it best: by its
// name, by an expression, by its class.
func TestQuantConfigTargets(t *testing.T) {
	groups := ""
	for i, target := range []string{"Linear", `re:.*layers\\.1\\.`, `re:.*(?<!gate)_proj$`, "model.layers.1.mlp.up_proj", "Embedding", "re:self_attn"} {
		bits, size := 4+4*(i%2), 32<<(i/2)
		text, _ := json.Marshal(map[string]any{"targets": []string{strings.ReplaceAll(target, `\\`, `\`)},
			"weights": map[string]any{"num_bits": bits, "group_size": size, "strategy": "group"}})
		groups += `, "` + string(rune('z'-i)) + `": ` + string(text)
	}
	qc, err := parseQuantConfig(json.RawMessage(`{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {` + groups[2:] + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]int{"model.layers.0.mlp.gate_proj": 0, headPath: 0, "model.layers.1.self_attn.q_proj": 1, "model.layers.1.mlp.gate_proj": 1,
		"model.layers.0.self_attn.q_proj": 2, "model.layers.1.mlp.up_proj": 3, embedPath: 4} {
		if got, ok := qc.find(named(module)); !ok || got.scheme.Bits != 4+4*(want%2) || got.scheme.Group != 32<<(want/2) {
			t.Errorf("%s is %v, want group %d", module, got, want)
		}
	}
}

// Older checkpoints call the section compression_config, store zero points as
// signed bytes and may have an index of groups that says nothing new.
func TestOlderCheckpoint(t *testing.T) {
	src, err := Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m := src.Config.Modules()[3] // v of layer 0
	scheme := kernels.Scheme{Bits: 4, Group: 32}
	q, err := kernels.NewQTensor(m.Rows, m.Cols, scheme)
	if err != nil {
		t.Fatal(err)
	}
	for i := range q.Zeros {
		q.Zeros[i] = uint8(i % 16)
	}
	dir := filepath.Join(t.TempDir(), "q")
	w, err := Create(take(t, dir), src, map[string]kernels.Scheme{m.Name: scheme})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.PutQ(m.Name, q), w.Commit()); err != nil {
		t.Fatal(err)
	}
	change := func(name string, f func([]byte) []byte) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), f(data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	zeros := make([]byte, len(q.Zeros))
	for i, z := range q.Zeros {
		zeros[i] = z - 8
	}
	index := make([]byte, 0, 4*m.Cols)
	for c := range m.Cols {
		index = binary.LittleEndian.AppendUint32(index, uint32(c/32))
	}
	add := func(name, dtype string, shape []int, data []byte) {
		change("model.safetensors", func(file []byte) []byte {
			n := int(binary.LittleEndian.Uint64(file))
			return append(rewrite(func(h map[string]any) {
				if old, ok := h[name]; ok {
					h["old"+name] = old // which keeps its place
				}
				h[name] = map[string]any{"dtype": dtype, "shape": shape, "data_offsets": []int{len(file) - 8 - n, len(file) - 8 - n + len(data)}}
			})(file), data...)
		})
	}
	change("config.json", func(b []byte) []byte {
		return bytes.Replace(b, []byte("quantization_config"), []byte("compression_config"), 1)
	})
	change("model.safetensors", rewrite(func(h map[string]any) {
		h["old"] = h[m.Name+".weight_zero_point"]
		delete(h, m.Name+".weight_zero_point")
	}))
	add(m.Name+".weight_zero_point", "I8", []int{m.Rows, q.Groups()}, zeros)
	add(m.Name+".weight_g_idx", "I32", []int{m.Cols}, index)
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if got, err := ck.Weight(m); err != nil || !slices.Equal(got.Q.Zeros, q.Zeros) {
		t.Errorf("zero points %v (%v), want %v", got.Q.Zeros[:8], err, q.Zeros[:8])
	}
	for what, spoil := range map[string]func(){
		"zero point": func() {
			zeros[3] = 9
			add(m.Name+".weight_zero_point", "I8", []int{m.Rows, q.Groups()}, zeros)
			zeros[3] = 0
		},
		"column 0 is in group 200": func() { index[0] = 200; add(m.Name+".weight_g_idx", "I32", []int{m.Cols}, index); index[0] = 0 },
		"[1 2]":                    func() { add(m.Name+".weight_zero_point", "I8", []int{1, 2}, zeros[:2]) },
	} {
		before, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		spoil()
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), m.Name) {
			t.Errorf("a wrong %s: %v", what, err)
		}
		change("model.safetensors", func([]byte) []byte { return before })
	}
	change("config.json", func(b []byte) []byte {
		return regexp.MustCompile(`"symmetric":\s*false`).ReplaceAll(b, []byte(`"symmetric":true`))
	})
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "weight_zero_point") || !strings.Contains(err.Error(), "symmetric") {
		t.Errorf("zero points of symmetric codes: %v", err)
	}
	clear(zeros)
	add(m.Name+".weight_zero_point", "I8", []int{m.Rows, q.Groups()}, zeros)
	if none, err := Open(dir); err != nil {
		t.Errorf("zero points that are all 0: %v", err)
	} else {
		none.Close()
	}
	again := filepath.Join(t.TempDir(), "again")
	if w, err = Create(take(t, again), ck, nil); err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if config, err := w.config(); err != nil || bytes.Contains(config, []byte("compression_config")) {
		t.Errorf("a checkpoint of floats says %s (%v)", config, err)
	}
}

// Regular expressions that take for ever do so once, and not in any number.
func TestSlowTargets(t *testing.T) {
	config := func(n int) []byte {
		targets, err := json.Marshal(slices.Repeat([]string{"re:(.*)*(.*)*(.*)*x$"}, n))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, `{"quant_method": "compressed-tensors", "config_groups": {"g": {"targets": %s, "weights": {"num_bits": 4, "type": "int", "group_size": 32, "strategy": "group"}}}}`, targets)
	}
	qc, err := parseQuantConfig(config(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := qc.find(named("model.layers.0.self_attn.q_proj")); ok || !qc.groups[0].regexps[0].slow.Load() {
		t.Errorf("matched: %v; known to be slow: %v", ok, qc.groups[0].regexps[0].slow.Load())
	}
	if _, err := parseQuantConfig(config(maxRegexps + 1)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// The paths of the two matrices outside the layers of a Llama.
const embedPath, headPath = "model.embed_tokens", "lm_head"

// named is a matrix of a Llama by its path.
func named(path string) Module {
	if path == embedPath {
		return Module{Name: path, Kind: "embed"}
	}
	return Module{Name: path}
}
