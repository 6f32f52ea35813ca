package quant

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"nibble/kernels/durable/durabletest"
	"nibble/model"
	"nibble/model/output"
	"nibble/quant/journal"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
)

// Whatever happens to what an unfinished run left, it gives what was written there,
// or nothing.
func TestDamagedFiles(t *testing.T) {
	work := cut(t, filepath.Join(t.TempDir(), "out"), killedRecipe, 6)
	want := journal.ReadJournal(work)
	if len(want) < 5 {
		t.Fatalf("%d lines", len(want))
	}
	path := filepath.Join(work, journal.FileName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	durabletest.Damage(data, 80, func(how string, bad []byte) {
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		got := journal.ReadJournal(work)
		if len(got) > 0 && !reflect.DeepEqual(got[0], want[0]) {
			t.Errorf("the journal, %s: it begins with %+v", how, got[0])
		}
		for _, r := range got {
			if !slices.ContainsFunc(want, func(w journal.Record) bool { return reflect.DeepEqual(r, w) }) {
				t.Errorf("the journal, %s: %+v", how, r)
			}
		}
	})

	at := passtest.Take(t, filepath.Join(t.TempDir(), "out"))
	w, err := model.Create(at, quanttest.Open(t, "demo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	j := &journal.Journal{Writer: w}
	state := bytes.Repeat([]byte("what was trained "), 20)
	if err := j.Keep("whole", state); err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(j.StatePath("whole")); err != nil {
		t.Fatal(err)
	}
	durabletest.Damage(data, 60, func(how string, bad []byte) {
		if err := os.WriteFile(j.StatePath("whole"), bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, ok := j.Kept("whole"); ok && !bytes.Equal(got, state) {
			t.Errorf("a state, %s: %q", how, got)
		}
	})
}

// A finished model that was damaged since is not taken for finished, nor copied from.
func TestDamagedModel(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	const recipe = "w4 g32 sym rtn"
	if err := quantizeDemo(out, recipe, 0); err != nil {
		t.Fatal(err)
	}
	report, err := journal.ReadReport(out)
	if err != nil || !report.Holds(out) {
		t.Fatalf("%+v, %v", report, err)
	}
	path := filepath.Join(out, "model.safetensors")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	durabletest.Damage(data, 12, func(how string, bad []byte) {
		if bytes.Equal(bad, data) {
			return
		}
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if report.Holds(out) {
			t.Errorf("%s: it passes for what was written", how)
		}
	})
	if err := quantizeDemo(out, recipe, 0); !errors.Is(err, output.ErrNotEmpty) {
		t.Errorf("a damaged model passes as finished: %v", err)
	}
}
