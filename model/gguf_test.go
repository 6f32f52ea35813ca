package model

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model/gguf"
	"nibble/model/source"
	"nibble/model/tokenizer"
)

const (
	archFixtures  = "../../shared/data/arch"
	vocabFixtures = "../../shared/data/tok"
)

// ggufTensor is one to be written, with its values.
type ggufTensor struct {
	name   string
	typ    gguf.Type
	dims   []uint64
	values []float32
}

// writeGGUF writes a file whose tensors are numbered where they have no values.
func writeGGUF(t testing.TB, path string, kvs []gguf.KV, tensors []ggufTensor) string {
	t.Helper()
	var list []gguf.Tensor
	for _, x := range tensors {
		list = append(list, gguf.Tensor{Name: x.name, Type: x.typ, Dims: x.dims})
	}
	layout, err := gguf.NewLayout(kvs, list)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = layout.Write(&out, func(dst []byte, tensor, row int) error {
		cols := int(list[tensor].Dims[0])
		values := make([]float32, cols)
		for i := range values {
			if n := row*cols + i; tensors[tensor].values != nil {
				values[i] = tensors[tensor].values[n]
			} else {
				values[i] = float32(n)
			}
		}
		if list[tensor].Type.Block() > 1 {
			for i := range dst { // scales are small: no byte has the highest bit of an exponent
				dst[i] = byte(31*i+7*row+tensor) & 0xbf
			}
			return nil
		}
		return gguf.EncodeFloats(dst, values, list[tensor].Type)
	})
	if err == nil {
		err = os.WriteFile(path, out.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// tinyKeys and tinyTensors are a Llama of one block with a hidden width of 4, two
// heads of 4, one of them for keys, and 3 tokens.
func tinyKeys(arch string) []gguf.KV {
	return []gguf.KV{{Key: "general.architecture", Value: arch}, {Key: arch + ".block_count", Value: uint32(1)}, {Key: arch + ".context_length", Value: uint32(8)},
		{Key: arch + ".embedding_length", Value: uint32(4)}, {Key: arch + ".feed_forward_length", Value: uint32(2)},
		{Key: arch + ".attention.head_count", Value: uint32(2)}, {Key: arch + ".attention.head_count_kv", Value: uint32(1)},
		{Key: arch + ".attention.key_length", Value: uint32(4)}, {Key: arch + ".attention.layer_norm_rms_epsilon", Value: float32(1e-5)}}
}

func tinyTensors() []ggufTensor {
	matrix := func(name string, rows, cols uint64) ggufTensor {
		return ggufTensor{name + ".weight", gguf.F32, []uint64{cols, rows}, nil}
	}
	vector := func(name string, n uint64) ggufTensor { return ggufTensor{name, gguf.F32, []uint64{n}, nil} }
	return []ggufTensor{matrix("token_embd", 3, 4), vector("output_norm.weight", 4), vector("blk.0.attn_norm.weight", 4), vector("blk.0.ffn_norm.weight", 4),
		matrix("blk.0.attn_q", 8, 4), matrix("blk.0.attn_k", 4, 4), matrix("blk.0.attn_v", 4, 4), matrix("blk.0.attn_output", 4, 8),
		matrix("blk.0.ffn_gate", 2, 4), matrix("blk.0.ffn_up", 2, 4), matrix("blk.0.ffn_down", 4, 2)}
}

// without leaves a tensor out.
func without(tensors []ggufTensor, name string) []ggufTensor {
	return slices.DeleteFunc(tensors, func(x ggufTensor) bool { return x.name == name })
}

// Rows of queries and keys of Llama lie in pairs, others as they are described;
// where nothing is in another order, the file is mapped.
func TestGGUFOrder(t *testing.T) {
	path := writeGGUF(t, filepath.Join(t.TempDir(), "tiny.gguf"), tinyKeys("llama"), tinyTensors())
	ck, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	rows := func(name string) (first []float32) {
		x, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		for r, v := range x.Floats() {
			if cols := x.Shape[len(x.Shape)-1]; r%cols == 0 {
				first = append(first, v/float32(cols))
			}
		}
		return first
	}
	for name, want := range map[string][]float32{
		"model.layers.0.self_attn.q_proj.weight": {0, 2, 1, 3, 4, 6, 5, 7},
		"model.layers.0.self_attn.k_proj.weight": {0, 2, 1, 3},
		"model.layers.0.self_attn.v_proj.weight": {0, 1, 2, 3},
		"model.layers.0.mlp.down_proj.weight":    {0, 1, 2, 3},
	} {
		if got := rows(name); !slices.Equal(got, want) {
			t.Errorf("%s has rows %v, not %v", name, got, want)
		}
	}
	if !ck.Config.Tied || ck.Config.Family != "llama" || ck.Name != "tiny" {
		t.Errorf("%q is %s, tied: %v", ck.Name, ck.Config.Family, ck.Config.Tied)
	}
	if dtype, shape, size := ck.Stored("model.layers.0.self_attn.q_proj.weight"); dtype != "F32" || !slices.Equal(shape, []int{8, 4}) || size != 128 {
		t.Errorf("stored as %s %v, %d bytes", dtype, shape, size)
	}
}

// Norms to which a family adds 1 come without it, and biases go with their rows.
func TestGGUFChanges(t *testing.T) {
	tensors := append(without(tinyTensors(), "output_norm.weight"), ggufTensor{"output_norm.weight", gguf.F32, []uint64{4}, []float32{1, 1.5, 0, 3}})
	for _, name := range []string{"post_attention_norm", "post_ffw_norm"} {
		tensors = append(tensors, ggufTensor{"blk.0." + name + ".weight", gguf.F32, []uint64{4}, nil})
	}
	ck, err := Open(writeGGUF(t, filepath.Join(t.TempDir(), "g.gguf"), tinyKeys("gemma2"), tensors))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	x, err := ck.Tensor("model.norm.weight")
	if err != nil || !slices.Equal(x.Floats(), []float32{0, .5, -1, 2}) {
		t.Errorf("%v, %v", x.Floats(), err)
	}
	tensors = append(tinyTensors(), ggufTensor{"blk.0.attn_q.bias", gguf.F32, []uint64{8}, nil}, ggufTensor{"blk.0.attn_k.bias", gguf.F32, []uint64{4}, nil},
		ggufTensor{"blk.0.attn_v.bias", gguf.F32, []uint64{4}, nil})
	biased, err := Open(writeGGUF(t, filepath.Join(t.TempDir(), "b.gguf"), tinyKeys("llama"), tensors))
	if err != nil {
		t.Fatal(err)
	}
	defer biased.Close()
	if x, err = biased.Tensor("model.layers.0.self_attn.q_proj.bias"); err != nil || !slices.Equal(x.Floats(), []float32{0, 2, 1, 3, 4, 6, 5, 7}) {
		t.Errorf("%v, %v", x.Floats(), err)
	}
}

// What is wrong is named in one line.
func TestGGUFRefused(t *testing.T) {
	retyped := func(name string, typ gguf.Type, dims ...uint64) []ggufTensor {
		return append(without(tinyTensors(), name), ggufTensor{name, typ, dims, nil})
	}
	set := func(key string, value any) []gguf.KV {
		kvs := tinyKeys("llama")
		for i := range kvs {
			if kvs[i].Key == key {
				kvs[i].Value = value
			}
		}
		return kvs
	}
	for name, c := range map[string]struct {
		kvs     []gguf.KV
		tensors []ggufTensor
		err     error
		want    string
	}{
		"architecture":   {tinyKeys("mamba9"), tinyTensors(), ErrArch, `unknown architecture "mamba9"`},
		"missing tensor": {tinyKeys("llama"), without(tinyTensors(), "blk.0.ffn_up.weight"), ErrNotFound, "tensor blk.0.ffn_up.weight"},
		"type":           {tinyKeys("llama"), retyped("blk.0.attn_v.weight", 16, 256, 4), ErrUnsupported, "GGUF type IQ2_XXS is not supported yet"},
		"shape":          {tinyKeys("llama"), retyped("blk.0.attn_v.weight", gguf.F32, 2, 8), ErrCorrupt, "[8 2], the model's keys ask for 4 rows of 4"},
		"fewer rows":     {tinyKeys("llama"), retyped("blk.0.attn_v.weight", gguf.F32, 4, 3), ErrCorrupt, "[3 4], the model's keys ask for 4 rows of 4"},
		"more rows":      {tinyKeys("llama"), retyped("blk.0.attn_v.weight", gguf.F32, 4, 5), ErrCorrupt, "[5 4], of which"},
		"norm in blocks": {tinyKeys("llama"), retyped("output_norm.weight", gguf.Q8_0, 32), ErrCorrupt, "output_norm.weight"},
		"text":           {set("llama.block_count", "many"), tinyTensors(), ErrCorrupt, "llama.block_count is many"},
		"no blocks":      {set("llama.block_count", uint32(0)), tinyTensors(), ErrCorrupt, "num_hidden_layers"},
		"many blocks":    {set("llama.block_count", uint64(math.MaxUint64)), tinyTensors(), ErrCorrupt, "the file has 11 tensors"},
		"experts":        {append(tinyKeys("llama"), gguf.KV{Key: "llama.expert_count", Value: uint32(4096)}), tinyTensors(), ErrCorrupt, "llama.expert_count is 4096, and there are tensors of 0"},
		"many heads":     {set("llama.attention.head_count", uint32(1<<31)), tinyTensors(), ErrCorrupt, "num_attention_heads"},
		"no tensors":     {tinyKeys("llama"), nil, ErrNotFound, "only a vocabulary"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeGGUF(t, filepath.Join(t.TempDir(), "x.gguf"), c.kvs, c.tensors)
			_, err := Open(path)
			if !errors.Is(err, c.err) || err != nil && (!strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A split file is one model, whichever of its parts is given.
func TestGGUFSplit(t *testing.T) {
	dir, all := t.TempDir(), tinyTensors()
	part := func(i int) string { return filepath.Join(dir, fmt.Sprintf("tiny-%05d-of-00002.gguf", i)) }
	split := func(no uint16) []gguf.KV {
		return []gguf.KV{{Key: "split.no", Value: no}, {Key: "split.count", Value: uint16(2)}, {Key: "split.tensors.count", Value: int32(len(all))}}
	}
	writeGGUF(t, part(1), append(tinyKeys("llama"), split(0)...), all[:5])
	writeGGUF(t, part(2), split(1), all[5:])
	for i := 1; i <= 2; i++ {
		ck, err := Open(part(i))
		if err != nil {
			t.Fatal(err)
		}
		if ck.Name != "tiny" || len(ck.Names()) != len(all) {
			t.Errorf("%q has %d tensors", ck.Name, len(ck.Names()))
		}
		ck.Close()
	}
	writeGGUF(t, part(2), split(1), append(all[5:], ggufTensor{"more", gguf.F32, []uint64{4}, nil}))
	if _, err := Open(part(1)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "11 tensors, and its 2 parts have 12") {
		t.Errorf("a part of another model: %v", err)
	}
	writeGGUF(t, part(2), split(0), all[5:])
	if _, err := Open(part(1)); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), part(2)) {
		t.Errorf("a part under another's name: %v", err)
	}
	if err := os.Remove(part(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(part(1)); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), part(2)) {
		t.Errorf("a part is missing: %v", err)
	}
}

// A file that changes is noticed.
func TestGGUFUnchanged(t *testing.T) {
	path := writeGGUF(t, filepath.Join(t.TempDir(), "tiny.gguf"), tinyKeys("llama"), tinyTensors())
	ck, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if err := ck.Unchanged(); err != nil {
		t.Error(err)
	}
	if err := rewriteFile(path, flip); err != nil {
		t.Fatal(err)
	}
	if err := ck.Unchanged(); !errors.Is(err, source.ErrChanged) || !strings.Contains(err.Error(), path) {
		t.Errorf("a rewritten file: %v", err)
	}
}

// Tokenizers made of a header give the known ids.
func TestGGUFVocabularies(t *testing.T) {
	for name, dir := range map[string]string{"gpt-2": "gpt-2", "llama-spm": "llama-spm", "phi-3": "phi-3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join(vocabFixtures, "ggml-vocab-"+name+".gguf"))
			if err != nil {
				t.Skip(err)
			}
			file, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			header := map[string]any{}
			for _, kv := range file.KVs {
				header[kv.Key] = kv.Value
			}
			g := ggufTokenizer(header)
			made, err1 := g.TokenizerJSON()
			config, err2 := g.ConfigJSON()
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			tok, err := tokenizer.Load(made, config)
			if err != nil {
				t.Fatal(err)
			}
			if kind, size := g.Summary(); kind != tok.Kind() || size != tok.VocabSize() {
				t.Errorf("the summary is %s, %d", kind, size)
			}
			in, err1 := os.ReadFile(filepath.Join(vocabFixtures, dir, "cases.inp"))
			out, err2 := os.ReadFile(filepath.Join(vocabFixtures, dir, "cases.out"))
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			texts := strings.Split(strings.ReplaceAll(string(in), "\r\n", "\n"), "\n__ggml_vocab_test__\n")
			for i, want := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
				got := strings.Trim(fmt.Sprint(tok.Encode(texts[i], tokenizer.EncodeOptions{})), "[]")
				if got != strings.TrimSpace(want) {
					t.Errorf("%q is %s, not %s", texts[i], got, want)
				}
			}
		})
	}
}

// The tokenizer of a file is that of the directory beside it.
func TestGGUFTokenizers(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(archFixtures, "*", "*.gguf"))
	if len(files) == 0 {
		t.Skip("no fixtures in " + archFixtures)
	}
	for _, file := range files {
		if strings.Contains(file, "gguf_types") {
			continue
		}
		a, err1 := Open(file)
		b, err2 := Open(filepath.Dir(file))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"", "the rain in Spain, isn't 1234 it?\n\n  there", " the\tcafé 日本語 🦙", "<|im_start|>user\nhi<|im_end|>"} {
			for _, o := range []tokenizer.EncodeOptions{{}, {AddSpecial: true}, {ParseSpecial: true}} {
				if got, want := a.Tokenizer.Encode(text, o), b.Tokenizer.Encode(text, o); !slices.Equal(got, want) {
					t.Errorf("%s: %q is %v, not %v", filepath.Base(file), text, got, want)
				}
			}
		}
		if !slices.Equal(a.Generation.EOS, b.Config.EOS) || a.Config.BOS != b.Config.BOS || a.TemplateSource != b.TemplateSource && !strings.Contains(file, "gpt_oss") {
			t.Errorf("%s: ends %v, begins %d", filepath.Base(file), a.Generation.EOS, a.Config.BOS)
		}
		a.Close()
		b.Close()
	}
}

