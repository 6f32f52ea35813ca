package export

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/gguf"
	"nibble/model/output"
)

func open(t testing.TB, ref string) *model.Checkpoint {
	t.Helper()
	ck, err := model.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	return ck
}

// quantized writes the demo with random codes in every matrix of a layer and
// returns it opened. edit may change a matrix before it is written.
func quantized(t testing.TB, s kernels.Scheme, edit func(m model.Module, q *kernels.QTensor)) *model.Checkpoint {
	t.Helper()
	src, rng := open(t, "demo"), rand.New(rand.NewPCG(3, 4))
	schemes := make(map[string]kernels.Scheme)
	for _, m := range src.Config.Modules() {
		if m.Layer >= 0 {
			schemes[m.Name] = s
		}
	}
	dir := filepath.Join(t.TempDir(), "model")
	w, err := model.Create(take(t, dir), src, schemes)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range src.Config.Modules() {
		if m.Layer < 0 {
			continue
		}
		q, err := kernels.NewQTensor(m.Rows, m.Cols, s)
		if err != nil {
			t.Fatal(err)
		}
		for r := range q.Rows {
			for c := range q.Cols {
				q.SetCode(r, c, uint8(s.MinCode()+rng.IntN(s.MaxCode())))
			}
		}
		for i := range q.Scales {
			q.Scales[i] = kernels.F32ToF16(float32(0.01*rng.NormFloat64())) &^ 15
		}
		for i := range q.Zeros {
			q.Zeros[i] = uint8(rng.IntN(s.MaxCode()))
		}
		if edit != nil {
			edit(m, q)
		}
		if err := w.PutQ(m.Name, q); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

func runTo(t testing.TB, ck *model.Checkpoint, typ string) (Result, *gguf.File) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "model.gguf")
	res, err := Run(context.Background(), Options{Source: ck, Out: out, Type: typ}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil || info.Size() != res.SizeBytes {
		t.Fatalf("the file has %d bytes, planned were %d (%v)", info.Size(), res.SizeBytes, err)
	}
	file, err := gguf.Read(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return res, file
}

// values decodes a tensor of a file.
func values(t testing.TB, f *gguf.File, name string) (gguf.Tensor, []float32) {
	t.Helper()
	for _, ten := range f.Tensors {
		if ten.Name == name {
			var out []float32
			if err := f.Rows(ten, func(_ int, v []float32) error { out = append(out, v...); return nil }); err != nil {
				t.Fatal(err)
			}
			return ten, out
		}
	}
	t.Fatalf("the file has no tensor %s", name)
	return gguf.Tensor{}, nil
}

// sourceValues decodes a matrix of a checkpoint.
func sourceValues(t testing.TB, ck *model.Checkpoint, m model.Module) []float32 {
	t.Helper()
	w, err := ck.Weight(m)
	if err != nil {
		t.Fatal(err)
	}
	if w.Float != nil {
		return w.Float.Floats()
	}
	out := make([]float32, m.Rows*m.Cols)
	for r := range m.Rows {
		w.Q.DequantRow(out[r*m.Cols:][:m.Cols], r)
	}
	return out
}

// moduleName is llama.cpp's name of a matrix of Llama, and normName of a norm.
func moduleName(m model.Module) string {
	name := map[string]string{"embed": "token_embd", "head": "output", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
		"gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}[m.Kind]
	if m.Layer < 0 {
		return name
	}
	return fmt.Sprintf("blk.%d.%s", m.Layer, name)
}

func normName(name string) string {
	return strings.NewReplacer("model.norm", "output_norm", "model.layers", "blk", "input_layernorm", "attn_norm", "post_attention_layernorm", "ffn_norm").Replace(name)
}

// llamaRows reorders query and key rows as llama.cpp's conversion defines it:
// a head's two halves are interleaved.
func llamaRows(w []float32, cols, headDim int) []float32 {
	out := make([]float32, 0, len(w))
	for head := 0; head < len(w); head += headDim * cols {
		for i := range headDim / 2 {
			for _, half := range []int{0, headDim / 2} {
				at := head + (i+half)*cols
				out = append(out, w[at:at+cols]...)
			}
		}
	}
	return out
}

// Rows of eight bits among rows of four are Q8_0, exactly, in whatever order rows
// are; what Q8_0 does not hold is refused.
func TestTopRows(t *testing.T) {
	s := kernels.Scheme{Bits: 4, Group: 64, Sym: true, Top: 30}
	rng := rand.New(rand.NewPCG(9, 10))
	fine := func(_ model.Module, q *kernels.QTensor) {
		for i := range q.Scales {
			q.Scales[i] = 0x2400 + uint16(rng.Uint32())&0x83ff
		}
		for i := range q.Codes {
			q.Codes[i] |= 0x11
		}
		for i := range q.TopCodes {
			q.TopCodes[i] = uint8(rng.Uint32())
		}
	}
	ck := quantized(t, s, fine)
	for _, typ := range []string{Auto, "f32"} {
		res, f := runTo(t, ck, typ)
		if !res.Exact {
			t.Errorf("%s: differs by %g", typ, res.MaxAbsDiff)
		}
		if ten, _ := values(t, f, "blk.0.attn_q.weight"); typ != "f32" && ten.Type != gguf.Q8_0 {
			t.Errorf("%s: stored as %s", typ, ten.Type)
		}
	}
	for says, spoil := range map[string]func(q *kernels.QTensor){
		"less than Q8_0 holds": func(q *kernels.QTensor) { q.Codes[0], q.TopCodes[0] = 0, 0 },
		"no exact F16 value":   func(q *kernels.QTensor) { q.Scales[0] = 0x0401 },
	} {
		ck := quantized(t, s, func(m model.Module, q *kernels.QTensor) {
			if fine(m, q); m.Kind == "down" && m.Layer == 1 {
				spoil(q)
			}
		})
		out := filepath.Join(t.TempDir(), "model.gguf")
		_, err := Run(context.Background(), Options{Source: ck, Out: out}, nil)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "layers.1.mlp.down_proj") {
			t.Errorf("%q: %v", says, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%q: a file was left", says)
		}
	}
}

func TestExports(t *testing.T) {
	for _, c := range []struct {
		scheme kernels.Scheme // zero: the demo itself
		typ    string
		want   gguf.Type // of the layers' matrices
		exact  bool
	}{
		{kernels.Scheme{}, Auto, gguf.BF16, true},
		{kernels.Scheme{}, "f32", gguf.F32, true},
		{kernels.Scheme{}, "f16", gguf.F16, false},
		{kernels.Scheme{Bits: 4, Group: 32, Sym: true}, Auto, gguf.Q4_0, true},
		{kernels.Scheme{Bits: 4, Group: 64, Sym: true}, "", gguf.Q4_0, true},
		{kernels.Scheme{Bits: 4, Group: 128, Sym: true}, "q4_0", gguf.Q4_0, true},
		{kernels.Scheme{Bits: 4, Sym: true}, Auto, gguf.Q4_0, true},
		{kernels.Scheme{Bits: 4, Group: 64, Sym: true}, "q4_1", gguf.Q4_1, true},
		{kernels.Scheme{Bits: 4, Group: 32}, Auto, gguf.Q4_1, true},
		{kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: kernels.NL4}, Auto, gguf.IQ4_NL, true},
		{kernels.Scheme{Bits: 4, Group: 32}, "q8_0", gguf.Q8_0, true},
		{kernels.Scheme{Bits: 4, Group: 32}, "f32", gguf.F32, true},
		{kernels.Scheme{Bits: 8, Group: 32, Sym: true}, Auto, gguf.Q8_0, true},
		{kernels.Scheme{Bits: 8, Sym: true}, Auto, gguf.Q8_0, true},
		{kernels.Scheme{Bits: 8, Group: 128}, "f32", gguf.F32, true},
	} {
		t.Run(c.scheme.String()+" "+c.typ, func(t *testing.T) {
			ck := open(t, "demo")
			if c.scheme.Bits > 0 {
				ck = quantized(t, c.scheme, nil)
			}
			res, file := runTo(t, ck, c.typ)
			if res.Exact != c.exact || (res.MaxAbsDiff == 0) != c.exact || (res.WorstName == "") != c.exact {
				t.Errorf("exact %v, largest difference %g of %q", res.Exact, res.MaxAbsDiff, res.WorstName)
			}
			worst := 0.0
			for _, m := range ck.Config.Modules() {
				ten, got := values(t, file, moduleName(m)+".weight")
				if m.Layer >= 0 && ten.Type != c.want {
					t.Errorf("%s is %s, want %s", ten.Name, ten.Type, c.want)
				}
				want := sourceValues(t, ck, m)
				if m.Kind == "q" || m.Kind == "k" {
					want = llamaRows(want, m.Cols, ck.Config.Widths().HeadDim)
				}
				for i := range want {
					worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
				}
			}
			if worst != res.MaxAbsDiff {
				t.Errorf("the largest difference is %g, reported was %g", worst, res.MaxAbsDiff)
			}
			for _, vector := range ck.Config.Vectors() {
				name := vector.Tensor
				ten, got := values(t, file, normName(name))
				src, err := ck.Tensor(name)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range src.Floats() {
					if ten.Type != gguf.F32 || got[i] != v {
						t.Fatalf("%s: %s, %g instead of %g", name, ten.Type, got[i], v)
					}
				}
			}
		})
	}
}

// Q4_1 that rounds the minimums is refused by auto, and said when asked for.
func TestInexactMinimums(t *testing.T) {
	ck := quantized(t, kernels.Scheme{Bits: 4, Group: 32}, func(m model.Module, q *kernels.QTensor) {
		if m.Name == "model.layers.3.mlp.up_proj" {
			q.Scales[5], q.Zeros[5] = 0x3c01, 3
			q.SetCode(0, 0, 3)
		}
	})
	_, err := NewPlan(ck, Auto)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "layers.3.mlp.up_proj") || !strings.Contains(err.Error(), "1 of") {
		t.Errorf("auto: %v", err)
	}
	for _, typ := range []string{"q4_1", Rounded} {
		res, _ := runTo(t, ck, typ)
		if res.Exact || res.MaxAbsDiff == 0 || res.WorstName != "model.layers.3.mlp.up_proj.weight" {
			t.Errorf("%s: exact %v, %g in %q", typ, res.Exact, res.MaxAbsDiff, res.WorstName)
		}
	}
	if res, _ := runTo(t, ck, "q8_0"); !res.Exact {
		t.Errorf("q8_0: differs by %g", res.MaxAbsDiff)
	}
}

// A 4-bit type that is asked for leaves matrices of 8 bits and of floats alone.
func TestMixedRecipe(t *testing.T) {
	four, eight := kernels.Scheme{Bits: 4, Group: 32, Sym: true}, kernels.Scheme{Bits: 8, Sym: true}
	src, dir := open(t, "demo"), filepath.Join(t.TempDir(), "q")
	schemes := map[string]kernels.Scheme{"model.layers.0.mlp.up_proj": four, "model.layers.1.mlp.down_proj": eight, src.Config.Embed.Path: four}
	w, err := model.Create(take(t, dir), src, schemes)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range src.Config.Modules() {
		s, ok := schemes[m.Name]
		if !ok {
			continue
		}
		q, err := kernels.NewQTensor(m.Rows, m.Cols, s)
		if err == nil {
			err = w.PutQ(m.Name, q)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	_, f := runTo(t, open(t, dir), Rounded)
	if ten, _ := values(t, f, "blk.0.ffn_up.weight"); ten.Type != gguf.Q4_0 {
		t.Errorf("rounded: symmetric codes are %s", ten.Type)
	}
	res, f := runTo(t, open(t, dir), "q4_1")
	for name, want := range map[string]gguf.Type{"token_embd": gguf.Q4_1, "blk.0.ffn_up": gguf.Q4_1, "blk.1.ffn_down": gguf.Q8_0, "blk.0.attn_q": gguf.BF16} {
		if ten, _ := values(t, f, name+".weight"); ten.Type != want {
			t.Errorf("%s is %s, want %s", name, ten.Type, want)
		}
	}
	matrices := make(map[string]int)
	for _, s := range res.Types {
		matrices[s.Type] = s.Matrices
	}
	if !res.Exact || matrices["Q4_1"] != 2 || matrices["Q8_0"] != 1 || matrices["BF16"] != 33 {
		t.Errorf("exact %v, matrices %v", res.Exact, matrices)
	}
}

func TestMinus128IsNoted(t *testing.T) {
	ck := quantized(t, kernels.Scheme{Bits: 8, Group: 32, Sym: true}, func(m model.Module, q *kernels.QTensor) {
		if m.Name == "model.layers.0.self_attn.q_proj" {
			q.SetCode(7, 9, 0)
		}
	})
	res, _ := runTo(t, ck, Auto)
	if !res.Exact || len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "1 rows") {
		t.Errorf("exact %v, notes %q", res.Exact, res.Notes)
	}
}

func TestRefusals(t *testing.T) {
	demo := open(t, "demo")
	for _, c := range []struct {
		name string
		ck   func(t *testing.T) *model.Checkpoint
		typ  string
		says string
	}{
		{"no such type", func(*testing.T) *model.Checkpoint { return demo }, "q5_0", "q5_0"},
		{"floats as q4_0", func(*testing.T) *model.Checkpoint { return demo }, "q4_0", "does not quantize"},
		{"floats as q8_0", func(*testing.T) *model.Checkpoint { return demo }, "q8_0", "nibble quantize"},
		{"zero points as q4_0", func(t *testing.T) *model.Checkpoint { return quantized(t, kernels.Scheme{Bits: 4, Group: 32}, nil) }, "q4_0", "zero points"},
		{"8 bits as q4_0", func(t *testing.T) *model.Checkpoint {
			return quantized(t, kernels.Scheme{Bits: 8, Group: 32, Sym: true}, nil)
		}, "q4_0", "has codes for Q4_0"},
		{"8 bits with zero points", func(t *testing.T) *model.Checkpoint { return quantized(t, kernels.Scheme{Bits: 8, Group: 32}, nil) }, Auto, "signed bytes"},
		{"172 columns", ragged, Auto, "172 columns are no multiple of the 32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "x.gguf")
			_, err := Run(context.Background(), Options{Source: c.ck(t), Out: out, Type: c.typ}, func(Event) { t.Error("work began") })
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
			empty(t, filepath.Dir(out))
		})
	}
}

// empty checks that nothing is left in a directory.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%v is left (%v)", entries, err)
	}
}

