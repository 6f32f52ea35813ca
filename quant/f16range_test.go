package quant

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/demo"
	"nibble/quant/journal"
	"nibble/quant/passtest"
	"nibble/quant/plan"
	"nibble/quant/quanttest"
)

// Matrices whose weights F16 scales do not reach are kept, and the plan, the report
// and the recipe that is written say so; a few such rows are told of.
func TestBeyondF16(t *testing.T) {
	const up = "model.layers.1.mlp.up_proj"
	for name, c := range map[string]struct {
		change func(row int, v float32) float32 // of up_proj
		recipe string
		kept   bool
		coarse int
	}{
		"as it is":         {func(_ int, v float32) float32 { return v }, "w4 g32 sym rtn", false, 0},
		"small":            {func(_ int, v float32) float32 { return v * 0x1p-20 }, "w4 g32 sym rtn", true, 0},
		"smaller":          {func(_ int, v float32) float32 { return v * 0x1p-10 }, "w4 g32 sym rtn", false, 0},
		"small for 8":      {func(_ int, v float32) float32 { return v * 0x1p-10 }, "w8 g32 asym rtn", true, 0},
		"large":            {func(_ int, v float32) float32 { return v * 0x1p22 }, "w4 g64 asym rtn", true, 0},
		"one row":          {func(r int, v float32) float32 { return v * float32(math.Ldexp(1, -20*min(1, max(0, 2-r)/2))) }, "w4 channel sym mse", false, 1},
		"a row of nothing": {func(r int, v float32) float32 { return v * float32(min(1, r)) }, "w4 g32 sym rtn", false, 0},
		"many rows":        {func(r int, v float32) float32 { return v * float32(math.Ldexp(1, -20*(1-min(1, r%8)))) }, "w4 g32 sym rtn", true, 0},
	} {
		ck := changedDemo(t, map[string]func(row int, v float32) float32{up: c.change})
		m := ck.Config.Modules()[slices.IndexFunc(ck.Config.Modules(), func(m model.Module) bool { return m.Name == up })]
		if beyond, err := passtest.Parse(t, c.recipe).Default.Beyond(ck, m); err != nil || beyond != c.kept {
			t.Errorf("%s: beyond: %v, %v", name, beyond, err)
		}
		r := passtest.Parse(t, c.recipe)
		out := filepath.Join(t.TempDir(), "q")
		eng := quanttest.Engine(t, 1)
		plan, err := plan.New(ck, r)
		if err != nil {
			t.Fatal(err)
		}
		res, err := Run(context.Background(), Options{Engine: eng, Source: ck, Recipe: r, Out: out}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		told := func(lines []string, what string) bool {
			return slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, up+": ") && strings.Contains(s, what) })
		}
		if told(plan.Substitutions, "F16 scales do not reach") != c.kept || told(res.Report.Substitutions, "F16 scales do not reach") != c.kept {
			t.Errorf("%s: the plan tells %q, the report %q", name, plan.Substitutions, res.Report.Substitutions)
		}
		if told(res.Report.Substitutions, "too small for F16 scales") != (c.coarse > 0) {
			t.Errorf("%s: the report tells %q", name, res.Report.Substitutions)
		}
		if plan.SizeBytes != res.SizeBytes {
			t.Errorf("%s: %d bytes, %d planned", name, res.SizeBytes, plan.SizeBytes)
		}
		for _, line := range res.Report.Modules {
			if want := line.Module == up; (want && line.Coarse != c.coarse) || (!want && line.Coarse != 0) {
				t.Errorf("%s: %d coarse rows in %s", name, line.Coarse, line.Module)
			}
		}
		again, err := model.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := again.Weight(m); err != nil || (w.Float != nil) != c.kept {
			t.Errorf("%s: it is stored as floats: %v, %v", name, w.Float != nil, err)
		}
		if written, err := journal.ReadReport(out); err != nil || !res.Report.Recipe.For(m).Kept() == c.kept || written.Recipe.For(m).Kept() != c.kept {
			t.Errorf("%s: the recipe that was written keeps it: %v, %v", name, written.Recipe.For(m).Kept(), err)
		}
		again.Close()
	}
}

// A scale that reaches the end of F16 all the same is an error that names the tensor.
func TestScaleBeyondF16(t *testing.T) {
	const up = "model.layers.1.mlp.up_proj"
	ck := changedDemo(t, map[string]func(row int, v float32) float32{up: func(row int, v float32) float32 {
		if row == 1 { // the plan does not look at every row of a matrix of so many
			return v * 0x1p26
		}
		return v
	}})
	r := passtest.Parse(t, "w4 g32 sym rtn")
	_, err := Run(context.Background(), Options{Engine: quanttest.Engine(t, 1), Source: ck, Recipe: r, Out: filepath.Join(t.TempDir(), "q")}, nil)
	if err == nil || !strings.Contains(err.Error(), up) {
		t.Errorf("scales beyond F16: %v", err)
	}
}

// changedDemo is the demo with other weights in some matrices.
func changedDemo(t *testing.T, change map[string]func(row int, v float32) float32) *model.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"} {
		data, err := demo.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "model.safetensors" {
			n := binary.LittleEndian.Uint64(data)
			var header map[string]struct {
				Offsets []int `json:"data_offsets"`
				Shape   []int
			}
			if err := json.Unmarshal(data[8:8+n], &header); err != nil {
				t.Fatal(err)
			}
			for module, f := range change {
				h := header[module+".weight"]
				bf16 := data[8+int(n):][h.Offsets[0]:h.Offsets[1]]
				values := make([]float32, len(bf16)/2)
				kernels.DecodeFloats(values, bf16, kernels.BF16)
				for i, v := range values {
					values[i] = f(i/h.Shape[1], v)
				}
				kernels.EncodeFloats(bf16, values, kernels.BF16)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return quanttest.Open(t, dir)
}
