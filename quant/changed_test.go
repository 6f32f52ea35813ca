package quant

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/demo"
	"nibble/model/source"
	"nibble/quant/calib"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	rt "nibble/runtime"
)

// A source that is cut, rewritten or replaced while it is quantized is one clear
// error; nothing is made of it and nothing is left, also when the run is
// interrupted afterwards.
func TestSourceChanges(t *testing.T) {
	eng := quanttest.Engine(t, 3)
	rewrite := func(path string) error {
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, data, 0o644))
	}
	replace := func(path string) error {
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path+"2", data, 0o644), os.Rename(path+"2", path))
	}
	shorten := func(path string) error { // by less than a page: nothing faults, zeros are read
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()-2)
	}
	for name, c := range map[string]struct {
		recipe string
		file   string
		change func(path string) error
		says   string
		cancel bool
	}{
		"cut, rtn":             {"w4 g32 sym rtn", "model.safetensors", func(p string) error { return os.Truncate(p, 0) }, "was truncated while it was read", false},
		"cut, gptq":            {"w4 g32 sym gptq", "model.safetensors", func(p string) error { return os.Truncate(p, 0) }, "was truncated while it was read", false},
		"cut a little":         {"w4 g32 sym rtn", "model.safetensors", shorten, "was truncated while it was in use", false},
		"rewritten":            {"w4 g32 sym rtn", "model.safetensors", rewrite, "was rewritten", false},
		"interrupted as well":  {"w4 g32 sym rtn", "model.safetensors", rewrite, "was rewritten", true},
		"replaced":             {"w4 g32 sym rtn", "model.safetensors", replace, "was replaced", false},
		"removed":              {"w4 g32 sym rtn", "model.safetensors", os.Remove, "was removed", false},
		"tokenizer rewritten":  {"w4 g32 sym rtn", "tokenizer.json", rewrite, "was rewritten", false},
		"configuration gone":   {"w4 g32 sym rtn", "config.json", os.Remove, "was removed", false},
		"configuration halved": {"w4 g32 sym rtn", "config.json", func(p string) error { return os.Truncate(p, 100) }, "was truncated", false},
	} {
		for _, inMemory := range []bool{false, true} {
			dir := filepath.Join(t.TempDir(), "model")
			if err := os.CopyFS(dir, demo.Files); err != nil {
				t.Fatal(err)
			}
			ck, err := model.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			path, done := filepath.Join(dir, c.file), false
			listen := func(e pass.Event) {
				if _, ok := e.(pass.ModuleDone); ok && !done {
					done = true
					if err := c.change(path); err != nil {
						t.Error(err)
					}
					if c.cancel {
						cancel()
					}
				}
			}
			cal, err := calib.New(ck, calib.Options{Samples: 2, Length: 64})
			if err != nil {
				t.Fatal(err)
			}
			if inMemory {
				base, failed := rt.Load(ctx, eng, ck)
				if failed != nil {
					t.Fatal(failed)
				}
				_, _, err = ApplyCalibrated(ctx, base, ck, passtest.Parse(t, c.recipe), cal, listen)
			} else {
				_, err = Run(ctx, Options{Engine: eng, Source: ck, Recipe: passtest.Parse(t, c.recipe), Out: filepath.Join(filepath.Dir(dir), "out"), Calibration: cal}, listen)
			}
			if !done || !errors.Is(err, source.ErrChanged) || !strings.HasPrefix(err.Error(), path+" "+c.says) {
				t.Errorf("%s, in memory %v: %v", name, inMemory, err)
			}
			left, err := os.ReadDir(filepath.Dir(dir))
			if err != nil || len(left) != 1 {
				t.Errorf("%s: left %v, %v", name, left, err)
			}
			cancel()
			ck.Close()
		}
	}
}
