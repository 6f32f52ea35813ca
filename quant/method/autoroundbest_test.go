package method

import (
	"context"
	"math"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
	"nibble/quant/train"
	"nibble/runtime/graph"
)

// The gradient of the divergence is its slope, from the output head down to the
// first layer and, where the head is the embedding as well, to what it looks up.
func TestDivergenceGradient(t *testing.T) {
	ctx := context.Background()
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	cal := passtest.Calibration(t, ck)
	s := recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: AutoRoundBest}
	done := newWholeSink(passtest.NewHeldSink(), ck.Config.Layers())
	for _, m := range ck.Config.Modules() {
		if m.Kind == "down" || m.Kind == "q" || m.Kind == "embed" {
			q, _, err := One(ctx, base.Engine, ck, m, recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: RTN})
			if err != nil {
				t.Fatal(err)
			}
			if err := done.PutQ(m, q, pass.ModuleReport{}); err != nil {
				t.Fatal(err)
			}
			done.trained = append(done.trained, pass.PlannedModule{Module: m, Spec: s})
		}
	}
	if err := done.EndStage(0, nil); err != nil {
		t.Fatal(err)
	}
	p, err := pass.New(ck, nil, base, cal, base.Engine, done, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr, rs, err := newWholeTrainee(ctx, p, done)
	if err != nil {
		t.Fatal(err)
	}
	value := rs[0].Value
	parts := wholeParts(p, done, map[string]graph.Weight{})
	weight := parts.Weight
	parts.Weight = func(l *arch.Linear) (graph.Weight, error) {
		switch i := slices.IndexFunc(done.trained, func(pm pass.PlannedModule) bool { return pm.Module.Name == l.Path }); {
		case l == &ck.Config.Embed.Linear:
			return graph.Weight{Value: kernels.Matrix{Rows: value.Rows, Cols: value.Cols, Stride: value.Cols, Data: slices.Clone(value.Data)}}, nil
		case i >= 0:
			return graph.Weight{Value: rs[i].Value, Gradient: rs[i].Grad}, nil
		}
		return weight(l)
	}
	g, err := graph.Compile(base.Engine, ck.Config.Model, parts)
	if err != nil {
		t.Fatal(err)
	}
	tied, apart := tr.Tape, g.NewTape(train.Longest(cal.Tokens))
	embed := func(isTied bool) {
		if tr.Tape = apart; isTied {
			tr.Tape = tied
		}
	}
	samples, tokens := []int{0, 2}, float64(len(cal.Tokens[0])+len(cal.Tokens[2]))
	gradients := func(tied bool) [][]float32 {
		embed(tied)
		for _, r := range rs {
			clear(r.Grad.Data)
		}
		if loss, err := tr.Loss(ctx, samples, true); err != nil || !(loss > 0) {
			t.Fatalf("a loss of %g, %v", loss, err)
		}
		var out [][]float32
		for _, r := range rs {
			out = append(out, slices.Clone(r.Grad.Data))
		}
		return out
	}
	head, all := gradients(false), gradients(true)
	lookups := make([]float32, len(all[0]))
	for i := range lookups {
		lookups[i] = all[0][i] - head[0][i]
	}
	for _, c := range []struct {
		name      string
		tied      bool
		matrix    int
		direction []float32 // one that stands out of the noise of float32
		gradient  []float32
	}{
		{"head alone", false, 0, head[0], head[0]},
		{"head and lookups", true, 0, all[0], all[0]},
		{"lookups", true, 0, lookups, all[0]},
		{"first layer", true, 1, all[1], all[1]},
		{"last layer", true, len(rs) - 1, all[len(rs)-1], all[len(rs)-1]},
	} {
		embed(c.tied)
		want, norm := 0.0, 0.0
		for i, d := range c.direction {
			want += float64(d) * float64(c.gradient[i])
			norm += float64(d) * float64(d)
		}
		step := 0.02 / math.Sqrt(norm)
		move := func(by float64) float64 {
			for i, d := range c.direction {
				rs[c.matrix].Value.Data[i] += float32(by * float64(d))
			}
			loss, err := tr.Loss(ctx, samples, false)
			if err != nil {
				t.Fatal(err)
			}
			return loss
		}
		up := move(step)
		down := move(-2 * step)
		move(step)
		if got := (up - down) * tokens / (2 * step); norm == 0 || math.Abs(got-want) > 0.05*norm {
			t.Errorf("%s: the slope is %g, the gradient says %g, for a direction whose square is %g", c.name, got, want, norm)
		}
	}
}

// Rows of tokens that the texts do not have stay as they were.
func TestTrainedRows(t *testing.T) {
	eng := quanttest.Load(t, 1, quanttest.Open(t, "demo")).Engine
	w := kernels.Matrix{Rows: 3, Cols: 32, Stride: 32, Data: make([]float32, 96)}
	for i := range w.Data {
		w.Data[i] = float32(i%7) - 3
	}
	q, _, err := passtest.Quantize(eng, w.Data, w.Rows, w.Cols, recipe.Spec{Bits: 4, Group: 32, Sym: false, Method: RTN})
	if err != nil {
		t.Fatal(err)
	}
	r := train.NewRounding(eng, w, q)
	r.Rows = occurring([][]int32{{2}, {0, 2, 2}}, w.Rows)
	for range 300 {
		for i := range r.Grad.Data {
			r.Grad.Data[i] = 1
		}
		r.Step(eng, 0.01, 0.1)
		r.Round(eng)
	}
	for row, moves := range []bool{true, false, true} {
		if same := slices.Equal(r.Codes.Codes[row*q.RowBytes():(row+1)*q.RowBytes()], q.Codes[row*q.RowBytes():(row+1)*q.RowBytes()]); same == moves {
			t.Errorf("row %d: as it was %t, want %t", row, same, !moves)
		}
		if g := r.Grad.Row(row); slices.ContainsFunc(g, func(x float32) bool { return x != 0 }) {
			t.Errorf("row %d: its gradient was not cleared", row)
		}
	}
}
