package model

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model/source"
)

// rewriteFile writes a file's content again, changed by f, in place.
func rewriteFile(path string, f func([]byte)) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f(data)
	return os.WriteFile(path, data, 0o644)
}

// keepingTime does so and sets the file's time back.
func keepingTime(path string, f func([]byte)) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return errors.Join(rewriteFile(path, f), os.Chtimes(path, info.ModTime(), info.ModTime()))
}

func flip(data []byte) { data[len(data)-1] ^= 1 }

// Every file of a model counts, whatever way it changes; new permissions do not
// where the content can be compared.
func TestUnchanged(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		hashed bool
		change func(path string) error
		want   bool // unchanged
	}{
		"alone":                      {weightsName, false, func(string) error { return nil }, true},
		"weights":                    {weightsName, false, func(p string) error { return rewriteFile(p, flip) }, false},
		"configuration":              {"config.json", false, func(p string) error { return rewriteFile(p, flip) }, false},
		"tokenizer":                  {"tokenizer.json", false, func(p string) error { return rewriteFile(p, flip) }, false},
		"tokenizer's configuration":  {"tokenizer_config.json", false, os.Remove, false},
		"generation":                 {"generation_config.json", false, os.Remove, false},
		"mode of the tokenizer":      {"tokenizer.json", false, func(p string) error { return os.Chmod(p, 0o600) }, true},
		"tokenizer, time set back":   {"tokenizer.json", false, func(p string) error { return keepingTime(p, flip) }, false},
		"mode of weights":            {weightsName, true, func(p string) error { return os.Chmod(p, 0o600) }, true},
		"weights, time set back":     {weightsName, true, func(p string) error { return keepingTime(p, flip) }, false},
		"the same, nothing to go by": {weightsName, false, func(p string) error { return keepingTime(p, flip) }, false},
		"cut":                        {weightsName, true, func(p string) error { return os.Truncate(p, 1<<12) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := directory(t, nil)
			ck, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer ck.Close()
			if c.hashed {
				ck.Hash()
			}
			path := filepath.Join(dir, c.file)
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			for range 2 { // a check changes nothing
				if err := ck.Unchanged(); (err == nil) != c.want || err != nil && (!errors.Is(err, source.ErrChanged) || !strings.HasPrefix(err.Error(), path)) {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

// What became of the files stands for whatever else went wrong.
func TestGuard(t *testing.T) {
	dir := directory(t, nil)
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	mine := errors.New("mine")
	if err := ck.Guard(func() error { return mine }); err != mine {
		t.Errorf("%v, want its own error", err)
	}
	if err := os.Truncate(filepath.Join(dir, weightsName), 0); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"nothing": func() error { return nil },
		"error":   func() error { return mine },
		"hash":    func() error { ck.Hash(); return nil },
		"floats":  func() error { _ = firstNotFinite(Tensor{DType: kernels.F16, Data: ck.tensors[norm].data}); return nil },
	} {
		if err := ck.Guard(f); !errors.Is(err, source.ErrChanged) || !strings.Contains(err.Error(), "was truncated") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A source that changed while it was quantized is not made a model of.
func TestCommitOfChangedSource(t *testing.T) {
	dir := directory(t, nil)
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	out := filepath.Join(t.TempDir(), "out")
	w, err := Create(take(t, out), ck, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := rewriteFile(filepath.Join(dir, weightsName), flip); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); !errors.Is(err, source.ErrChanged) {
		t.Errorf("committed: %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the output is there")
	}
}

// A file of the model that cannot be copied is found before any work.
func TestCreateFindsUnreadableFile(t *testing.T) {
	dir := directory(t, nil)
	if err := os.Mkdir(filepath.Join(dir, "merges.txt"), 0o755); err != nil {
		t.Fatal(err)
	}
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if w, err := Create(take(t, filepath.Join(t.TempDir(), "out")), ck, nil); err == nil || !strings.Contains(err.Error(), "merges.txt") {
		if err == nil {
			w.Abort()
		}
		t.Errorf("%v", err)
	}
}
