package quant

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/export"
	"nibble/quant/passtest"
	"nibble/quant/plan"
	"nibble/quant/quanttest"
)

// What is said to be the size is that of the file, but for one or two per cent.
func TestWeigh(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	sizes := map[string]plan.Size{}
	none := func(model.Module) (kernels.Scheme, bool) { return kernels.Scheme{}, false }
	for _, s := range plan.Weigh(ck.Config, none) {
		sizes[s.Format+" "+s.Type] = s
	}
	near := func(what string, got plan.Size, want int64, bpw float64) {
		t.Helper()
		if math.Abs(float64(got.SizeBytes)/float64(want)-1) > 0.02 || math.Abs(got.BPW/bpw-1) > 0.01 {
			t.Errorf("%s: %d bytes, %.3f bits a weight; the file has %d, %.3f", what, got.SizeBytes, got.BPW, want, bpw)
		}
	}
	for form, key := range map[string]string{"w4 g32 sym": "w4 g32 sym", "w4 g128 sym": "w4 g128 sym", "w8 g128 sym": "w8 g128 sym"} {
		p, err := plan.New(ck, passtest.Parse(t, form+" rtn; embed_tokens w8 g32 sym rtn"))
		if err != nil {
			t.Fatal(err)
		}
		near(form, sizes["compressed-tensors "+key], p.SizeBytes, p.BPW)
	}
	dir := t.TempDir()
	for _, x := range []struct{ form, key string }{{"w4 g32 sym rtn", "gguf Q4_0"}, {"w8 g32 sym rtn", "gguf Q8_0"}, {"w4 g32 asym rtn", ""}} {
		out := filepath.Join(dir, x.form)
		if _, err := Run(t.Context(), Options{Engine: quanttest.Engine(t, 2), Source: ck, Out: out, Recipe: passtest.Parse(t, x.form+"; embed_tokens w8 g32 sym rtn")}, nil); err != nil {
			t.Fatal(err)
		}
		q := quanttest.Open(t, out)
		carried := map[string]plan.Size{}
		for _, s := range plan.Weigh(q.Config, q.Scheme) {
			carried[s.Format] = s
		}
		info, err := os.Stat(filepath.Join(out, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		near(x.form, carried["compressed-tensors"], info.Size(), 8*float64(q.Bytes())/float64(q.Params()))
		file, err := export.NewPlan(q, export.Rounded)
		if err != nil {
			t.Fatal(err)
		}
		near(x.form+" as GGUF", carried["gguf"], file.SizeBytes, file.BPW)
		if x.key != "" {
			near(x.key, sizes[x.key], file.SizeBytes, file.BPW)
		}
		if _, ok := carried["awq"]; ok != (x.key != "gguf Q8_0") {
			t.Errorf("%s: AWQ is listed: %v", x.form, ok)
		}
	}
}
