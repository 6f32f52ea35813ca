package tune

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nibble/kernels/durable"
	"nibble/model/jsonnum"
	"nibble/quant"
)

// Record is what is kept of a tuning run: run.json in a directory of its own, with
// the trials, one JSON object a line, in trials.jsonl beside it.
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
}

// ErrRun reports a run that does not exist or does not fit.
var ErrRun = errors.New("run")

// fingerprint hashes what makes two trials comparable.
func fingerprint(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%v\n", p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// journal appends to a run's directory. Every line is on disk before the next
// trial starts.
type journal struct {
	dir string
	run Record
	f   *os.File
}

// openJournal makes the run's directory or continues one with the same
// fingerprint; trials already there are returned by recipe.
func openJournal(dir string, run Record) (*journal, map[string]Trial, error) {
	if dir == "" {
		return &journal{}, nil, nil
	}
	known := make(map[string]Trial)
	old, err := LoadRun(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, nil, err
	case old.Fingerprint != run.Fingerprint:
		return nil, nil, fmt.Errorf("%w: %s was made with another model, text or settings; start a new run", ErrRun, dir)
	default:
		run.Started, run.Pace = old.Started, old.Pace
		for _, t := range old.Trials {
			if t.State != Failed {
				known[t.Recipe.String()] = t
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "trials.jsonl"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return nil, nil, err
	}
	j := &journal{dir: dir, run: run, f: f}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			if _, err := f.Write([]byte("\n")); err != nil { // a crash cut the last line off
				return nil, nil, err
			}
		}
	}
	return j, known, j.writeRun()
}

func (j *journal) add(t Trial) error {
	if j.f == nil {
		return nil
	}
	line, err := jsonnum.Marshal(t)
	if err != nil {
		return err
	}
	if _, err := j.f.Write(append(line, '\n')); err != nil {
		return err
	}
	return j.f.Sync()
}

// keep makes what was added to the run durable.
func (j *journal) keep() error {
	if j.f == nil {
		return nil
	}
	return j.writeRun()
}

func (j *journal) finish(stoppedBy string, choices []Choice) error {
	if j.f == nil {
		return nil
	}
	j.run.StoppedBy, j.run.Choices = stoppedBy, choices
	return errors.Join(j.writeRun(), j.f.Close())
}

// writeRun replaces run.json in one step.
func (j *journal) writeRun() error {
	data, err := jsonnum.MarshalIndent(j.run)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(j.dir, "run.json"), data, []byte("\n"))
}

// LoadRun reads a run's directory. A last line cut off by a crash is left out.
func LoadRun(dir string) (Record, error) {
	var run Record
	data, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		return run, err
	}
	if err := jsonnum.Unmarshal(data, &run); err != nil {
		return run, fmt.Errorf("%w: %s: %v", ErrRun, dir, err)
	}
	lines, err := os.ReadFile(filepath.Join(dir, "trials.jsonl"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return run, err
	}
	at := map[string]int{} // a recipe that was measured again is there twice
	sc := bufio.NewScanner(bytes.NewReader(lines))
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var t Trial
		if jsonnum.Unmarshal(sc.Bytes(), &t) != nil {
			continue
		}
		if i, ok := at[t.Recipe.String()]; ok {
			run.Trials[i] = t
			continue
		}
		at[t.Recipe.String()] = len(run.Trials)
		run.Trials = append(run.Trials, t)
	}
	return run, sc.Err()
}

// Runs lists the runs under a directory, the newest first.
func Runs(root string) ([]Record, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var runs []Record
	for _, e := range entries {
		if run, err := LoadRun(filepath.Join(root, e.Name())); err == nil {
			run.ID = e.Name()
			runs = append(runs, run)
		}
	}
	slices.SortFunc(runs, func(a, b Record) int { return b.Started.Compare(a.Started) })
	return runs, nil
}

// RunDir names the directory of a new run.
func RunDir(root, model string, now time.Time) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, model)
	return filepath.Join(root, now.UTC().Format("20060102-150405.000")+"-"+strings.Trim(clean, "."))
}

// newRecord describes a run before it starts.
func newRecord(o Options) Record {
	c := o.Calibration
	return Record{ID: filepath.Base(o.RunDir), Model: o.Source.Ref, Started: time.Now(), Goal: o.Goal, Out: o.Out, Request: o.Request,
		Fingerprint: fingerprint("run 4", quant.MethodsVersion, o.Source.Hash(), o.Eval.Text.SHA256, o.Eval.Ctx, o.Eval.Chunks, c.SHA256, c.Seed, c.Samples, c.Length,
			o.Space, o.Fused, o.Goal, o.MaxBPW, o.MaxBytes, o.MinTPS, o.MaxRSS)}
}

// FindRun returns the directory of the newest run under root that has the same
// options, its time, its output and the number of trials aside: Run goes on
// where that one stopped.
func FindRun(root string, o Options) (string, bool) {
	if o.validate() != nil {
		return "", false
	}
	want := newRecord(o).Fingerprint
	runs, err := Runs(root)
	if err != nil {
		return "", false
	}
	for _, r := range runs {
		if r.Fingerprint == want {
			return filepath.Join(root, r.ID), true
		}
	}
	return "", false
}
