package quant

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/export"
	"nibble/model/gguf"
)

// What is said to be the size is that of the file, but for one or two per cent.
func TestWeigh(t *testing.T) {
	ck := open(t, "demo")
	sizes := map[string]Size{}
	none := func(model.Module) (kernels.Scheme, bool) { return kernels.Scheme{}, false }
	for _, s := range Weigh(ck.Config, none) {
		sizes[s.Format+" "+s.Type] = s
	}
	near := func(what string, got Size, want int64, bpw float64) {
		t.Helper()
		if math.Abs(float64(got.SizeBytes)/float64(want)-1) > 0.02 || math.Abs(got.BPW/bpw-1) > 0.01 {
			t.Errorf("%s: %d bytes, %.3f bits a weight; the file has %d, %.3f", what, got.SizeBytes, got.BPW, want, bpw)
		}
	}
	for form, key := range map[string]string{"w4 g32 sym": "w4 g32 sym", "w4 g128 sym": "w4 g128 sym", "w8 g128 sym": "w8 g128 sym"} {
		p, err := NewPlan(ck, parse(t, form+" rtn; embed_tokens w8 g32 sym rtn"))
		if err != nil {
			t.Fatal(err)
		}
		near(form, sizes["compressed-tensors "+key], p.SizeBytes, p.BPW)
	}
	dir := t.TempDir()
	for _, x := range []struct{ form, key string }{{"w4 g32 sym rtn", "gguf Q4_0"}, {"w8 g32 sym rtn", "gguf Q8_0"}, {"w4 g32 asym rtn", ""}} {
		out := filepath.Join(dir, x.form)
		if _, err := Run(t.Context(), Options{Engine: engine(t, 2), Source: ck, Out: out, Recipe: parse(t, x.form+"; embed_tokens w8 g32 sym rtn")}, nil); err != nil {
			t.Fatal(err)
		}
		q := open(t, out)
		carried := map[string]Size{}
		for _, s := range Weigh(q.Config, q.Scheme) {
			carried[s.Format] = s
		}
		info, err := os.Stat(filepath.Join(out, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		near(x.form, carried["compressed-tensors"], info.Size(), 8*float64(q.Bytes())/float64(q.Params()))
		plan, err := export.NewPlan(q, export.Rounded)
		if err != nil {
			t.Fatal(err)
		}
		near(x.form+" as GGUF", carried["gguf"], plan.SizeBytes, plan.BPW)
		if x.key != "" {
			near(x.key, sizes[x.key], plan.SizeBytes, plan.BPW)
		}
		if _, ok := carried["awq"]; ok != (x.key != "gguf Q8_0") {
			t.Errorf("%s: AWQ is listed: %v", x.form, ok)
		}
	}
}

// A matrix of 64 outputs and 256 inputs with groups of 128: codes 8192 bytes, scales
// 256, zero points 64 or, packed, 64; the group of every input 1024.
func TestWeighedMatrix(t *testing.T) {
	m := model.Module{Rows: 64, Cols: 256}
	s := kernels.Scheme{Bits: 4, Group: 128}
	for what, x := range map[string]struct{ got, want int64 }{
		"gptq": {columnwise(m, s, true), 8192 + 256 + 64 + 1024}, "awq": {columnwise(m, s, false), 8192 + 256 + 64},
		"packed": {packed(m, s), 8192 + 256 + 64 + 16},
		"Q4_K":   {weighing{}.blocks(m, gguf.Q4_K), 64 * 144}, "Q4_K of short rows": {weighing{}.blocks(model.Module{Rows: 1, Cols: 64}, gguf.Q4_K), 2 * 22},
		"rows of no blocks": {weighing{float: 2}.blocks(model.Module{Rows: 2, Cols: 40}, gguf.Q4_0), 160},
	} {
		if x.got != x.want {
			t.Errorf("%s: %d bytes, want %d", what, x.got, x.want)
		}
	}
}
