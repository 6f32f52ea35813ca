package quant

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/modeltest"
)

// The diagonal without the rest is the diagonal of the whole Hessian.
func TestImportance(t *testing.T) {
	ctx := context.Background()
	ck := open(t, "demo")
	seq, err := newSequence(ck, load(t, 2, ck), calibration(t, ck))
	if err != nil {
		t.Fatal(err)
	}
	if err := seq.enter(ctx, 0); err != nil {
		t.Fatal(err)
	}
	for _, m := range ck.Config.Modules() {
		if m.Layer != 0 {
			continue
		}
		h := newHessian(seq.base.Engine, m.Cols)
		if err := seq.input(ctx, m, func(x []float32, rows, cols int) error { return h.add(ctx, x, rows, cols) }); err != nil {
			t.Fatal(err)
		}
		if err := h.flush(ctx); err != nil {
			t.Fatal(err)
		}
		mean := 0.0
		for c := range m.Cols {
			mean += float64(h.at(c, c)) / float64(m.Cols)
		}
		got, err := seq.importance(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		for c := range m.Cols {
			if want := float64(h.at(c, c))/mean + momentFloor; math.Abs(float64(got[c])-want) > 1e-4*want {
				t.Fatalf("%s, column %d weighs %g, want %g", m.Name, c, got[c], want)
			}
		}
	}
	if h := importance(make([]float64, 3)); !reflect.DeepEqual(h, []float32{1, 1, 1}) {
		t.Errorf("without any input columns weigh %v", h)
	}
}

// Scales change norms and weights, but not what the layer computes.
func TestAWQComputesTheSame(t *testing.T) {
	ctx := context.Background()
	ck := open(t, "demo")
	base := load(t, 2, ck)
	plan, err := NewPlan(ck, parse(t, "w4 g32 sym awq"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPass(ck, plan, base, calibration(t, ck), base.Engine, newHeldSink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := Stages(ck.Config, plan.Modules)[1]
	if err := p.enter(ctx, s); err != nil {
		t.Fatal(err)
	}
	// What the layer adds to the stream shows in its outputs.
	outputs := func() [][]float32 {
		stack := p.seq.stack.Clone()
		if err := stack.Advance(ctx, p.seq.cur); err != nil {
			t.Fatal(err)
		}
		return stack.States()
	}
	before := outputs()
	if err := awqTransform(ctx, p, s, s.Of(MethodNamed(AWQ))); err != nil {
		t.Fatal(err)
	}
	after := outputs()
	for i := range before {
		for j, v := range before[i] {
			if math.Abs(float64(v-after[i][j])) > 1e-4*(1+math.Abs(float64(v))) {
				t.Fatalf("text %d: %g became %g", i, v, after[i][j])
			}
		}
	}
	if len(p.vectors) == 0 || len(p.weights) < 4 {
		t.Fatalf("%d norms and %d matrices were scaled", len(p.vectors), len(p.weights))
	}
	for name, v := range p.vectors {
		stored, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		round := append([]float32{}, v...)
		kernels.RoundFloats(round, stored.DType)
		if !reflect.DeepEqual(round, v) {
			t.Errorf("%s cannot be stored as %v", name, stored.DType)
		}
	}
}

// Heads that share a row of the value matrix are scaled alike.
func TestAWQSharedHeads(t *testing.T) {
	c := llama(t, modeltest.Config{Vocab: 9, Hidden: 8, Layers: 1, Heads: 6, KVHeads: 2, HeadDim: 4, Inner: 8})
	f := c.Folds(0)[1]
	if f.Source.Role != arch.RoleV {
		t.Fatalf("the second place is of %s", f.Source.Path)
	}
	seen := map[int]int{}
	for row := range 8 {
		for k := range 3 {
			col := f.Column(row, k)
			seen[col]++
			head, kv := col/4, row/4
			if head/3 != kv || col%4 != row%4 {
				t.Errorf("column %d of head %d is said to read row %d", col, head, row)
			}
		}
	}
	if len(seen) != 24 {
		t.Errorf("%d columns of 24 read a row", len(seen))
	}
}

// Where kept matrices or other methods stand in the way, the plan says so.
func TestAWQNotes(t *testing.T) {
	ck := open(t, "demo")
	for _, c := range []struct {
		recipe string
		folds  int      // of layer 0
		notes  []string // parts of the substitutions
	}{
		{"w4 g32 sym awq", 4, nil},
		{"w4 g32 sym awq; up_proj keep", 2, []string{"5 matrices (model.layers.0.mlp.gate_proj, model.layers.1.mlp.gate_proj, model.layers.2.mlp.gate_proj and 2 more): no scales: its layer's up_proj", "5 matrices (model.layers.0.mlp.down_proj,"}},
		{"w4 g32 sym awq; q_proj w8 g32 sym rtn", 3, []string{"10 matrices (model.layers.0.self_attn.k_proj, model.layers.0.self_attn.v_proj, "}},
		{"w4 g32 sym rtn; o_proj w4 g32 sym awq", 1, nil},
		{"w4 g32 sym rtn", 0, nil},
	} {
		plan, err := NewPlan(ck, parse(t, c.recipe))
		if err != nil {
			t.Fatal(err)
		}
		if fs, _ := folds(ck.Config, Stages(ck.Config, plan.Modules)[1]); len(fs) != c.folds {
			t.Errorf("%s: %d places to scale, want %d", c.recipe, len(fs), c.folds)
		}
		var got []string
		for _, note := range plan.Substitutions {
			if strings.Contains(note, "model.layers.0.") {
				got = append(got, note)
			}
		}
		if len(got) != len(c.notes) {
			t.Errorf("%s: the plan notes %q", c.recipe, got)
		}
		for i, want := range c.notes {
			if i < len(got) && !strings.Contains(got[i], want) {
				t.Errorf("%s: the plan notes %q, not %q", c.recipe, got[i], want)
			}
		}
	}
}