// checkpoint writes an F32 checkpoint of the given configuration with random
// weights and without a tokenizer; fill, if not nil, overrides values.
func checkpoint(t testing.TB, config map[string]any, fill func(name string, i int) (float32, bool)) *model.Checkpoint {
	t.Helper()
	base := map[string]any{"architectures": []string{"LlamaForCausalLM"}, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
		"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 8, "max_position_embeddings": 64, "rms_norm_eps": 1e-5}
	for k, v := range config {
		base[k] = v
	}
	raw, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	num := func(k string) int {
		var v map[string]any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		return int(v[k].(float64))
	}
	h, ffn, vocab, d := num("hidden_size"), num("intermediate_size"), num("vocab_size"), num("head_dim")
	q, kv := num("num_attention_heads")*d, num("num_key_value_heads")*d
	p := "model.layers.0."
	shapes := []struct {
		name string
		dims []int
	}{{"model.embed_tokens.weight", []int{vocab, h}}, {"lm_head.weight", []int{vocab, h}}, {p + "self_attn.q_proj.weight", []int{q, h}},
		{p + "self_attn.k_proj.weight", []int{kv, h}}, {p + "self_attn.v_proj.weight", []int{kv, h}}, {p + "self_attn.o_proj.weight", []int{h, q}},
		{p + "mlp.gate_proj.weight", []int{ffn, h}}, {p + "mlp.up_proj.weight", []int{ffn, h}}, {p + "mlp.down_proj.weight", []int{h, ffn}},
		{p + "input_layernorm.weight", []int{h}}, {p + "post_attention_layernorm.weight", []int{h}}, {"model.norm.weight", []int{h}},
		{p + "self_attn.q_proj.bias", []int{q}}, {p + "self_attn.k_proj.bias", []int{kv}}, {p + "self_attn.v_proj.bias", []int{kv}}, {p + "self_attn.o_proj.bias", []int{h}}}
	rng, header, data := rand.New(rand.NewPCG(7, 8)), make(map[string]any), []byte(nil)
	for _, s := range shapes {
		n, start := 1, len(data)
		for _, d := range s.dims {
			n *= d
		}
		for i := range n {
			v := float32(rng.NormFloat64())
			if fill != nil {
				if w, ok := fill(s.name, i); ok {
					v = w
				}
			}
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		header[s.name] = map[string]any{"dtype": "F32", "shape": s.dims, "data_offsets": []int{start, len(data)}}
	}
	body, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(body))), body...), data...)
	for name, data := range map[string][]byte{"config.json": raw, "model.safetensors": file} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir)
}

