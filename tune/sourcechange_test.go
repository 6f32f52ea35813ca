package tune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/model/source"
	"nibble/quant"
)

// A model that changes while it is tuned ends the search: there is no output, no
// score of it is kept, and it counts as no trial.
func TestSourceChanges(t *testing.T) {
	rewrite := func(path string) error {
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path, data, 0o644))
	}
	cache := t.TempDir()
	if err := os.CopyFS(cache, os.DirFS(sharedCache)); err != nil { // kernels' measurements
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		when   func(e Event) bool
		change func(path string) error
		scores bool // there are some from before
	}{
		{"cut while screening", func(e Event) bool { _, ok := e.(Screening); return ok }, func(path string) error { return os.Truncate(path, 0) }, false},
		{"rewritten while screening", func(e Event) bool { _, ok := e.(Screening); return ok }, rewrite, false},
		{"rewritten in a trial", func(e Event) bool { _, ok := e.(TrialProgress); return ok }, rewrite, true},
	} {
		if err := os.RemoveAll(filepath.Join(cache, "scores")); err != nil {
			t.Fatal(err)
		}
		dir, work := t.TempDir(), t.TempDir()
		if err := os.CopyFS(dir, demo.Files); err != nil {
			t.Fatal(err)
		}
		o := optionsFor(t, dir, 1)
		var err error
		if o.Specs, err = ParseSpecs("w4 g32 sym rtn, keep"); err != nil {
			t.Fatal(err)
		}
		if o.Calibration, err = quant.NewCalibration(o.Source, quant.CalibrationOptions{Samples: 1, Length: 32}); err != nil {
			t.Fatal(err)
		}
		o.Goal, o.CacheDir, o.RunDir, o.Out = 0.01, cache, filepath.Join(work, "run"), filepath.Join(work, "out")
		path, done := filepath.Join(dir, "model.safetensors"), false
		_, err = Run(context.Background(), o, func(e Event) {
			if !done && c.when(e) {
				done = true
				if err := c.change(path); err != nil {
					t.Error(err)
				}
			}
		})
		if !done || !errors.Is(err, source.ErrChanged) || !strings.HasPrefix(err.Error(), path+" was ") {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := os.Stat(o.Out); err == nil {
			t.Errorf("%s: there is an output", c.name)
		}
		run, err := LoadRun(o.RunDir)
		if err != nil || run.StoppedBy != "error" || len(run.Trials) > 0 {
			t.Errorf("%s: the run has %d trials and ended by %q, %v", c.name, len(run.Trials), run.StoppedBy, err)
		}
		files, err := filepath.Glob(filepath.Join(cache, "scores", "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: files of scores: %v, %v", c.name, files, err)
		}
		if info, err := os.Stat(files[0]); err != nil || (info.Size() > 0) != c.scores {
			t.Errorf("%s: scores are kept: %v, %v", c.name, info.Size() > 0, err)
		}
	}
}
