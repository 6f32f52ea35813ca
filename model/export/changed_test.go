package export

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
	files "nibble/model/source"
)

// Of a model that changes while it is exported no file is left.
func TestSourceChanges(t *testing.T) {
	for name, c := range map[string]struct {
		stage  string
		change func(path string) error
		says   string
	}{
		"cut while writing":  {"writing", func(p string) error { return os.Truncate(p, 0) }, "was truncated while it was read"},
		"cut while checking": {"checking", func(p string) error { return os.Truncate(p, 0) }, "was truncated while it was"},
		"rewritten at the end": {"checking", func(p string) error {
			data, err := os.ReadFile(p)
			return errors.Join(err, os.WriteFile(p, data, 0o644))
		}, "was rewritten"},
	} {
		dir, out := t.TempDir(), t.TempDir()
		if err := os.CopyFS(dir, demo.Files); err != nil {
			t.Fatal(err)
		}
		weights, done := filepath.Join(dir, "model.safetensors"), false
		_, err := Run(context.Background(), Options{Source: open(t, dir), Out: filepath.Join(out, "m.gguf"), Type: "f32"}, func(e Event) {
			if p, ok := e.(Progress); ok && !done && p.Stage == c.stage {
				done = true
				if err := c.change(weights); err != nil {
					t.Error(err)
				}
			}
		})
		if !done || !errors.Is(err, files.ErrChanged) || !strings.HasPrefix(err.Error(), weights+" "+c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}