// ragged is a quantized checkpoint with 172 columns, the feed-forward width of a
// real small model.
func ragged(t *testing.T) *model.Checkpoint {
	src := checkpoint(t, map[string]any{"intermediate_size": 172}, nil)
	s, name := kernels.Scheme{Bits: 4, Group: 32, Sym: true}, "model.layers.0.mlp.down_proj"
	dir := filepath.Join(t.TempDir(), "q")
	w, err := model.Create(take(t, dir), src, map[string]kernels.Scheme{name: s})
	if err != nil {
		t.Fatal(err)
	}
	q, err := kernels.NewQTensor(64, 172, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.PutQ(name, q), w.Commit()); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

// Columns that no block fits are fine as floats.
func TestRaggedAsFloats(t *testing.T) {
	if res, _ := runTo(t, ragged(t), "f32"); !res.Exact {
		t.Errorf("differs by %g", res.MaxAbsDiff)
	}
}

// Biases of queries and keys are reordered like their rows, and an untied head,
// other widths of a head and scaled rotary embeddings have their places.
func TestArchitecture(t *testing.T) {
	ck := checkpoint(t, map[string]any{"attention_bias": true, "head_dim": 32, "rope_theta": 50000.0, "rope_scaling": map[string]any{"rope_type": "llama3",
		"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 1024}}, nil)
	res, f := runTo(t, ck, Auto)
	if !res.Exact {
		t.Errorf("differs by %g", res.MaxAbsDiff)
	}
	bias, err := ck.Tensor("model.layers.0.self_attn.k_proj.bias")
	if err != nil {
		t.Fatal(err)
	}
	want := llamaRows(bias.Floats(), 1, 32)
	if _, got := values(t, f, "blk.0.attn_k.bias"); len(got) != 64 || got[1] != want[1] || got[33] != want[33] || got[62] != want[62] {
		t.Errorf("bias %v, want %v", got, want)
	}
	values(t, f, "output.weight")
	values(t, f, "blk.0.attn_output.bias")
	for key, want := range map[string]any{"llama.attention.key_length": uint32(32), "llama.rope.dimension_count": uint32(32), "llama.rope.freq_base": float32(50000),
		"llama.attention.head_count_kv": uint32(2), "tokenizer.ggml.model": "no_vocab", "llama.vocab_size": uint32(8), "general.file_type": uint32(0)} {
		if got, _ := f.Value(key); got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	_, factors := values(t, f, "rope_freqs.weight")
	if len(factors) != 16 || factors[0] != 1 || factors[15] != 8 {
		t.Fatalf("factors %v", factors)
	}
	for i, got := range factors { // the definition in transformers' rope_utils
		freq := math.Pow(50000, -float64(i)/16)
		wavelength := 2 * math.Pi / freq
		scaled := freq
		if wavelength > 1024 {
			scaled = freq / 8
		} else if wavelength > 256 {
			smooth := (1024/wavelength - 1) / 3
			scaled = (1-smooth)*freq/8 + smooth*freq
		}
		if want := freq / scaled; math.Abs(float64(got)-want) > 1e-6*want {
			t.Errorf("factor %d is %g, want %g", i, got, want)
		}
	}
	linear := checkpoint(t, map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 4.0}}, nil)
	_, f = runTo(t, linear, Auto)
	if kind, _ := f.Value("llama.rope.scaling.type"); kind != "linear" {
		t.Errorf("scaling %v", kind)
	}
	if factor, _ := f.Value("llama.rope.scaling.factor"); factor != float32(4) {
		t.Errorf("factor %v", factor)
	}
}

// Weights that the type or the format cannot hold stop the export, and nothing
// is left.
func TestBadValues(t *testing.T) {
	put := func(v float32) *model.Checkpoint {
		return checkpoint(t, nil, func(name string, i int) (float32, bool) {
			return v, name == "model.layers.0.mlp.up_proj.weight" && i == 77
		})
	}
	for _, c := range []struct {
		value float32
		typ   string
		want  error
	}{{1e6, "f16", gguf.ErrLayout}, {float32(math.NaN()), Auto, model.ErrNotFinite}, {float32(math.Inf(1)), "f16", model.ErrNotFinite}} {
		out := filepath.Join(t.TempDir(), "x.gguf")
		_, err := Run(context.Background(), Options{Source: put(c.value), Out: out, Type: c.typ}, nil)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "up_proj") {
			t.Errorf("%g as %s: %v", c.value, c.typ, err)
		}
		empty(t, filepath.Dir(out))
	}
}

// What F16 does not hold is refused before anything is written.
func TestBeyondF16(t *testing.T) {
	scaled := func(by float32) *model.Checkpoint {
		return checkpoint(t, nil, func(name string, i int) (float32, bool) {
			return float32(i%7-3) * by, name == "model.layers.0.mlp.up_proj.weight"
		})
	}
	for _, c := range []struct {
		by      float32
		typ     string
		refused bool
	}{{1e6, "f16", true}, {1e-7, "f16", true}, {1e-3, "f16", false}, {0, "f16", false}, {1e6, Auto, false}, {1e-7, "f32", false}} {
		_, err := NewPlan(scaled(c.by), c.typ)
		if refused := errors.Is(err, ErrRefused) && strings.Contains(err.Error(), "up_proj"); refused != c.refused || err != nil && !refused {
			t.Errorf("weights of %g as %s: %v", c.by, c.typ, err)
		}
	}
	for zero, refused := range map[uint8]bool{1: false, 3: true} {
		ck := quantized(t, kernels.Scheme{Bits: 4, Group: 32}, func(m model.Module, q *kernels.QTensor) {
			if m.Name == "model.layers.3.mlp.up_proj" {
				q.Scales[5], q.Zeros[5] = kernels.F32ToF16(60000), zero
			}
		})
		if _, err := NewPlan(ck, Rounded); (err != nil) != refused || refused && !strings.Contains(err.Error(), "layers.3.mlp.up_proj") {
			t.Errorf("a minimum of %d x 60000: %v", zero, err)
		}
	}
}

func TestOutput(t *testing.T) {
	demo, dir := open(t, "demo"), t.TempDir()
	there := filepath.Join(dir, "there.gguf")
	if err := os.WriteFile(there, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]error{there: output.ErrExists, "": output.ErrUnwritable, filepath.Join(there, "such.gguf"): output.ErrUnwritable, dir: output.ErrExists, dir + "/new/": output.ErrUnwritable} {
		if _, err := Run(context.Background(), Options{Source: demo, Out: out}, nil); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", out, err, want)
		}
	}
	if data, err := os.ReadFile(there); err != nil || string(data) != "mine" {
		t.Errorf("the file that was there holds %q (%v)", data, err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out := filepath.Join(t.TempDir(), "x.gguf")
	if _, err := Run(ctx, Options{Source: open(t, "demo"), Out: out}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	empty(t, filepath.Dir(out))
}

func TestProgress(t *testing.T) {
	var last Progress
	stages := make(map[string]bool)
	_, err := Run(context.Background(), Options{Source: open(t, "demo"), Out: filepath.Join(t.TempDir(), "x.gguf")}, func(e Event) {
		last = e.(Progress)
		stages[last.Stage] = true
	})
	if err != nil || last.Done != last.Total || last.Total == 0 || !stages["writing"] || !stages["checking"] {
		t.Errorf("last %+v, stages %v (%v)", last, stages, err)
	}
}

// take claims a place for as long as the test lasts.
func take(t testing.TB, path string) *output.Claim {
	t.Helper()
	at, err := output.Take(path, output.Directory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Release)
	return at
}

// What is exported opens again with the same values, and exports to the same bytes.
func TestOpensAgain(t *testing.T) {
	for name, src := range map[string]*model.Checkpoint{
		"demo": open(t, "demo"),
		"Q4_0": quantized(t, kernels.Scheme{Bits: 4, Group: 32, Sym: true}, nil),
		"Q4_1": quantized(t, kernels.Scheme{Bits: 4, Group: 32}, nil),
		"Q8_0": quantized(t, kernels.Scheme{Bits: 8, Group: 32, Sym: true}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "demo.gguf")
			if _, err := Run(context.Background(), Options{Source: src, Out: out, Type: Auto}, nil); err != nil {
				t.Fatal(err)
			}
			back := open(t, out)
			if a, b := src.Config.Described(), back.Config.Described(); len(a) != len(b) || !slices.EqualFunc(a, b, func(x, y model.Described) bool { return x.Name == y.Name && slices.Equal(x.Shape, y.Shape) }) {
				t.Fatalf("%d tensors are %d", len(a), len(b))
			}
			for _, m := range src.Config.Modules() {
				w, err := src.Weight(m)
				if err != nil {
					t.Fatal(err)
				}
				got, err := back.Tensor(m.Name + ".weight")
				if err != nil {
					t.Fatal(err)
				}
				var want []float32
				if w.Q != nil {
					want = make([]float32, m.Rows*m.Cols)
					for r := range m.Rows {
						w.Q.DequantRow(want[r*m.Cols:][:m.Cols], r)
					}
				} else {
					want = w.Float.Floats()
				}
				if !slices.Equal(got.Floats(), want) {
					t.Errorf("%s differs", m.Name)
				}
			}
			if name != "demo" {
				return
			}
			again := filepath.Join(t.TempDir(), "model.gguf")
			if _, err := Run(context.Background(), Options{Source: back, Out: again, Type: Auto}, nil); err != nil {
				t.Fatal(err)
			}
			a, err1 := os.ReadFile(out)
			b, err2 := os.ReadFile(again)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(a, b) {
				t.Errorf("the files differ: %d and %d bytes", len(a), len(b))
			}
		})
	}
}
