package quant

import (
	"context"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/demo/demotest"
	rt "nibble/runtime"
)

// heldSink keeps what a pass finishes.
type heldSink struct {
	matrices map[string]*kernels.QTensor
	f        map[string][]float32
	fresh
}

func newHeldSink() heldSink {
	return heldSink{matrices: map[string]*kernels.QTensor{}, f: map[string][]float32{}}
}

func (s heldSink) putQ(m model.Module, q *kernels.QTensor, _ ModuleReport) error {
	s.matrices[m.Name] = q
	return nil
}

func (s heldSink) putFloats(name string, v []float32) error {
	s.f[name] = v
	return nil
}

// calibration is a small one of the built-in text.
func calibration(t *testing.T, ck *model.Checkpoint) *Calibration {
	t.Helper()
	c, err := NewCalibration(ck, CalibrationOptions{Samples: 3, Length: 64})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func load(t *testing.T, threads int, ck *model.Checkpoint) *rt.Model {
	t.Helper()
	m, err := rt.Load(context.Background(), engine(t, threads), ck)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Every method gives the same bytes on any number of threads, alone and next to
// others.
func TestSameBytesOnAnyThreads(t *testing.T) {
	shortTraining(t, 5)
	ck := open(t, demotest.Short(t, 2))
	cal := calibration(t, ck)
	for _, method := range Methods() {
		r := parse(t, "w4 g32 sym "+method+"; *.down_proj w4 g64 asym mse; *.k_proj keep; *.1.self_attn.v_proj w8 channel asym rtn; embed_tokens w8 g32 sym "+method)
		var first heldSink
		for _, threads := range []int{1, 2, 3} {
			base := load(t, threads, ck)
			out := newHeldSink()
			j := job{eng: base.Engine, ck: ck, base: base, recipe: r, calibration: cal}
			if err := j.prepare(); err != nil {
				t.Fatal(err)
			}
			report, err := j.run(context.Background(), out)
			if err != nil {
				t.Fatal(err)
			}
			if calibrated := Calibrated(r, ck.Config); calibrated != (report.Calibration == cal) {
				t.Errorf("%s: the report names calibration %v", method, report.Calibration)
			}
			e := report.Modules[0]
			used := method
			if method == AutoRound || method == AutoRoundLight { // of layers only
				used = GPTQ
			}
			if (used != method) != (e.Note != "") || !strings.HasSuffix(e.Spec, " "+used) {
				t.Errorf("%s: the embedding is told as %+v", method, e)
			}
			if threads == 1 {
				first = out
				continue
			}
			if !reflect.DeepEqual(out, first) {
				t.Errorf("%s: %d threads give other bytes than one", method, threads)
			}
		}
	}
}

// A transformation that computes the same changes nothing for what follows; its
// weights, norms and kept matrices are handed on as they will be stored.
func TestReplacedWeights(t *testing.T) {
	ctx := context.Background()
	ck := open(t, "demo")
	base := load(t, 2, ck)
	plan, err := NewPlan(ck, parse(t, "w4 g32 sym gptq; *.k_proj keep"))
	if err != nil {
		t.Fatal(err)
	}
	out := newHeldSink()
	p, err := newPass(ck, plan, base, calibration(t, ck), base.Engine, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := Stages(ck.Config, plan.Modules)[2] // layer 1
	if s.Layer != 1 || len(s.Modules) != 7 {
		t.Fatalf("the third stage is layer %d with %d matrices", s.Layer, len(s.Modules))
	}
	input := func(m model.Module) (all []float32) {
		t.Helper()
		if err := p.seq.input(ctx, m, func(x []float32, rows, cols int) error {
			all = append(all, x[:rows*cols]...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if err := p.enter(ctx, s); err != nil {
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
	if err := p.replaceVector(norm, v); err != nil {
		t.Fatal(err)
	}
	if changed := input(s.Modules[0].Module); slices.Equal(changed, q) {
		t.Error("the norm has no effect")
	}
	for _, m := range s.Modules[:3] {
		old, err := p.weight(ctx, m.Module)
		if err != nil {
			t.Fatal(err)
		}
		w := kernels.NewMatrix(old.Rows, old.Cols)
		for r := range w.Rows {
			for c, x := range old.Row(r) {
				w.Row(r)[c] = x / float32(int(1)<<(c%3))
			}
		}
		if err := p.replaceWeight(m, w); err != nil {
			t.Fatal(err)
		}
	}
	after := input(s.Modules[6].Module)
	for i, x := range before {
		if math.Abs(float64(x-after[i])) > 1e-5*(1+math.Abs(float64(x))) {
			t.Fatalf("input %d of the last matrix is %g, and %g with folded scales", i, x, after[i])
		}
	}
	if err := p.work(ctx, s); err != nil {
		t.Fatal(err)
	}
	if names := slices.Sorted(maps.Keys(out.f)); !slices.Equal(names, []string{norm, "model.layers.1.self_attn.k_proj.weight"}) {
		t.Errorf("the tensors %v are handed on as floats", names)
	}
	for _, m := range s.Modules[:2] { // quantized, and kept
		w, err := p.settled(ctx, m.Module)
		if err != nil {
			t.Fatal(err)
		}
		want := p.weights[m.Module.Name].Row(5)
		if q := out.matrices[m.Module.Name]; q != nil {
			want = make([]float32, q.Cols)
			q.DequantRow(want, 5)
		}
		if !slices.Equal(w.Row(5), want) {
			t.Errorf("%s is not what the model computes with", m.Module.Name)
		}
	}
	if len(out.matrices) != 6 {
		t.Errorf("%d matrices of 6 are quantized", len(out.matrices))
	}

	// Written and read back, they are what the pass went on with.
	dir := filepath.Join(t.TempDir(), "out")
	w, err := model.Create(take(t, dir), ck, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for name, v := range out.f {
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
	saved := open(t, dir)
	for name, v := range out.f {
		if got, err := saved.Tensor(name); err != nil || !slices.Equal(got.Floats(), v) {
			t.Errorf("%s reads back differently (%v)", name, err)
		}
	}
}

// Matrices whose inputs the calibration says little of are quantized as well as
// can be, and are told of.
func TestSilentInputs(t *testing.T) {
	shortTraining(t, 2)
	ctx := context.Background()
	ck := open(t, demotest.Short(t, 3))
	base := load(t, 2, ck)
	few := slices.Clone(base.Vector("model.layers.1.input_layernorm.weight"))
	clear(few[7:12])
	base = base.WithVectors(map[string][]float32{
		"model.layers.1.input_layernorm.weight":          few,
		"model.layers.2.post_attention_layernorm.weight": make([]float32, ck.Config.Hidden),
	})
	for _, method := range []string{IMatrix, GPTQ, AutoRoundLight, AutoRoundBest} {
		notes := map[string]string{}
		out := newHeldSink()
		j := job{eng: base.Engine, ck: ck, base: base, recipe: parse(t, "w4 g32 sym "+method), calibration: calibration(t, ck), l: func(e Event) {
			if d, ok := e.(ModuleDone); ok {
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
				t.Errorf("%s: the note for %s is %q, and %q when it is done; want %q", method, m.Module, m.Note, notes[m.Module], want)
			}
			if strings.HasPrefix(want, "all") {
				module := ck.Config.Modules()[slices.IndexFunc(ck.Config.Modules(), func(o model.Module) bool { return o.Name == m.Module })]
				plain, _, err := One(ctx, base.Engine, ck, module, Spec{Bits: 4, Group: 32, Sym: true, Method: MSE})
				if err != nil || !reflect.DeepEqual(plain, out.matrices[m.Module]) {
					t.Errorf("%s: %s is not quantized as by %s (%v)", method, m.Module, MSE, err)
				}
			}
		}
		for _, want := range []string{
			"3 matrices (model.layers.1.self_attn.q_proj, model.layers.1.self_attn.k_proj, model.layers.1.self_attn.v_proj): 15 of 384 inputs are 0",
			"3 matrices (model.layers.2.mlp.gate_proj, model.layers.2.mlp.up_proj, model.layers.2.mlp.down_proj): all inputs are 0",
		} {
			if !slices.ContainsFunc(report.Substitutions, func(note string) bool { return strings.HasPrefix(note, want) }) {
				t.Errorf("%s: the report says %q, not %q", method, report.Substitutions, want)
			}
		}
	}
}

// What follows a quantized embedding is calibrated with what it looks up.
func TestQuantizedEmbeddingIsFollowed(t *testing.T) {
	ctx := context.Background()
	ck := open(t, "demo")
	base := load(t, 2, ck)
	cal := calibration(t, ck)
	for _, method := range []string{RTN, GPTQ} {
		plan, err := NewPlan(ck, parse(t, "w4 g32 sym gptq; embed_tokens w4 g128 sym "+method))
		if err != nil {
			t.Fatal(err)
		}
		out := newHeldSink()
		p, err := newPass(ck, plan, base, cal, base.Engine, out, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.stage(ctx, Stages(ck.Config, plan.Modules)[0]); err != nil {
			t.Fatal(err)
		}
		q, states := out.matrices["model.embed_tokens"], p.seq.states()
		row := make([]float32, q.Cols)
		for i, text := range cal.Tokens {
			for j, token := range text {
				q.DequantRow(row, int(token))
				if !slices.Equal(states[i][j*q.Cols:(j+1)*q.Cols], row) {
					t.Fatalf("%s: token %d of text %d is not what the quantized embedding says", method, j, i)
				}
			}
		}
	}
}

// Outputs are those of the float model's layer, whatever is quantized before it.
func TestFloatOutputs(t *testing.T) {
	ctx := context.Background()
	ck := open(t, "demo")
	base := load(t, 2, ck)
	cal := calibration(t, ck)
	seq, err := newSequence(ck, base, cal)
	if err != nil {
		t.Fatal(err)
	}
	want, err := base.NewStack(cal.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	for layer := range ck.Config.Layers() {
		if err := seq.enter(ctx, layer); err != nil {
			t.Fatal(err)
		}
		for _, m := range ck.Config.Modules() {
			if m.Layer != layer {
				continue
			}
			q, _, err := One(ctx, base.Engine, ck, m, Spec{Bits: 4, Group: 0, Sym: true, Method: RTN})
			if err != nil {
				t.Fatal(err)
			}
			l, err := kernels.NewQuantLinear(q)
			if err != nil {
				t.Fatal(err)
			}
			if err := seq.put(m, l); err != nil {
				t.Fatal(err)
			}
		}
		if err := want.Advance(ctx, base); err != nil {
			t.Fatal(err)
		}
		if layer == 1 {
			continue // asked for late, they are the same
		}
		got, err := seq.outputs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want.States()) {
			t.Errorf("the outputs of layer %d are not the float model's", layer)
		}
		if layer > 0 && reflect.DeepEqual(got, seq.states()) {
			t.Errorf("the inputs of layer %d are its outputs", layer)
		}
	}
}
