package quant

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"nibble/kernels"
	"nibble/kernels/durable"
	"nibble/kernels/panics"
	"nibble/model"
	"nibble/model/jsonnum"
	"nibble/model/output"
)

// ErrOtherRun reports a target whose unfinished run had other arguments.
var ErrOtherRun = errors.New("an unfinished run with other arguments is kept there")

// Unfinished is the error of a run that ended early and can go on: Run with the
// same options does only what is left.
type Unfinished struct {
	Work        string // where what is finished is kept
	Done, Total int    // matrices
	Err         error  // why it ended
}

// Error implements error.
func (u *Unfinished) Error() string {
	why := u.Err.Error()
	if errors.Is(u.Err, context.Canceled) {
		why = "interrupted"
	}
	if u.Done == 0 {
		return fmt.Sprintf("%s; what was trained is kept in %s: the same command goes on from there", why, u.Work)
	}
	return fmt.Sprintf("%s; %d of %d matrices are done and kept in %s: the same command goes on from there", why, u.Done, u.Total, u.Work)
}

// Unwrap implements errors.Unwrap.
func (u *Unfinished) Unwrap() error { return u.Err }

// MethodsVersion changes with anything that changes what a method writes: what
// another version began cannot be finished by this one.
const MethodsVersion = 5

// fingerprint is everything that the bytes of a result depend on.
type fingerprint struct {
	Version     int          `json:"version"` // of the methods
	Source      string       `json:"source"`  // SHA-256
	Recipe      string       `json:"recipe"`
	Calibration *Calibration `json:"calibration,omitempty"`
	Kernels     string       `json:"kernels,omitempty"` // the tier whose sums of floats a calibration depends on
}

// differences says in words how a run that is there differs from this one.
func (f fingerprint) differences(now fingerprint) []string {
	var out []string
	add := func(what string, there, here any) {
		if there != here {
			out = append(out, fmt.Sprintf("%s (there %v, now %v)", what, there, here))
		}
	}
	add("version of the methods", f.Version, now.Version)
	add("model's SHA-256", short(f.Source), short(now.Source))
	add("recipe", f.Recipe, now.Recipe)
	a, b := f.Calibration, now.Calibration
	switch {
	case (a == nil) != (b == nil):
		out = append(out, "calibration")
	case a != nil:
		if a.SHA256 != b.SHA256 { // whatever it is called
			add("calibration text", fmt.Sprintf("%s, SHA-256 %s", a.Name, short(a.SHA256)), fmt.Sprintf("%s, SHA-256 %s", b.Name, short(b.SHA256)))
		}
		add("number of samples", a.Samples, b.Samples)
		add("length of a sample", a.Length, b.Length)
		add("seed", a.Seed, b.Seed)
	}
	add("kernels", f.Kernels, now.Kernels)
	return out
}

func short(hash string) string { return hash[:min(12, len(hash))] }

// record is a line of the journal. Each is one of: the fingerprint, which comes
// first, a matrix or a tensor that is on disk, the end of a stage.
type record struct {
	Fingerprint *fingerprint      `json:"fingerprint,omitempty"`
	Name        string            `json:"name,omitempty"`
	Line        *ModuleReport     `json:"line,omitempty"`
	Sums        map[string]uint32 `json:"sums,omitempty"`
	Stage       *stageRecord      `json:"stage,omitempty"`
}

type stageRecord struct {
	Layer    int      `json:"layer"`
	Replaced []string `json:"replaced,omitempty"`
}

// journal is the sink of a run on disk. Tensors go to the writer's file; once
// they are durable there, a line for each goes to journal.jsonl beside it, which
// an interrupted run is continued from. That happens behind the back of the pass,
// so that it never waits for a disk.
type journal struct {
	w   *model.Writer
	log *durable.Log

	known  map[string]record // of an earlier run, by name
	stages map[int]stageRecord
	before int // matrices of an earlier run that are there
	lost   int // and that were not as they should be

	mu      sync.Mutex
	wake    *sync.Cond
	pending []record
	closing bool
	follow  *panics.Goroutine
	err     error
	done    int // matrices that are durable
	states  bool
}

