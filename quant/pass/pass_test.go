package pass_test

import (
	"context"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/plan"
	"nibble/quant/quanttest"
)

// A transformation that computes the same changes nothing for what follows; its
// weights, norms and kept matrices are handed on as they will be stored.
func TestReplacedWeights(t *testing.T) {
	ctx := context.Background()
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	plan, err := plan.New(ck, passtest.Parse(t, "w4 g32 sym gptq; *.k_proj keep"))
	if err != nil {
		t.Fatal(err)
	}
	out := passtest.NewHeldSink()
	p, err := pass.New(ck, plan.Modules, base, passtest.Calibration(t, ck), base.Engine, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := pass.Stages(ck.Config, plan.Modules)[2] // layer 1
	if s.Layer != 1 || len(s.Modules) != 7 {
		t.Fatalf("the third stage is layer %d with %d matrices", s.Layer, len(s.Modules))
	}
	input := func(m model.Module) (all []float32) {
		t.Helper()
		if err := p.Sequence.Input(ctx, m, func(x []float32, rows, cols int) error {
			all = append(all, x[:rows*cols]...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if err := p.Enter(ctx, s); err != nil {
		t.Fatal(err)
	}
	before := input(s.Modules[6].Module)
	// Powers of two move from the norm into the matrices that read it, exactly.
	const norm = "model.layers.1.input_layernorm.weight"
	n, err := ck.Tensor(norm)
	if err != nil {
		t.Fatal(err)
	}
	v, q := n.Floats(), input(s.Modules[0].Module)
	for i := range v {
		v[i] *= float32(int(1) << (i % 3))
	}
	if err := p.ReplaceVector(norm, v); err != nil {
		t.Fatal(err)
	}
	if changed := input(s.Modules[0].Module); slices.Equal(changed, q) {
		t.Error("the norm has no effect")
	}
	for _, m := range s.Modules[:3] {
		old, err := p.Weight(ctx, m.Module)
		if err != nil {
			t.Fatal(err)
		}
		w := kernels.NewMatrix(old.Rows, old.Cols)
		for r := range w.Rows {
			for c, x := range old.Row(r) {
				w.Row(r)[c] = x / float32(int(1)<<(c%3))
			}
		}
		if err := p.ReplaceWeight(m, w); err != nil {
			t.Fatal(err)
		}
	}
	after := input(s.Modules[6].Module)
	for i, x := range before {
		if math.Abs(float64(x-after[i])) > 1e-5*(1+math.Abs(float64(x))) {
			t.Fatalf("input %d of the last matrix is %g, and %g with folded scales", i, x, after[i])
		}
	}
	if err := p.Work(ctx, s); err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(out.Values)); !slices.Equal(names, []string{norm, "model.layers.1.self_attn.k_proj.weight"}) {
		t.Errorf("the tensors %v are handed on as floats", names)
	}
	for _, m := range s.Modules[:2] { // quantized, and kept
		w, err := p.Settled(ctx, m.Module)
		if err != nil {
			t.Fatal(err)
		}
		want := p.Weights[m.Module.Name].Row(5)
		if q := out.Matrices[m.Module.Name]; q != nil {
			want = make([]float32, q.Cols)
			q.DequantRow(want, 5)
		}
		if !slices.Equal(w.Row(5), want) {
			t.Errorf("%s is not what the model computes with", m.Module.Name)
		}
	}
	if len(out.Matrices) != 6 {
		t.Errorf("%d matrices of 6 are quantized", len(out.Matrices))
	}

	// Written and read back, they are what the pass went on with.
	dir := filepath.Join(t.TempDir(), "out")
	w, err := model.Create(passtest.Take(t, dir), ck, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for name, v := range out.Values {
		if err := w.PutFloats(name, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.PutFloats(norm, []float32{float32(math.Inf(1))}); err == nil {
		t.Error("an infinite norm was written")
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	saved := quanttest.Open(t, dir)
	for name, v := range out.Values {
		if got, err := saved.Tensor(name); err != nil || !slices.Equal(got.Floats(), v) {
			t.Errorf("%s reads back differently (%v)", name, err)
		}
	}
}

// What follows a quantized embedding is calibrated with what it looks up.
func TestQuantizedEmbeddingIsFollowed(t *testing.T) {
	ctx := context.Background()
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	cal := passtest.Calibration(t, ck)
	for _, name := range []string{method.RTN, method.GPTQ} {
		plan, err := plan.New(ck, passtest.Parse(t, "w4 g32 sym gptq; embed_tokens w4 g128 sym "+name))
		if err != nil {
			t.Fatal(err)
		}
		out := passtest.NewHeldSink()
		p, err := pass.New(ck, plan.Modules, base, cal, base.Engine, out, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.RunStage(ctx, pass.Stages(ck.Config, plan.Modules)[0]); err != nil {
			t.Fatal(err)
		}
		q, states := out.Matrices["model.embed_tokens"], p.Sequence.States()
		row := make([]float32, q.Cols)
		for i, text := range cal.Tokens {
			for j, token := range text {
				q.DequantRow(row, int(token))
				if !slices.Equal(states[i][j*q.Cols:(j+1)*q.Cols], row) {
					t.Fatalf("%s: token %d of text %d is not what the quantized embedding says", name, j, i)
				}
			}
		}
	}
}
