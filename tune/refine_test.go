package tune

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nibble/kernels/slowtest"
	"nibble/quant"
	"nibble/tune/search"
	"nibble/tune/work"
)

// onlyOffered reports every spec of the trials that was not offered.
func onlyOffered(t *testing.T, o Options, res Result) {
	t.Helper()
	for _, x := range res.Trials {
		for _, m := range o.Source.Config.Modules() {
			if spec := x.Recipe.For(m); !slices.Contains(o.Specs, spec) {
				t.Errorf("trial %d: %s: %s was not offered", x.ID, m.Name, spec)
			}
		}
	}
}

// A method that trains layers refines what the search finds: the same bits
// everywhere, and the better of the two is the best.
func TestRefined(t *testing.T) {
	o := demoOptions(t, 2)
	o.Specs, _ = ParseSpecs("w4 g32/channel sym gptq/autoround-light, w8 g32 sym rtn, keep")
	o.MaxBPW = 4.4
	res, err := Run(context.Background(), o, logTrials(t))
	if err != nil {
		t.Fatal(err)
	}
	onlyOffered(t, o, res)
	var before, after *Trial
	for i := range res.Trials {
		switch x := &res.Trials[i]; x.Phase {
		case search.Tuned:
			before = x
		case search.Refined:
			after = x
		}
	}
	if before == nil || after == nil {
		t.Fatalf("tuned %v, refined %v", before, after)
	}
	if want := min(before.KLD, after.KLD); res.Best.KLD > want {
		t.Errorf("the best has a divergence of %g, a trial has %g", res.Best.KLD, want)
	}
	for _, m := range o.Source.Config.Modules() {
		was, is := before.Recipe.For(m), after.Recipe.For(m)
		if want := m.Layer >= 0 && was.Bits == 4; was.Scheme() != is.Scheme() || (is.Method == quant.AutoRoundLight) != want {
			t.Errorf("%s: %s was refined to %s", m.Name, was, is)
		}
	}
	if len(res.Choices) != len(o.Source.Config.Modules()) {
		t.Errorf("%d choices are explained", len(res.Choices))
	}
}

// Saving copies what was trained and measured, byte by byte; a search that goes on
// does not train again either. Nothing of it stays in the run's directory.
func TestSavedAsMeasured(t *testing.T) {
	o := demoOptions(t, 2)
	o.Specs, _ = ParseSpecs("w4 g32/channel sym autoround-light")
	o.MaxBPW, o.MaxTrials = 4.2, 1
	dir := t.TempDir()
	o.RunDir = filepath.Join(dir, "run")
	made := func() (names []string) {
		entries, err := os.ReadDir(o.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if work.IsArtifact(e.Name()) {
				names = append(names, e.Name())
			}
		}
		return names
	}
	ctx, cancel := context.WithCancel(context.Background())
	trained := 0
	listen := func(e Event) {
		switch e.(type) {
		case quant.Trained:
			trained++
		case TrialDone:
			cancel()
		}
	}
	res, err := Run(ctx, o, listen)
	if err != nil || res.StoppedBy != "cancelled" || trained == 0 || !slices.Equal(made(), []string{filepath.Base(res.Artifact)}) {
		t.Fatalf("%v, %s, best %+v, %d iterations, kept %q, told %q", err, res.StoppedBy, res.Best, trained, made(), res.Artifact)
	}
	trained = 0
	o.Out = filepath.Join(dir, "best")
	again, err := Run(context.Background(), o, listen)
	if err != nil || again.Best.Recipe.String() != res.Best.Recipe.String() || trained > 0 || len(made()) > 0 || again.Artifact != "" {
		t.Fatalf("%v, best %+v, trained again for %d iterations, left %q", err, again.Best, trained, made())
	}
	fresh := filepath.Join(dir, "fresh")
	if _, err := quant.Run(context.Background(), quant.Options{Engine: o.Base.Engine, Source: o.Source, Recipe: res.Best.Recipe, Out: fresh, Calibration: o.Calibration}, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.safetensors", "config.json", "recipe.json"} {
		a, err1 := os.ReadFile(filepath.Join(o.Out, name))
		b, err2 := os.ReadFile(filepath.Join(fresh, name))
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %d and %d bytes differ (%v, %v)", name, len(a), len(b), err1, err2)
		}
	}
	if e, ok := savedBy(o.Out); !ok || e.Trial.KLD != again.Best.KLD {
		t.Errorf("the report tells of %+v", e.Trial)
	}
}

// Where such a method alone is offered, it is all that is tried.
func TestAlwaysRefined(t *testing.T) {
	slowtest.Skip(t)
	o := demoOptions(t, 2)
	o.Specs, _ = ParseSpecs("w4 g32/channel sym autoround-light, w8 g32 sym rtn")
	o.Goal, o.MaxTrials = 0.02, 2
	res, err := Run(context.Background(), o, logTrials(t))
	if err != nil {
		t.Fatal(err)
	}
	onlyOffered(t, o, res)
	if len(res.Choices) != len(o.Source.Config.Modules()) {
		t.Errorf("%d choices are explained", len(res.Choices))
	}
}
