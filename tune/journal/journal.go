// Package journal keeps tuning runs: what each was asked for, its trials as they are
// measured, and who works on it.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nibble/kernels/durable"
	"nibble/model/jsonnum"
	"nibble/tune/search"
	"nibble/tune/solve"
)

// Version changes with anything that changes what is kept, or what it means: runs of
// another version can be shown and deleted, and do not go on.
const Version = 5

// Record is what is kept of a tuning run: run.json in a directory of its own, with
// the trials, one JSON object a line, in trials.jsonl beside it. Both have checksums.
type Record struct {
	ID          string          `json:"id"`
	Model       string          `json:"model"`
	Started     time.Time       `json:"started"`
	Goal        float64         `json:"goal"`
	Version     int             `json:"version"`     // Version, of what kept it
	Fingerprint string          `json:"fingerprint"` // of everything a trial's figures depend on
	Out         string          `json:"out,omitempty"`
	StoppedBy   string          `json:"stopped_by,omitempty"` // empty while it runs, or after a crash
	Choices     []solve.Choice  `json:"choices,omitempty"`    // of the best trial, once the run has ended
	Pace        *solve.Pace     `json:"pace,omitempty"`       // of decoding, once it is measured
	Request     json.RawMessage `json:"request,omitempty"`
	Trials      []search.Trial  `json:"-"`

	State RunState       `json:"state,omitempty"` // as it is found
	Owner *durable.Owner `json:"owner,omitempty"` // of a live run
}

// The files of a run's directory.
const (
	recordName = "run.json"
	trialsName = "trials.jsonl"
	lockName   = "lock" // held while the run is live
)

// Journal appends to a run's directory, which it holds. Every line is on disk before
// the next trial starts. The zero Journal keeps nothing.
type Journal struct {
	Dir     string
	Run     Record
	Resumed bool // it was begun before

	log  *durable.Log
	lock *durable.Lock
}

// Open makes the run's directory or continues one with the same
// fingerprint; trials already there are returned by recipe. A run that is live is
// ErrLive, one that does not fit ErrRun.
func Open(dir string, run Record) (*Journal, map[string]search.Trial, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	lock, err := durable.TryLock(filepath.Join(dir, lockName))
	if held := (*durable.Held)(nil); errors.As(err, &held) {
		return nil, nil, liveError(filepath.Base(dir), held.Owner)
	} else if err != nil {
		return nil, nil, err
	}
	j := &Journal{Dir: dir, Run: run, lock: lock}
	known, err := j.start()
	if err != nil {
		j.Close()
		return nil, nil, err
	}
	return j, known, nil
}

// start takes over what is there of an earlier run.
func (j *Journal) start() (map[string]search.Trial, error) {
	known := make(map[string]search.Trial)
	old, err := readRecord(j.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case old.Fingerprint != j.Run.Fingerprint:
		return nil, fmt.Errorf("%w: %s was made with another model, text or settings; start a new run", ErrRun, j.Dir)
	default:
		j.Resumed, j.Run.Started, j.Run.Pace = true, old.Started, old.Pace
		for _, t := range readTrials(j.Dir) {
			if t.State != search.Failed {
				known[t.Recipe.String()] = t
			}
		}
	}
	if j.log, err = durable.OpenLog(filepath.Join(j.Dir, trialsName)); err != nil {
		return nil, err
	}
	return known, j.Write()
}

// Add keeps a trial.
func (j *Journal) Add(t search.Trial) error {
	if j.log == nil {
		return nil
	}
	line, err := jsonnum.Marshal(t)
	if err != nil {
		return err
	}
	return errors.Join(j.log.Add(line), j.log.Sync())
}

// Finish says in the record how the run ended.
func (j *Journal) Finish(stoppedBy string, choices []solve.Choice) error {
	j.Run.StoppedBy, j.Run.Choices = stoppedBy, choices
	return j.Write()
}

// Close ends the hold on the run. It may be called again.
func (j *Journal) Close() {
	if j.log != nil {
		j.log.Close()
		j.log = nil
	}
	j.lock.Unlock()
}

// Write replaces run.json in one step.
func (j *Journal) Write() error {
	if j.log == nil {
		return nil
	}
	run := j.Run
	run.State, run.Owner = "", nil
	data, err := jsonnum.Marshal(run)
	if err == nil {
		data, err = durable.SealIndent(data)
	}
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(j.Dir, recordName), data)
}

// maxRecord bounds what is read of a run's files.
const maxRecord = 1 << 30

// readRecord reads a run's record, without its trials.
func readRecord(dir string) (run Record, err error) {
	path := filepath.Join(dir, recordName)
	data, err := os.ReadFile(path)
	if err != nil {
		return run, err
	}
	if data, err = durable.Unseal(data); err == nil {
		err = jsonnum.Unmarshal(data, &run)
	}
	if err != nil {
		return Record{}, fmt.Errorf("%w: %s %w", ErrRun, path, err)
	}
	return run, nil
}

// readTrials reads a run's trials that are intact, the last of each recipe.
func readTrials(dir string) []search.Trial {
	lines, err := durable.ReadLog(filepath.Join(dir, trialsName), maxRecord)
	if err != nil {
		return nil
	}
	var trials []search.Trial
	at := map[string]int{}
	for _, line := range lines {
		var t search.Trial
		if jsonnum.Unmarshal(line, &t) != nil {
			continue
		}
		if i, again := at[t.Recipe.String()]; again {
			trials[i] = t
			continue
		}
		at[t.Recipe.String()] = len(trials)
		trials = append(trials, t)
	}
	return trials
}
