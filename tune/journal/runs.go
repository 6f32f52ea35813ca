package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nibble/kernels/durable"
	"nibble/tune/search"
)

// What can be wrong with a run.
var (
	ErrRun   = errors.New("run")                     // it does not fit, or is damaged
	ErrLive  = errors.New("the run is live")         // another process works on it
	ErrNoRun = errors.New("there is no run of this") // with these options
)

// RunState says whether somebody works on a run.
type RunState string

// The states of a run.
const (
	Live    RunState = "live"    // a process works on it
	Dead    RunState = "dead"    // none does, and it is not done: it was stopped, failed or was killed
	Done    RunState = "done"    // it ended by itself
	Old     RunState = "old"     // another version of nibble made it: it can be shown and deleted, and does not go on
	Damaged RunState = "damaged" // its record cannot be read
)

func liveError(id string, owner durable.Owner) error {
	return fmt.Errorf("%w: %s is worked on by %s; 'nibble runs show %s' shows its trials; wait for it to end, or stop it and give the command again", ErrLive, id, owner, id)
}

// stateOf says whether a run is live, and if so who works on it.
func stateOf(dir string, run Record) (RunState, *durable.Owner) {
	if owner, held := durable.HeldBy(filepath.Join(dir, lockName)); held {
		return Live, &owner
	}
	switch {
	case run.Version != Version:
		return Old, nil
	case slices.Contains([]string{"done", "budget", "trials"}, run.StoppedBy):
		return Done, nil
	}
	return Dead, nil
}

// LoadRun reads a run's directory. Trials whose lines are damaged are left out.
func LoadRun(dir string) (Record, error) {
	run, err := readRecord(dir)
	if err != nil {
		return run, err
	}
	run.ID, run.Trials = filepath.Base(dir), readTrials(dir)
	run.State, run.Owner = stateOf(dir, run)
	if run.Version != Version {
		run.Choices = nil // their form may be another
	}
	return run, nil
}

// Runs lists the runs under a directory, the newest first. Of a damaged one there is
// no more than its name.
func Runs(root string) ([]Record, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var runs []Record
	for _, e := range entries {
		run, err := LoadRun(filepath.Join(root, e.Name()))
		switch {
		case err == nil:
			runs = append(runs, run)
		case errors.Is(err, ErrRun):
			runs = append(runs, Record{ID: e.Name(), State: Damaged})
		}
	}
	slices.SortFunc(runs, func(a, b Record) int { return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.ID, b.ID)) })
	return runs, nil
}

// DeleteRun removes a run's directory, unless the run is live.
func DeleteRun(root, id string) error {
	defer guard(root)()
	dir := filepath.Join(root, id)
	lock, err := durable.TryLock(filepath.Join(dir, lockName))
	if held := (*durable.Held)(nil); errors.As(err, &held) {
		return liveError(id, held.Owner)
	} else if err != nil {
		return err
	}
	defer lock.Unlock()
	return os.RemoveAll(dir)
}

// find returns the directory of the newest run under root with a fingerprint, ""
// if there is none; one that is live is ErrLive.
func find(root, fingerprint string) (string, error) {
	runs, err := Runs(root)
	if err != nil {
		return "", nil // there is none that could be read
	}
	found := ""
	for _, r := range runs {
		switch {
		case r.Fingerprint != fingerprint:
		case r.State == Live:
			return "", liveError(r.ID, *r.Owner)
		case found == "":
			found = filepath.Join(root, r.ID)
		}
	}
	return found, nil
}

// newRunDir names the directory of a new run.
func newRunDir(root, model string, now time.Time) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, model)
	return filepath.Join(root, now.UTC().Format("20060102-150405.000")+"-"+strings.Trim(clean, "."))
}

// guard keeps others from beginning or deleting runs while one is chosen, for a
// moment; it returns the end of that.
func guard(root string) func() {
	const tries, pause = 100, 10 * time.Millisecond
	if os.MkdirAll(root, 0o755) != nil {
		return func() {}
	}
	for range tries {
		lock, err := durable.TryLock(filepath.Join(root, ".lock"))
		if err == nil {
			return lock.Unlock
		}
		if held := (*durable.Held)(nil); !errors.As(err, &held) {
			break // nothing can be written there, so that there are no others
		}
		time.Sleep(pause)
	}
	return func() {}
}

// Find opens the run under root that has the fingerprint of a record, or begins one,
// named after the model; trials already there are returned by recipe. resume makes it
// an error (ErrNoRun) to begin one.
func Find(root, model string, run Record, resume bool) (j *Journal, known map[string]search.Trial, err error) {
	defer guard(root)()
	dir, err := find(root, run.Fingerprint)
	if err != nil {
		return nil, nil, err
	}
	if dir == "" && resume {
		return nil, nil, fmt.Errorf("%w model with these options to resume; 'nibble runs' lists the runs", ErrNoRun)
	}
	dir = cmp.Or(dir, newRunDir(root, model, time.Now()))
	run.ID = filepath.Base(dir)
	return Open(dir, run)
}

// Finished returns the run of a fingerprint in dir or, if that is "", the newest under
// root, as far as there is one and it can be read.
func Finished(dir, root, fingerprint string) (run Record, found string, ok bool) {
	if dir == "" && root != "" {
		dir, _ = find(root, fingerprint)
	}
	if dir == "" {
		return run, "", false
	}
	run, err := LoadRun(dir)
	return run, dir, err == nil && run.Fingerprint == fingerprint
}