// finishedBefore returns the report of a directory that a run with the same
// arguments completed, if its weights are as they were written. "" is none.
func finishedBefore(out string, now fingerprint) (Report, bool) {
	if out == "" {
		return Report{}, false
	}
	report, err := ReadReport(out)
	if err != nil {
		return Report{}, false
	}
	there := fingerprint{report.Version, report.SourceSHA256, report.Recipe.String(), report.Calibration, report.Kernels}
	if len(there.differences(now)) > 0 {
		return report, false
	}
	return report, report.Holds(out)
}

// Holds reports whether the weights in a directory are those that the report is of.
func (r Report) Holds(dir string) bool {
	ck, err := model.Open(dir)
	if err != nil {
		return false
	}
	defer ck.Close()
	sum := ""
	err = ck.Guard(func() error { sum = ck.Checksum(); return nil })
	return err == nil && sum == r.Weights
}

const journalName = "journal.jsonl"

// openJournal starts a run in the work directory of its output, or continues the one
// that is there.
func openJournal(at *output.Claim, src *model.Checkpoint, schemes map[string]kernels.Scheme, now fingerprint) (*journal, error) {
	there := readJournal(at.Work())
	if len(there) == 0 { // nothing that could be continued
		if err := at.Clear(); err != nil {
			return nil, err
		}
	} else if diff := there[0].Fingerprint.differences(now); len(diff) > 0 {
		return nil, fmt.Errorf("%s: %w: its %s differs; give the same arguments to go on, another directory, or --restart to start over",
			at.Path, ErrOtherRun, strings.Join(diff, ", its "))
	}
	w, err := model.Create(at, src, schemes)
	if err != nil {
		return nil, err
	}
	j := &journal{w: w, known: map[string]record{}, stages: map[int]stageRecord{}}
	j.wake = sync.NewCond(&j.mu)
	if err := j.start(there, now); err != nil {
		w.Abort()
		return nil, fmt.Errorf("%s: %w: %v", at.Path, output.ErrUnwritable, err)
	}
	j.follow = panics.Go(j.persist)
	return j, nil
}

// start takes over what is intact of an earlier run and writes the journal anew
// with that alone.
func (j *journal) start(there []record, now fingerprint) error {
	kept := []record{{Fingerprint: &now}}
	for _, r := range there {
		switch {
		case r.Stage != nil:
			j.stages[r.Stage.Layer] = *r.Stage
			kept = append(kept, r)
		case r.Name == "":
		case j.w.Reuse(r.Name, r.Sums):
			if _, twice := j.known[r.Name]; r.Line != nil && !twice {
				j.before++
			}
			j.known[r.Name] = r
			kept = append(kept, r)
		default:
			j.lost++
		}
	}
	j.done = j.before
	next := filepath.Join(j.w.Work(), journalName+".new")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var err error
	if j.log, err = durable.OpenLog(next); err != nil {
		return err
	}
	if err := j.write(kept); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(j.w.Work(), journalName)); err != nil {
		return err
	}
	return durable.SyncDir(j.w.Work())
}

