package eval

import (
	"context"
	"errors"
	"testing"

	"nibble/kernels"
	"nibble/quant"
	rt "nibble/runtime"
)

// Going on from the layer that differs gives what Run measures from the start.
func TestDivergence(t *testing.T) {
	ctx := context.Background()
	ck, base := load(t, "demo")
	ref, err := NewReference(ctx, base, Options{Text: DemoText(), Chunks: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := []int{0, 1}
	for _, m := range ck.Config.Modules() {
		if m.Kind != "embed" && m.Kind != "k" && m.Kind != "down" {
			continue
		}
		q, _, err := quant.One(ctx, base.Engine, ck, m, quant.Spec{Bits: 4, Group: 64, Method: quant.RTN})
		if err != nil {
			t.Fatal(err)
		}
		l, err := kernels.NewQuantLinear(q)
		if err != nil {
			t.Fatal(err)
		}
		changed := base.With(map[string]*kernels.Linear{m.Name: l})
		want, err := Run(ctx, changed, ref, Options{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := base
		if m.Layer < 0 {
			start = changed
		}
		stack, err := ref.Stack(start, all)
		for err == nil && stack.Layer() < m.Layer {
			err = stack.Advance(ctx, base)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a clone leaves the original where it is
			if got := divergence(t, ref, changed, stack.Clone(), all); got != want.KLDMean {
				t.Errorf("%s: %g, Run measures %g", m.Name, got, want.KLDMean)
			}
		}
	}
	if _, err := ref.Stack(base, []int{2}); !errors.Is(err, ErrOptions) {
		t.Errorf("a window beyond the last: %v, want ErrOptions", err)
	}
}

func divergence(t *testing.T, ref *Reference, m *rt.Model, s *rt.Stack, windows []int) float64 {
	t.Helper()
	d, err := ref.Divergence(context.Background(), m, s, windows)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
