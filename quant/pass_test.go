package quant

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nibble/kernels/slowtest"
	"nibble/model"
	"nibble/model/demo/demotest"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// Every method gives the same bytes on any number of threads, alone and next to
// others.
func TestSameBytesOnAnyThreads(t *testing.T) {
	shortTraining(t, 5)
	ck := quanttest.Open(t, demotest.Short(t, 2))
	cal := passtest.Calibration(t, ck)
	for _, name := range recipe.Methods() {
		r := passtest.Parse(t, "w4 g32 sym "+name+"; *.down_proj w4 g64 asym mse; *.k_proj keep; *.1.self_attn.v_proj w8 channel asym rtn; embed_tokens w8 g32 sym "+name)
		var first passtest.HeldSink
		for _, threads := range slowtest.Or([]int{1, 3}, []int{1, 2, 3}) {
			base := quanttest.Load(t, threads, ck)
			out := passtest.NewHeldSink()
			j := job{eng: base.Engine, ck: ck, base: base, recipe: r, calibration: cal}
			if err := j.prepare(); err != nil {
				t.Fatal(err)
			}
			report, err := j.run(context.Background(), out)
			if err != nil {
				t.Fatal(err)
			}
			if calibrated := method.Calibrated(r, ck.Config); calibrated != (report.Calibration == cal) {
				t.Errorf("%s: the report names calibration %v", name, report.Calibration)
			}
			e := report.Modules[0]
			used := name
			if name == method.AutoRound || name == method.AutoRoundLight { // of layers only
				used = method.GPTQ
			}
			if (used != name) != (e.Note != "") || !strings.HasSuffix(e.Spec, " "+used) {
				t.Errorf("%s: the embedding is told as %+v", name, e)
			}
			if threads == 1 {
				first = out
				continue
			}
			if !reflect.DeepEqual(out, first) {
				t.Errorf("%s: %d threads give other bytes than one", name, threads)
			}
		}
	}
}

// Matrices whose inputs the calibration says little of are quantized as well as
// can be, and are told of.
func TestSilentInputs(t *testing.T) {
	shortTraining(t, 2)
	ctx := context.Background()
	ck := quanttest.Open(t, demotest.Short(t, 3))
	base := quanttest.Load(t, 2, ck)
	few := slices.Clone(base.Vector("model.layers.1.input_layernorm.weight"))
	clear(few[7:12])
	base = base.WithVectors(map[string][]float32{
		"model.layers.1.input_layernorm.weight":          few,
		"model.layers.2.post_attention_layernorm.weight": make([]float32, ck.Config.Hidden),
	})
	for _, name := range []string{method.IMatrix, method.GPTQ, method.AutoRoundLight, method.AutoRoundBest} {
		notes := map[string]string{}
		out := passtest.NewHeldSink()
		j := job{eng: base.Engine, ck: ck, base: base, recipe: passtest.Parse(t, "w4 g32 sym "+name), calibration: passtest.Calibration(t, ck), l: func(e pass.Event) {
			if d, ok := e.(pass.ModuleDone); ok {
				notes[d.Module] = d.Note
			}
		}}
		if err := j.prepare(); err != nil {
			t.Fatal(err)
		}
		report, err := j.run(ctx, out)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range report.Modules {
			want := ""
			switch {
			case strings.HasPrefix(m.Module, "model.layers.1.self_attn.") && !strings.HasSuffix(m.Module, "o_proj"):
				want = "5 of 128 inputs are 0"
			case strings.HasSuffix(m.Module, ".2.mlp.gate_proj"), strings.HasSuffix(m.Module, ".2.mlp.up_proj"), strings.HasSuffix(m.Module, ".2.mlp.down_proj"):
				want = "all inputs are 0"
			}
			if want == "" && m.Note != "" || !strings.HasPrefix(m.Note, want) || notes[m.Module] != m.Note {
				t.Errorf("%s: the note for %s is %q, and %q when it is done; want %q", name, m.Module, m.Note, notes[m.Module], want)
			}
			if strings.HasPrefix(want, "all") {
				module := ck.Config.Modules()[slices.IndexFunc(ck.Config.Modules(), func(o model.Module) bool { return o.Name == m.Module })]
				plain, _, err := method.One(ctx, base.Engine, ck, module, recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.MSE})
				if err != nil || !reflect.DeepEqual(plain, out.Matrices[m.Module]) {
					t.Errorf("%s: %s is not quantized as by %s (%v)", name, m.Module, method.MSE, err)
				}
			}
		}
		for _, want := range []string{
			"3 matrices (model.layers.1.self_attn.q_proj, model.layers.1.self_attn.k_proj, model.layers.1.self_attn.v_proj): 15 of 384 inputs are 0",
			"3 matrices (model.layers.2.mlp.gate_proj, model.layers.2.mlp.up_proj, model.layers.2.mlp.down_proj): all inputs are 0",
		} {
			if !slices.ContainsFunc(report.Substitutions, func(note string) bool { return strings.HasPrefix(note, want) }) {
				t.Errorf("%s: the report says %q, not %q", name, report.Substitutions, want)
			}
		}
	}
}
