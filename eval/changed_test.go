package eval

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/model/source"
)

// An evaluation whose model or base changes meanwhile has no result, and the cache
// keeps nothing of it.
func TestModelChanges(t *testing.T) {
	rewrite := func(path string) error {
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, data, 0o644))
	}
	cut := func(path string) error { return os.Truncate(path, 0) }
	for name, c := range map[string]struct {
		change func(path string) error
		base   bool // the change is of the base, while its answers are computed
		says   string
	}{
		"cut":            {cut, false, "was truncated while it was read"},
		"rewritten":      {rewrite, false, "was rewritten"},
		"base cut":       {cut, true, "was truncated while it was read"},
		"base rewritten": {rewrite, true, "was rewritten"},
	} {
		dir, cache := t.TempDir(), t.TempDir()
		if err := os.CopyFS(dir, demo.Files); err != nil {
			t.Fatal(err)
		}
		_, m := load(t, dir)
		_, own := load(t, "demo")
		weights, done := filepath.Join(dir, "model.safetensors"), false
		listen := func(e Event) {
			if p, ok := e.(Progress); ok && !done && (p.Stage == "reference") == c.base {
				done = true
				if err := c.change(weights); err != nil {
					t.Error(err)
				}
			}
		}
		o := Options{Text: DemoText(), Ctx: 64, Chunks: 4, CacheDir: cache}
		base := own
		if c.base {
			base = m
		}
		ref, err := NewReference(context.Background(), base, o, listen)
		if err == nil {
			defer ref.Close()
			_, err = Run(context.Background(), m, ref, o, listen, nil)
		}
		if !done || !errors.Is(err, source.ErrChanged) || !strings.HasPrefix(err.Error(), weights+" "+c.says) {
			t.Errorf("%s: %v", name, err)
		}
		kept, err := filepath.Glob(filepath.Join(cache, "*"))
		if err != nil || c.base && len(kept) > 0 || !c.base && len(kept) != 1 {
			t.Errorf("%s: the cache keeps %v, %v", name, kept, err)
		}
	}
}