// A tokenizer of a kind that is not known is told, and the model opens.
func TestGGUFTokenizerRefused(t *testing.T) {
	for name, kvs := range map[string][]gguf.KV{
		`tokenizer.ggml.model "rwkv"`:  {{Key: "tokenizer.ggml.model", Value: "rwkv"}},
		`tokenizer.ggml.pre "unheard"`: {{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "unheard"}},
		`tokens 0 and 1 are both "a"`:  {{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "gpt-2"}, {Key: "tokenizer.ggml.tokens", Value: []string{"a", "a"}}},
		`is not in the vocabulary`:     {{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.tokens", Value: []string{"a"}}, {Key: "tokenizer.ggml.merges", Value: []string{"a b"}}},
	} {
		path := writeGGUF(t, filepath.Join(t.TempDir(), "x.gguf"), append(tinyKeys("llama"), kvs...), tinyTensors())
		ck, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if ck.Tokenizer != nil || ck.TokenizerErr == nil || !strings.Contains(ck.TokenizerErr.Error(), name) || !strings.HasPrefix(ck.TokenizerErr.Error(), path) {
			t.Errorf("%s: %v", name, ck.TokenizerErr)
		}
		ck.Close()
	}
}

// What is read of a file is bounded by it, whatever it says.
func FuzzGGUF(f *testing.F) {
	data, err := os.ReadFile(writeGGUF(f, filepath.Join(f.TempDir(), "x.gguf"), tinyKeys("llama"), tinyTensors()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x.gguf")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		ck, err := Open(path)
		if err != nil {
			return
		}
		defer ck.Close()
		for _, d := range ck.Config.Described() {
			x, err := ck.Tensor(d.Name)
			if err != nil || int64(x.Len()) != d.elements() {
				t.Errorf("%s: %d elements of %v, %v", d.Name, x.Len(), d.Shape, err)
			}
			if x.DType != kernels.F32 && x.DType != kernels.F16 && x.DType != kernels.BF16 {
				t.Errorf("%s: %v", d.Name, x.DType)
			}
		}
	})
}

// Blocks that are codes of the kernels are used as such: their values are those of the
// file, in the order of the model.
func TestGGUFCodes(t *testing.T) {
	types := map[string]gguf.Type{"token_embd": gguf.Q8_0, "blk.0.attn_q": gguf.Q4_0, "blk.0.attn_k": gguf.IQ4_NL, "blk.0.attn_v": gguf.MXFP4,
		"blk.0.attn_output": gguf.Q5_0, "blk.0.ffn_gate": 11, "blk.0.ffn_down": gguf.Q5_1, "blk.0.ffn_up": 10}
	schemes := map[string]string{"model.embed_tokens": "w8 g32 sym", "model.layers.0.self_attn.q_proj": "w4 g32 sym", "model.layers.0.self_attn.k_proj": "nl4 g32",
		"model.layers.0.self_attn.v_proj": "mxfp4 g32", "model.layers.0.self_attn.o_proj": "q5_0 g32", "model.layers.0.mlp.gate_proj": "q6_k g16",
		"model.layers.0.mlp.down_proj": "q5_1 g32"}
	keys, tensors := tinyKeys("llama"), tinyTensors()
	for i := range keys {
		switch keys[i].Key {
		case "llama.embedding_length", "llama.feed_forward_length":
			keys[i].Value = uint32(256)
		case "llama.attention.key_length":
			keys[i].Value = uint32(128)
		}
	}
	for i, x := range tensors {
		if typ, ok := types[strings.TrimSuffix(x.name, ".weight")]; ok {
			tensors[i].typ = typ
		}
		for j, n := range x.dims {
			switch {
			case len(x.dims) == 1, strings.Contains(x.name, "ffn"), strings.HasSuffix(x.name, "output.weight"), j == 0:
				tensors[i].dims[j] = 256
			case n != 3:
				tensors[i].dims[j] = 32 * n
			}
		}
	}
	ck, err := Open(writeGGUF(t, filepath.Join(t.TempDir(), "codes.gguf"), keys, tensors))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if want := []string{"what is stored as Q2_K is used as 32-bit floats of the same values", "what is stored as Q3_K is used as q6_k g16, which holds its values exactly"}; !ck.Quantized || !slices.Equal(ck.Notes, want) {
		t.Errorf("quantized: %v, notes %q", ck.Quantized, ck.Notes)
	}
	for _, m := range ck.Config.Modules() {
		w, err := ck.Weight(m)
		if err != nil {
			t.Fatal(err)
		}
		x, err := ck.Tensor(m.Name + ".weight")
		if err != nil {
			t.Fatal(err)
		}
		scheme, ok := ck.Scheme(m)
		if !ok {
			if schemes[m.Name] != "" || w.Float == nil {
				t.Errorf("%s is floats", m.Name)
			}
			continue
		}
		if scheme.String() != schemes[m.Name] || w.Q.Scheme != scheme {
			t.Errorf("%s is %s, its codes %s", m.Name, scheme, w.Q.Scheme)
		}
		row, want := make([]float32, m.Cols), x.Floats()
		for r := range m.Rows {
			if w.Q.DequantRow(row, r); !slices.Equal(row, want[r*m.Cols:][:m.Cols]) {
				t.Fatalf("%s: row %d is %v, want %v", m.Name, r, row, want[r*m.Cols:][:m.Cols])
			}
		}
	}
}

// Quantizing some matrices of a file carries the codes of the others.
func TestGGUFCarried(t *testing.T) {
	keys, tensors := tinyKeys("llama"), tinyTensors()
	keys[3].Value, keys[4].Value = uint32(32), uint32(32)
	for i, x := range tensors {
		for j := range x.dims {
			if x.dims[j] != 3 && (x.name != "blk.0.attn_output.weight" || j == 1) {
				tensors[i].dims[j] *= 8
			}
		}
		switch {
		case strings.Contains(x.name, "ffn") && len(x.dims) == 2:
			tensors[i].dims = []uint64{32, 32}
		case strings.Contains(x.name, "attn_q") || strings.Contains(x.name, "attn_k") || strings.Contains(x.name, "attn_v"):
			tensors[i].dims[1] /= 8
		}
	}
	tensors[0].typ, tensors[4].typ, tensors[8].typ = gguf.Q8_0, gguf.IQ4_NL, gguf.MXFP4
	src, err := Open(writeGGUF(t, filepath.Join(t.TempDir(), "codes.gguf"), keys, tensors))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	out := filepath.Join(t.TempDir(), "out")
	w, err := Create(take(t, out), src, nil)
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	back, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	schemes := ""
	for _, m := range src.Config.Modules() {
		was, err1 := src.Weight(m)
		is, err2 := back.Weight(m)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if was.Q == nil {
			if is.Q != nil || !slices.Equal(is.Float.Floats(), was.Float.Floats()) {
				t.Errorf("%s has other weights", m.Name)
			}
			continue
		}
		schemes += m.Kind + ": " + is.Q.Scheme.String() + "; "
		if is.Q.Scheme != was.Q.Scheme || !slices.Equal(is.Q.Codes, was.Q.Codes) || !slices.Equal(is.Q.Scales, was.Q.Scales) {
			t.Errorf("%s has other codes", m.Name)
		}
	}
	if schemes != "embed: w8 g32 sym; q: nl4 g32; gate: mxfp4 g32; " {
		t.Error(schemes)
	}
}

// A matrix may have a factor of its own beside it, one for each expert of a stack;
// what is no finite float of 32 bits is refused.
func TestGGUFFactors(t *testing.T) {
	open := func(scale ggufTensor) (*Checkpoint, error) {
		tensors := tinyTensors()
		return Open(writeGGUF(t, filepath.Join(t.TempDir(), "factor.gguf"), tinyKeys("llama"), append(tensors, scale)))
	}
	ck, err := open(ggufTensor{"blk.0.ffn_up.scale", gguf.F32, []uint64{1}, []float32{0.5}})
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	for name, want := range map[string][]float32{"up": {0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5}, "gate": {0, 1, 2, 3, 4, 5, 6, 7}} {
		x, err := ck.Tensor("model.layers.0.mlp." + name + "_proj.weight")
		if err != nil || !slices.Equal(x.Floats(), want) {
			t.Errorf("%s: %v, %v, want %v", name, x.Floats(), err, want)
		}
	}
	for what, scale := range map[string]ggufTensor{
		"two":      {"blk.0.ffn_up.scale", gguf.F32, []uint64{2}, nil},
		"half":     {"blk.0.ffn_up.scale", gguf.F16, []uint64{1}, nil},
		"infinite": {"blk.0.ffn_up.scale", gguf.F32, []uint64{1}, []float32{float32(math.Inf(1))}},
	} {
		if ck, err := open(scale); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "ffn_up.scale") {
			t.Errorf("%s: %v", what, err)
			if err == nil {
				ck.Close()
			}
		}
	}
}
