package tune

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"nibble/kernels/durable"
	"nibble/model/jsonnum"
	"nibble/quant"
)

// Record is what is kept of a tuning run: run.json in a directory of its own, with
// the trials, one JSON object a line, in trials.jsonl beside it. Both have checksums.
type Record struct {
	ID          string          `json:"id"`
	Model       string          `json:"model"`
	Started     time.Time       `json:"started"`
	Goal        float64         `json:"goal"`
	Fingerprint string          `json:"fingerprint"` // of everything a trial's figures depend on
	Out         string          `json:"out,omitempty"`
	StoppedBy   string          `json:"stopped_by,omitempty"` // empty while it runs, or after a crash
	Choices     []Choice        `json:"choices,omitempty"`    // of the best trial, once the run has ended
	Pace        *Pace           `json:"pace,omitempty"`       // of decoding, once it is measured
	Request     json.RawMessage `json:"request,omitempty"`
	Trials      []Trial         `json:"-"`

	State RunState       `json:"state,omitempty"` // as it is found
	Owner *durable.Owner `json:"owner,omitempty"` // of a live run
}

// fingerprint hashes what makes two trials comparable.
func fingerprint(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%v\n", p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// The files of a run's directory.
const (
	recordName = "run.json"
	trialsName = "trials.jsonl"
	lockName   = "lock" // held while the run is live
)

// journal appends to a run's directory, which it holds. Every line is on disk before
// the next trial starts. The zero journal keeps nothing.
type journal struct {
	dir  string
	run  Record
	log  *durable.Log
	lock *durable.Lock
}

// openJournal makes the run's directory or continues one with the same
// fingerprint; trials already there are returned by recipe. A run that is live is
// ErrLive, one that does not fit ErrRun.
func openJournal(dir string, run Record) (*journal, map[string]Trial, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	lock, err := durable.TryLock(filepath.Join(dir, lockName))
	if held := (*durable.Held)(nil); errors.As(err, &held) {
		return nil, nil, liveError(filepath.Base(dir), held.Owner)
	} else if err != nil {
		return nil, nil, err
	}
	j := &journal{dir: dir, run: run, lock: lock}
	known, err := j.start()
	if err != nil {
		j.close()
		return nil, nil, err
	}
	return j, known, nil
}

// start takes over what is there of an earlier run.
func (j *journal) start() (map[string]Trial, error) {
	known := make(map[string]Trial)
	old, err := readRecord(j.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case old.Fingerprint != j.run.Fingerprint:
		return nil, fmt.Errorf("%w: %s was made with another model, text or settings; start a new run", ErrRun, j.dir)
	default:
		j.run.Started, j.run.Pace = old.Started, old.Pace
		for _, t := range readTrials(j.dir) {
			if t.State != Failed {
				known[t.Recipe.String()] = t
			}
		}
	}
	if j.log, err = durable.OpenLog(filepath.Join(j.dir, trialsName)); err != nil {
		return nil, err
	}
	return known, j.writeRun()
}

func (j *journal) add(t Trial) error {
	if j.log == nil {
		return nil
	}
	line, err := jsonnum.Marshal(t)
	if err != nil {
		return err
	}
	return errors.Join(j.log.Add(line), j.log.Sync())
}

// finish says in the record how the run ended.
func (j *journal) finish(stoppedBy string, choices []Choice) error {
	j.run.StoppedBy, j.run.Choices = stoppedBy, choices
	return j.writeRun()
}

// close ends the hold on the run. It may be called again.
func (j *journal) close() {
	if j.log != nil {
		j.log.Close()
		j.log = nil
	}
	j.lock.Unlock()
}

// writeRun replaces run.json in one step.
func (j *journal) writeRun() error {
	if j.log == nil {
		return nil
	}
	run := j.run
	run.State, run.Owner = "", nil
	data, err := jsonnum.Marshal(run)
	if err == nil {
		data, err = durable.SealIndent(data)
	}
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(j.dir, recordName), data)
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
func readTrials(dir string) []Trial {
	lines, err := durable.ReadLog(filepath.Join(dir, trialsName), maxRecord)
	if err != nil {
		return nil
	}
	var trials []Trial
	at := map[string]int{}
	for _, line := range lines {
		var t Trial
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

// newRecord describes a run before it starts.
func newRecord(o Options) Record {
	c := o.Calibration
	return Record{ID: filepath.Base(o.RunDir), Model: o.Source.Ref, Started: time.Now(), Goal: o.Goal, Out: o.Out, Request: o.Request,
		Fingerprint: fingerprint("run 4", quant.MethodsVersion, o.Source.Hash(), o.Eval.Text.SHA256, o.Eval.Ctx, o.Eval.Chunks, c.SHA256, c.Seed, c.Samples, c.Length,
			o.Space, o.Fused, o.Goal, o.MaxBPW, o.MaxBytes, o.MinTPS, o.MaxRSS)}
}
