package runtime

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
)

// scaled returns a model whose values, or keys, are powers of two larger, and what
// meets them as much smaller: the same function, though F16 may not hold them.
func scaled(t *testing.T, m *Model, grows, shrinks string, power int) *Model {
	t.Helper()
	over := map[string]*kernels.Linear{}
	for _, mod := range m.Config.Modules() {
		by := 0
		switch {
		case strings.HasSuffix(mod.Name, grows):
			by = power
		case strings.HasSuffix(mod.Name, shrinks):
			by = -power
		default:
			continue
		}
		w := make([]float32, mod.Rows*mod.Cols)
		for r := range mod.Rows {
			m.Linear(mod.Name).Row(w[r*mod.Cols:(r+1)*mod.Cols], r)
		}
		for i := range w {
			w[i] = float32(math.Ldexp(float64(w[i]), by))
		}
		raw := make([]byte, 4*len(w))
		kernels.EncodeFloats(raw, w, kernels.F32)
		l, err := kernels.NewFloatLinear(mod.Rows, mod.Cols, kernels.F32, raw)
		if err != nil {
			t.Fatal(err)
		}
		over[mod.Name] = l
	}
	if len(over) != 2*m.Config.Layers() {
		t.Fatalf("%d matrices are scaled", len(over))
	}
	return m.With(over)
}

// Keys and values that F16 does not hold are kept in float32, the text being as if
// they had been from the start; others are not.
func TestWideCache(t *testing.T) {
	m, prompt := story(t)
	plain := scaled(t, m, "v_proj", "o_proj", 0) // in float32, too
	want := generate(t, plain, 0, prompt, GenOptions{MaxTokens: 30})
	if len(want.Notes) > 0 {
		t.Fatalf("a usual model: %q", want.Notes)
	}
	for name, c := range map[string]struct {
		grows, shrinks string
		power          int
		beyond         bool
	}{
		"large values": {"v_proj", "o_proj", 18, true},
		"small values": {"v_proj", "o_proj", -24, true},
		"large keys":   {"k_proj", "q_proj", 18, true},
		"small keys":   {"k_proj", "q_proj", -30, true},
		"fair values":  {"v_proj", "o_proj", -4, false},
		"fair keys":    {"k_proj", "q_proj", 4, false},
	} {
		other := scaled(t, m, c.grows, c.shrinks, c.power)
		s := other.NewSession(0)
		res, err := other.Generate(context.Background(), s, prompt, GenOptions{MaxTokens: 30}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if told := slices.Contains(res.Notes, BeyondF16Note); told != c.beyond || s.BeyondF16() != c.beyond || res.Text != want.Text {
			t.Errorf("%s: %q, %q, want %q", name, res.Text, res.Notes, want.Text)
		}
		if c.beyond != (s.cache.KV[0].DType() == kernels.F32) {
			t.Errorf("%s: the cache is %s", name, s.cache.KV[0].DType())
		}
		if again, err := other.Generate(context.Background(), s, prompt[:1], GenOptions{MaxTokens: 1}, nil); err != nil || len(again.Notes) > 0 {
			t.Errorf("%s: told again: %q, %v", name, again.Notes, err)
		}
		exact := other.NewExactSession(0)
		if _, err := exact.Forward(context.Background(), prompt); err != nil || exact.BeyondF16() != c.beyond {
			t.Errorf("%s: an exact session says %v, %v", name, exact.BeyondF16(), err)
		}
	}
}

// A session that becomes wide within a text is as one that was from its start, and
// one that is interrupted meanwhile is as it was.
func TestWideCacheLater(t *testing.T) {
	m, prompt := story(t)
	ctx, cancel := context.WithCancel(context.Background())
	exact := m.NewExactSession(0)
	long := slices.Repeat(prompt, 50)
	if _, err := exact.Forward(ctx, long); err != nil {
		t.Fatal(err)
	}
	want, err := exact.Forward(ctx, prompt)
	if err != nil {
		t.Fatal(err)
	}
	want = slices.Clone(want)
	s := m.NewSession(0)
	if _, err := s.Forward(ctx, long); err != nil {
		t.Fatal(err)
	}
	s.cache.Beyond.Store(true) // as if it were so with the next tokens
	cancel()
	if err := s.widen(ctx, len(long)+1); !errors.Is(err, context.Canceled) || s.BeyondF16() || s.Len() != len(long) || s.cache.KV[0].DType() != kernels.F16 {
		t.Fatalf("interrupted: %v, %d tokens in a cache of %s", err, s.Len(), s.cache.KV[0].DType())
	}
	s.cache.Beyond.Store(true)
	got, err := s.Forward(context.Background(), prompt)
	if err != nil || !slices.Equal(got, want) || s.Len() != len(long)+len(prompt) {
		t.Errorf("%d tokens, %v: not as from the start in float32", s.Len(), err)
	}
}