// write appends records and makes them durable.
func (j *journal) write(records []record) error {
	var lines [][]byte
	for _, r := range records {
		line, err := jsonnum.Marshal(r)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	if err := errors.Join(j.log.Add(lines...), j.log.Sync()); err != nil {
		return fmt.Errorf("%w: %v", output.ErrUnwritable, err)
	}
	return nil
}

// maxJournal bounds a journal, which has some hundred bytes for a matrix.
const maxJournal = 256 << 20

// readJournal returns the intact lines of a journal, of which the first is the
// fingerprint; none if that is damaged or there is no journal. What a damaged line
// was about is done again.
func readJournal(work string) []record {
	lines, err := durable.ReadLog(filepath.Join(work, journalName), maxJournal)
	if err != nil {
		return nil
	}
	var out []record
	for i, line := range lines {
		var r record
		if jsonnum.Unmarshal(line, &r) != nil || i == 0 && r.Fingerprint == nil {
			return nil
		}
		out = append(out, r)
	}
	return out
}

// persist makes what is pending durable, first the tensors, then their lines.
func (j *journal) persist() {
	for {
		j.mu.Lock()
		for len(j.pending) == 0 && !j.closing {
			j.wake.Wait()
		}
		batch := j.pending
		j.pending = nil
		j.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		err := j.w.Sync()
		if err == nil {
			err = j.write(batch)
		}
		j.mu.Lock()
		for _, r := range batch {
			if r.Line != nil && err == nil {
				j.done++
			}
		}
		j.err = errors.Join(j.err, err)
		j.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// add journals a record once everything written so far is durable.
func (j *journal) add(r record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = append(j.pending, r)
	j.wake.Signal()
	return j.err
}

// close waits until everything is durable. It may be called again.
func (j *journal) close() error {
	j.mu.Lock()
	again := j.closing
	j.closing = true
	j.wake.Signal()
	j.mu.Unlock()
	j.follow.Wait()
	if !again {
		j.err = errors.Join(j.err, j.log.Close())
	}
	return j.err
}

func (j *journal) putQ(m model.Module, q *kernels.QTensor, line ModuleReport) error {
	if err := j.w.PutQ(m.Name, q); err != nil {
		return err
	}
	return j.add(record{Name: m.Name, Line: &line, Sums: j.w.Sums(m.Name)})
}

func (j *journal) putFloats(name string, v []float32) error {
	if err := j.w.PutFloats(name, v); err != nil {
		return err
	}
	return j.add(record{Name: name, Sums: j.w.Sums(name)})
}

func (j *journal) endStage(layer int, replaced []string) error {
	return j.add(record{Stage: &stageRecord{layer, replaced}})
}

func (j *journal) line(m model.Module) (ModuleReport, bool) {
	r, ok := j.known[m.Name]
	if !ok || r.Line == nil {
		return ModuleReport{}, false
	}
	return *r.Line, true
}

func (j *journal) q(m model.Module) (*kernels.QTensor, error) { return j.w.Q(m) }

func (j *journal) replaced(layer int) ([]string, bool) {
	s, ok := j.stages[layer]
	for _, name := range s.Replaced {
		if _, there := j.known[name]; !there {
			return nil, false
		}
	}
	return s.Replaced, ok
}

func (j *journal) floats(name string) ([]float32, error) { return j.w.Floats(name) }

// statePath is where a state is kept: a checksum, and the state.
func (j *journal) statePath(name string) string { return filepath.Join(j.w.Work(), "state-"+name) }

func (j *journal) keep(name string, data []byte) error {
	sum := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
	if err := durable.WriteFile(j.statePath(name), sum, data); err != nil {
		return fmt.Errorf("%w: %v", output.ErrUnwritable, err)
	}
	j.states = true
	return nil
}

func (j *journal) kept(name string) ([]byte, bool) {
	data, err := os.ReadFile(j.statePath(name))
	if err != nil || len(data) < 4 || binary.LittleEndian.Uint32(data) != crc32.ChecksumIEEE(data[4:]) {
		return nil, false // none, or damaged: the work is done again
	}
	j.states = true
	return data[4:], true
}

// commit makes the directory of what was put.
func (j *journal) commit(r Recipe, report Report) error {
	if err := j.close(); err != nil {
		return err
	}
	if err := j.w.Complete(); err != nil {
		return err
	}
	report.Weights = j.w.Checksum()
	for name, v := range map[string]any{"recipe.json": r, "report.json": report} {
		data, err := jsonnum.MarshalIndent(v)
		if err != nil {
			return err
		}
		if err := j.w.PutFile(name, append(data, '\n')); err != nil {
			return err
		}
	}
	return j.w.Commit()
}

// leave ends a run that failed: what is finished is kept if the same run can go
// on from it, and nothing otherwise.
func (j *journal) leave(err error, total int) error {
	if closing := j.close(); closing != nil && !errors.Is(err, closing) {
		err = errors.Join(err, closing)
	}
	if j.done == 0 && !j.states || !resumable(err) {
		j.w.Abort()
		return err
	}
	work := j.w.Work()
	j.w.Keep()
	return &Unfinished{Work: work, Done: j.done, Total: total, Err: err}
}

// resumable reports whether the same run could get further another time.
func resumable(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, output.ErrUnwritable)
}
