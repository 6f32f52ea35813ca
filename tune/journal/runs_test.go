package journal

import (
	"path/filepath"
	"testing"

	"nibble/quant"
	"nibble/tune/search"
	"nibble/tune/solve"
)

// A run of another version is listed and shown as what it is, and is not taken for one
// that goes on.
func TestOldRun(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a")
	now := Record{Model: "demo", Version: Version, Fingerprint: "now"}
	for version, want := range map[int]RunState{Version - 1: Old, 0: Old, Version: Done} {
		run := now
		run.Version = version
		j, _, err := Open(dir, run)
		if err != nil {
			t.Fatal(err)
		}
		r := quant.Recipe{Default: quant.Keep}
		if err := j.Add(search.Trial{ID: 1, Recipe: r, State: search.Measured}); err != nil {
			t.Fatal(err)
		}
		if err := j.Finish("done", []solve.Choice{{Matrix: "m", Spec: "keep"}}); err != nil {
			t.Fatal(err)
		}
		j.Close()
		runs, err := Runs(root)
		if err != nil || len(runs) != 1 || runs[0].State != want || len(runs[0].Trials) != 1 || (len(runs[0].Choices) > 0) != (want == Done) {
			t.Errorf("version %d: %+v, %v; want %s", version, runs, err, want)
		}
	}
	if err := DeleteRun(root, "a"); err != nil {
		t.Error(err)
	}
}
