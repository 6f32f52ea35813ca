package tune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nibble/kernels/durable/durabletest"
	"nibble/model/output"
	"nibble/tune/journal"
	"nibble/tune/solve"
	"nibble/tune/space"
)

// opened begins a search's run, without the search.
func opened(t *testing.T, o Options) (*scheduler, error) {
	t.Helper()
	s, err := newScheduler(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.openRun()
	t.Cleanup(s.journal.Close)
	return s, err
}

// A run belongs to one process at a time, which it names; it is found again when it
// is free, and is not deleted before.
func TestRunsHaveOneOwner(t *testing.T) {
	o := demoOptions(t, 1)
	o.Runs = filepath.Join(t.TempDir(), "runs")
	o.Resume = true
	if _, err := opened(t, o); !errors.Is(err, ErrNoRun) {
		t.Errorf("there is nothing to resume: %v", err)
	}
	o.Resume = false
	s, err := opened(t, o)
	if err != nil {
		t.Fatal(err)
	}
	state := func(want journal.RunState) Record {
		t.Helper()
		runs, err := Runs(o.Runs)
		if err != nil || len(runs) != 1 || runs[0].State != want || runs[0].ID != filepath.Base(s.journal.Dir) || (runs[0].Owner != nil) != (want == Live) {
			t.Fatalf("%+v, %v; want one that is %s", runs, err, want)
		}
		return runs[0]
	}
	if r := state(Live); r.Owner.PID != os.Getpid() {
		t.Errorf("owned by %s", r.Owner)
	}
	trial := Trial{ID: 1, Recipe: space.Uniform(o.Source.Config, o.Specs[0]), State: Measured, Windows: 3}
	if err := s.journal.Add(trial); err != nil {
		t.Fatal(err)
	}
	dir := s.journal.Dir
	for name, refused := range map[string]error{
		"the same options":  func() error { _, err := opened(t, o); return err }(),
		"the run's own":     func() error { o := o; o.RunDir = dir; _, err := opened(t, o); return err }(),
		"deleting the run":  DeleteRun(o.Runs, filepath.Base(dir)),
		"the same, resumed": func() error { o := o; o.Resume = true; _, err := opened(t, o); return err }(),
	} {
		if !errors.Is(refused, ErrLive) || !strings.Contains(refused.Error(), "process ") || !strings.Contains(refused.Error(), "runs show "+filepath.Base(dir)) {
			t.Errorf("%s: %v", name, refused)
		}
	}
	other := o
	other.Goal = 0.02
	if s, err := opened(t, other); err != nil || s.journal.Dir == dir {
		t.Errorf("another goal: %v", err)
	} else {
		s.journal.Close()
		if err := DeleteRun(o.Runs, filepath.Base(s.journal.Dir)); err != nil {
			t.Error(err)
		}
	}
	for ending, want := range map[string]journal.RunState{"": Dead, "error": Dead, "cancelled": Dead, "done": Done, "budget": Done, "trials": Done} {
		if err := s.journal.Finish(ending, nil); err != nil {
			t.Fatal(err)
		}
		s.journal.Close()
		state(want)
		if s, err = opened(t, o); err != nil || s.journal.Dir != dir {
			t.Fatalf("a run that is %s: %v", want, err)
		}
		if got := s.known[trial.Recipe.String()]; got.Windows != trial.Windows {
			t.Errorf("a run that is %s goes on with %+v", want, s.known)
		}
	}
	s.journal.Close()
	if err := DeleteRun(o.Runs, filepath.Base(dir)); err != nil {
		t.Error(err)
	}
	if runs, err := Runs(o.Runs); err != nil || len(runs) > 0 {
		t.Errorf("%+v, %v", runs, err)
	}
}

// What a damaged run tells is what was written, or nothing.
func TestDamagedRun(t *testing.T) {
	o := demoOptions(t, 1)
	o.Runs = t.TempDir()
	s, err := opened(t, o)
	if err != nil {
		t.Fatal(err)
	}
	s.journal.Run.Pace = &solve.Pace{Factor: 2, Overhead: 3}
	var trials []Trial
	for i, spec := range o.Specs {
		trials = append(trials, Trial{ID: i + 1, Recipe: space.Uniform(o.Source.Config, spec), State: Measured, PPL: 5.25, PPLRatio: 1.125})
		if err := s.journal.Add(trials[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.journal.Finish("done", nil); err != nil {
		t.Fatal(err)
	}
	s.journal.Close()
	want, err := LoadRun(s.journal.Dir)
	if err != nil || !reflect.DeepEqual(want.Trials, trials) {
		t.Fatalf("%+v, %v", want, err)
	}
	for _, name := range []string{"run.json", "trials.jsonl"} {
		path := filepath.Join(s.journal.Dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		durabletest.Damage(data, 40, func(how string, bad []byte) {
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := LoadRun(s.journal.Dir)
			for _, x := range got.Trials {
				if !slices.ContainsFunc(trials, func(y Trial) bool { return reflect.DeepEqual(x, y) }) {
					t.Errorf("%s, %s: trial %+v", name, how, x)
				}
			}
			got.Trials = want.Trials
			if err == nil && !reflect.DeepEqual(got, want) || err != nil && !errors.Is(err, ErrRun) {
				t.Errorf("%s, %s: %+v, %v", name, how, got, err)
			}
			if runs, err := Runs(o.Runs); err != nil || len(runs) != 1 || runs[0].ID != want.ID {
				t.Errorf("%s, %s: listed as %+v, %v", name, how, runs, err)
			}
		})
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The search with its options begins another run, and the damaged one can go.
	if err := os.Truncate(filepath.Join(s.journal.Dir, "run.json"), 10); err != nil {
		t.Fatal(err)
	}
	if again, err := opened(t, o); err != nil || again.RunDir == s.journal.Dir {
		t.Errorf("a damaged run goes on: %v", err)
	}
	if err := DeleteRun(o.Runs, want.ID); err != nil {
		t.Error(err)
	}
}

// Where no journal can be kept the search goes on without, told.
func TestUnwritableState(t *testing.T) {
	o := demoOptions(t, 1)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Runs = filepath.Join(file, "runs")
	s, err := opened(t, o)
	if err != nil || s.journal.Dir != "" || len(s.notes) != 1 || !strings.Contains(s.notes[0], "no journal") {
		t.Errorf("runs in %q, notes %q, %v", s.journal.Dir, s.notes, err)
	}
	s.journaled(errors.Join(s.journal.Add(Trial{}), s.journal.Finish("done", nil)))
	if len(s.notes) != 1 {
		t.Errorf("notes %q", s.notes)
	}
}

// A disk that is full for the journal and the scores costs a note each, and the model
// is saved.
func TestFullState(t *testing.T) {
	o := demoOptions(t, 1)
	o.MaxTrials, o.Out = 1, filepath.Join(t.TempDir(), "best")
	o.Specs, _ = ParseSpecs("w4 channel sym rtn")
	o.RunDir, o.CacheDir = t.TempDir(), t.TempDir()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	if err := errors.Join(os.Symlink("/dev/full", filepath.Join(o.RunDir, "trials.jsonl")), os.WriteFile(filepath.Join(o.CacheDir, "scores"), nil, 0o644)); err != nil {
		t.Skip(err)
	}
	tables, _ := filepath.Glob(filepath.Join(sharedCache, "kernels-*")) // else they are measured
	for _, path := range tables {
		if err := os.Symlink(path, filepath.Join(o.CacheDir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	res, err := Run(context.Background(), o, func(e Event) {
		if n, ok := e.(Noted); ok {
			told = append(told, n.Text)
		}
	})
	if err != nil || res.Path != o.Out || len(told) != 2 || !slices.Equal(told, res.Notes) ||
		!strings.Contains(told[0], "not kept for other runs") || !strings.Contains(told[1], "not everything of this run is kept") {
		t.Errorf("saved to %q, told %q, notes %q, %v", res.Path, told, res.Notes, err)
	}
}

// An output that another has, or that cannot be, is refused before any work.
func TestOutputIsClaimedFirst(t *testing.T) {
	o := demoOptions(t, 1)
	o.Out, o.Runs = filepath.Join(t.TempDir(), "best"), t.TempDir()
	at, err := output.Take(o.Out, output.Directory)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(want error) {
		t.Helper()
		if _, err := Run(context.Background(), o, func(e Event) { t.Errorf("%+v comes before the refusal", e) }); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	refused(output.ErrBusy)
	at.Release()
	o.Out = filepath.Join(o.Out, ".", "x")
	if err := os.WriteFile(filepath.Dir(o.Out), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refused(output.ErrUnwritable)
	s, err := newScheduler(o, nil)
	if err != nil || s.problem.Disk < 300_000 {
		t.Errorf("%d bytes are needed, %v", s.problem.Disk, err)
	}
	if runs, err := Runs(o.Runs); err != nil || len(runs) > 0 {
		t.Errorf("runs: %+v, %v", runs, err)
	}
}
