package runtime

import (
	"context"
	"math"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/tokenizer"
)

// Layer by layer gives what a session gives at once, and the inputs that the
// matrices of a session are tapped for.
func TestStack(t *testing.T) {
	ctx := context.Background()
	eng, err := kernels.New(kernels.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	m, err := Load(ctx, eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	text := ck.Tokenizer.Encode("Once upon a time there was a little dog named Max.", tokenizer.EncodeOptions{AddSpecial: true})
	stack, err := m.NewStack([][]int32{text[:5], text})
	if err != nil {
		t.Fatal(err)
	}
	tapped := map[string][]float32{}
	s := m.NewExactSession(0)
	s.SetTap(func(module string, x []float32, _, _ int) { tapped[module] = append([]float32(nil), x...) })
	want, err := s.Forward(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want []float32) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
		}
		for i, v := range want {
			if math.Abs(float64(got[i]-v)) > 1e-5*(1+math.Abs(float64(v))) {
				t.Fatalf("%s: element %d is %g, want %g", what, i, got[i], v)
			}
		}
	}
	last := func(input string) (x []float32) {
		if err := stack.Input(ctx, m, input, func(in []float32, rows, cols int) error {
			x = append([]float32(nil), in[:rows*cols]...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, mod := range m.Config.Modules() {
		switch mod.Kind {
		case "q", "o", "gate", "down":
			for stack.Layer() < mod.Layer {
				if err := stack.Advance(ctx, m); err != nil {
					t.Fatal(err)
				}
			}
			near(mod.Name, last(mod.Linear.Input), tapped[mod.Name])
		}
	}
	if err := stack.Advance(ctx, m); err != nil {
		t.Fatal(err)
	}
	near("the final states", last("head"), want)
	for _, bad := range [][]int32{{}, {-1}, {int32(m.Config.Vocab)}, make([]int32, m.Config.Positions+1)} {
		if _, err := m.NewStack([][]int32{bad}); err == nil {
			t.Errorf("a text of %d tokens was accepted", len(bad))
		}
	}
}
