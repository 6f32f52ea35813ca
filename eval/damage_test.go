package eval

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
)

// ruined is base with one matrix turned around.
func ruined(t *testing.T, ck *model.Checkpoint, base *rt.Model, module string) *rt.Model {
	t.Helper()
	for _, mod := range ck.Config.Modules() {
		if mod.Name != module {
			continue
		}
		w, err := ck.Tensor(module + ".weight")
		if err != nil {
			t.Fatal(err)
		}
		v := w.Floats()
		for i := range v {
			v[i] = -v[i]
		}
		l, err := kernels.NewMatrixLinear(kernels.Matrix{Rows: mod.Rows, Cols: mod.Cols, Stride: mod.Cols, Data: v})
		if err != nil {
			t.Fatal(err)
		}
		return base.With(map[string]*kernels.Linear{module: l})
	}
	t.Fatalf("there is no %s", module)
	return nil
}

// A matrix that is ruined is found, and nothing else is blamed.
func TestDamageFindsTheRuinedMatrix(t *testing.T) {
	ctx := context.Background()
	ck, base := load(t, "demo")
	ref, err := NewReference(ctx, base, Options{Text: DemoText(), Chunks: 2, Ctx: 128}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ module, part string }{
		{"model.layers.0.self_attn.v_proj", "layer 0"},
		{"model.layers.3.mlp.down_proj", "layer 3"},
		{"model.embed_tokens", "model.embed_tokens"},
	} {
		var last StepProgress
		m := ruined(t, ck, base, c.module)
		d, err := ref.Damage(ctx, m, ref.DamageWindows(), func(e Event) { last = e.(StepProgress) })
		if err != nil {
			t.Fatal(err)
		}
		if last.Done != last.Total || last.Total == 0 {
			t.Errorf("%s: %d of %d steps", c.module, last.Done, last.Total)
		}
		worst := d.Worst(1)[0]
		if worst.Name != c.part || math.Abs(worst.Share-1) > 1e-9 || worst.KLD != d.KLD || d.KLD <= 0 || worst.Added <= 0 {
			t.Errorf("%s: the worst is %+v of %g", c.module, worst, d.KLD)
		}
		for _, p := range d.Parts {
			if p.Name != c.part && p.KLD != 0 {
				t.Errorf("%s: %s is blamed: %+v", c.module, p.Name, p)
			}
			for _, x := range p.Matrices {
				if (x.Module == c.module) != (x.Share > 0.999) {
					t.Errorf("%s: %s has a share of %g", c.module, x.Module, x.Share)
				}
			}
		}
	}
}

// Where norms differ, matrices alone mean nothing and are not told.
func TestDamageOfMovedScales(t *testing.T) {
	ctx := context.Background()
	_, base := load(t, "demo")
	ref, err := NewReference(ctx, base, Options{Text: DemoText(), Chunks: 1, Ctx: 64}, nil)
	if err != nil {
		t.Fatal(err)
	}
	name := "model.layers.1.input_layernorm.weight"
	norm := append([]float32(nil), base.Vector(name)...)
	norm[0] *= 2
	d, err := ref.Damage(ctx, base.WithVectors(map[string][]float32{name: norm}), []int{0}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := d.Worst(1)[0]; w.Name != "layer 1" || len(w.Matrices) != 0 || len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "layer 1") {
		t.Errorf("%+v, notes %q", w, d.Notes)
	}
	other := *base
	smaller := *other.Config.Model
	smaller.Blocks = smaller.Blocks[1:]
	other.Config.Model = &smaller
	if _, err := ref.Damage(ctx, &other, []int{0}, nil); !errors.Is(err, ErrShapes) {
		t.Errorf("another depth: %v, want ErrShapes", err)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := ref.Damage(stopped, base, []int{0}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// The worst tokens are those of the largest divergence, and what is told of them
// is what the models say.
func TestWorstTokens(t *testing.T) {
	ctx := context.Background()
	ck, base := load(t, "demo")
	ref, err := NewReference(ctx, base, Options{Text: DemoText(), Chunks: 3, Ctx: 128, Worst: 5}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := ruined(t, ck, base, "model.layers.2.self_attn.k_proj")
	res, err := Run(ctx, m, ref, Options{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.WorstTokens) != 5 || float32(res.WorstTokens[0].KLD) != float32(res.KLDMax) {
		t.Fatalf("%d tokens, the first of %+v, the largest is %g", len(res.WorstTokens), res.WorstTokens, res.KLDMax)
	}
	last := math.Inf(1)
	for _, x := range res.WorstTokens {
		if x.KLD > last || x.Token.ID != ref.windows[x.Window][x.Position] || x.Position <= 64 {
			t.Errorf("%+v", x)
		}
		last = x.KLD
		for side, says := range [][]Guess{x.Says, x.BaseSays} {
			p := func(g Guess) float64 { return []float64{g.P, g.BaseP}[side] }
			if len(says) != guesses || p(says[0]) < p(says[1]) || p(says[1]) < p(says[2]) || p(says[0]) < p(x.Token) {
				t.Errorf("window %d, position %d: %+v of %+v", x.Window, x.Position, says, x.Token)
			}
		}
	}
	again, err := Run(ctx, base, ref, Options{}, nil, nil)
	if err != nil || again.WorstTokens[0].KLD != 0 {
		t.Errorf("%v: the model itself has %+v", err, again.WorstTokens)
	}
}

// Continuations part where the tokens differ; those of one model are the same.
func TestContinuations(t *testing.T) {
	ctx := context.Background()
	ck, base := load(t, "demo")
	ref, err := NewReference(ctx, base, Options{Text: DemoText(), Chunks: 4}, nil)
	if err != nil {
		t.Fatal(err)
	}
	same, err := ref.Continuations(ctx, base, 2, 12, nil)
	if err != nil || len(same) != 2 {
		t.Fatalf("%v: %+v", err, same)
	}
	for _, c := range same {
		if c.Part != nil || c.Says != "" || c.BaseSays != "" || c.Same == "" || c.SameTokens == 0 {
			t.Errorf("a model parts from itself: %+v", c)
		}
	}
	other, err := ref.Continuations(ctx, ruined(t, ck, base, "model.layers.4.mlp.down_proj"), 2, 12, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range other {
		if c.Part == nil || c.Same+c.BaseSays != same[i].Same || c.Part.Says.ID == c.Part.BaseSays.ID ||
			c.Part.Says.P < c.Part.BaseSays.P || c.Part.BaseSays.BaseP < c.Part.Says.BaseP {
			t.Errorf("%+v\nthe base alone says %q", c, same[i].Same)
		}
	}
}
