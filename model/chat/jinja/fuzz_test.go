package jinja

import (
	"errors"
	"testing"
)

// FuzzRender feeds anything to the parser and renders it: it never panics, and
// ends with output or an error of one of the kinds.
func FuzzRender(f *testing.F) {
	for _, g := range expressions {
		for _, c := range g.cases {
			f.Add("{{ " + c[0] + " }}")
		}
	}
	for _, c := range statements {
		f.Add(c[0])
	}
	for _, src := range hostile {
		f.Add(src)
	}
	message := NewDict()
	message.Set("role", "user")
	message.Set("content", "Hello <you>")
	vars := map[string]any{"messages": &List{Items: []any{message}}, "x": 1.5, "n": int64(3), "s": "äb c"}
	limits := Limits{Work: 20_000, Output: 1 << 16}
	f.Fuzz(func(t *testing.T, src string) {
		tmpl, err := Parse(src)
		if err != nil {
			if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrLimit) {
				t.Fatalf("Parse: %v", err)
			}
			return
		}
		out, err := tmpl.Render(t.Context(), vars, limits)
		if err != nil {
			if !errors.Is(err, ErrRender) && !errors.Is(err, ErrLimit) && !errors.Is(err, ErrRaised) {
				t.Fatalf("Render: %v", err)
			}
			return
		}
		if len(out) > limits.Output {
			t.Fatalf("%d bytes of output", len(out))
		}
		if again, err := tmpl.Render(t.Context(), vars, limits); err != nil || again != out {
			t.Fatalf("%q, then %q, %v", out, again, err)
		}
	})
}
