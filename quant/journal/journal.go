package journal

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
	"nibble/quant/pass"
	"nibble/quant/recipe"
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

// Record is a line of the journal. Each is one of: the fingerprint, which comes
// first, a matrix or a tensor that is on disk, the end of a stage.
type Record struct {
	Fingerprint *Fingerprint       `json:"fingerprint,omitempty"`
	Name        string             `json:"name,omitempty"`
	Line        *pass.ModuleReport `json:"line,omitempty"`
	Sums        map[string]uint32  `json:"sums,omitempty"`
	Stage       *stageRecord       `json:"stage,omitempty"`
}

type stageRecord struct {
	Layer    int      `json:"layer"`
	Replaced []string `json:"replaced,omitempty"`
}

// Journal is the sink of a run on disk. Tensors go to the writer's file; once
// they are durable there, a line for each goes to journal.jsonl beside it, which
// an interrupted run is continued from. That happens behind the back of the pass,
// so that it never waits for a disk.
type Journal struct {
	Writer *model.Writer
	log    *durable.Log

	known  map[string]Record // of an earlier run, by name
	stages map[int]stageRecord
	Before int // matrices of an earlier run that are there
	Lost   int // and that were not as they should be

	mu      sync.Mutex
	wake    *sync.Cond
	pending []Record
	closing bool
	follow  *panics.Goroutine
	err     error
	done    int // matrices that are durable
	states  bool
}

// FileName is the journal's, in the work directory.
const FileName = "journal.jsonl"

// OpenJournal starts a run in the work directory of its output, or continues the one
// that is there.
func OpenJournal(at *output.Claim, src *model.Checkpoint, schemes map[string]kernels.Scheme, now Fingerprint) (*Journal, error) {
	there := ReadJournal(at.Work())
	if len(there) == 0 { // nothing that could be continued
		if err := at.Clear(); err != nil {
			return nil, err
		}
	} else if diff := there[0].Fingerprint.Differences(now); len(diff) > 0 {
		return nil, fmt.Errorf("%s: %w: its %s differs; give the same arguments to go on, another directory, or --restart to start over",
			at.Path, ErrOtherRun, strings.Join(diff, ", its "))
	}
	w, err := model.Create(at, src, schemes)
	if err != nil {
		return nil, err
	}
	j := &Journal{Writer: w, known: map[string]Record{}, stages: map[int]stageRecord{}}
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
func (j *Journal) start(there []Record, now Fingerprint) error {
	kept := []Record{{Fingerprint: &now}}
	for _, r := range there {
		switch {
		case r.Stage != nil:
			j.stages[r.Stage.Layer] = *r.Stage
			kept = append(kept, r)
		case r.Name == "":
		case j.Writer.Reuse(r.Name, r.Sums):
			if _, twice := j.known[r.Name]; r.Line != nil && !twice {
				j.Before++
			}
			j.known[r.Name] = r
			kept = append(kept, r)
		default:
			j.Lost++
		}
	}
	j.done = j.Before
	next := filepath.Join(j.Writer.Work(), FileName+".new")
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
	if err := os.Rename(next, filepath.Join(j.Writer.Work(), FileName)); err != nil {
		return err
	}
	return durable.SyncDir(j.Writer.Work())
}

// write appends records and makes them durable.
func (j *Journal) write(records []Record) error {
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

// ReadJournal returns the intact lines of a journal, of which the first is the
// fingerprint; none if that is damaged or there is no journal. What a damaged line
// was about is done again.
func ReadJournal(work string) []Record {
	lines, err := durable.ReadLog(filepath.Join(work, FileName), maxJournal)
	if err != nil {
		return nil
	}
	var out []Record
	for i, line := range lines {
		var r Record
		if jsonnum.Unmarshal(line, &r) != nil || i == 0 && r.Fingerprint == nil {
			return nil
		}
		out = append(out, r)
	}
	return out
}

// persist makes what is pending durable, first the tensors, then their lines.
func (j *Journal) persist() {
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
		err := j.Writer.Sync()
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
func (j *Journal) add(r Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = append(j.pending, r)
	j.wake.Signal()
	return j.err
}

// close waits until everything is durable. It may be called again.
func (j *Journal) close() error {
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

// PutQ implements pass.Sink.
func (j *Journal) PutQ(m model.Module, q *kernels.QTensor, line pass.ModuleReport) error {
	if err := j.Writer.PutQ(m.Name, q); err != nil {
		return err
	}
	return j.add(Record{Name: m.Name, Line: &line, Sums: j.Writer.Sums(m.Name)})
}

// PutFloats implements pass.Sink.
func (j *Journal) PutFloats(name string, v []float32) error {
	if err := j.Writer.PutFloats(name, v); err != nil {
		return err
	}
	return j.add(Record{Name: name, Sums: j.Writer.Sums(name)})
}

// EndStage implements pass.Sink.
func (j *Journal) EndStage(layer int, replaced []string) error {
	return j.add(Record{Stage: &stageRecord{layer, replaced}})
}

// Line implements pass.Sink.
func (j *Journal) Line(m model.Module) (pass.ModuleReport, bool) {
	r, ok := j.known[m.Name]
	if !ok || r.Line == nil {
		return pass.ModuleReport{}, false
	}
	return *r.Line, true
}

// Q implements pass.Sink.
func (j *Journal) Q(m model.Module) (*kernels.QTensor, error) { return j.Writer.Q(m) }

// Replaced implements pass.Sink.
func (j *Journal) Replaced(layer int) ([]string, bool) {
	s, ok := j.stages[layer]
	for _, name := range s.Replaced {
		if _, there := j.known[name]; !there {
			return nil, false
		}
	}
	return s.Replaced, ok
}

// Floats implements pass.Sink.
func (j *Journal) Floats(name string) ([]float32, error) { return j.Writer.Floats(name) }

// StatePath is where a state is kept: a checksum, and the state.
func (j *Journal) StatePath(name string) string { return filepath.Join(j.Writer.Work(), "state-"+name) }

// Keep implements pass.Sink.
func (j *Journal) Keep(name string, data []byte) error {
	sum := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
	if err := durable.WriteFile(j.StatePath(name), sum, data); err != nil {
		return fmt.Errorf("%w: %v", output.ErrUnwritable, err)
	}
	j.states = true
	return nil
}

// Kept implements pass.Sink.
func (j *Journal) Kept(name string) ([]byte, bool) {
	data, err := os.ReadFile(j.StatePath(name))
	if err != nil || len(data) < 4 || binary.LittleEndian.Uint32(data) != crc32.ChecksumIEEE(data[4:]) {
		return nil, false // none, or damaged: the work is done again
	}
	j.states = true
	return data[4:], true
}

// Commit makes the directory of what was put.
func (j *Journal) Commit(r recipe.Recipe, report Report) error {
	if err := j.close(); err != nil {
		return err
	}
	if err := j.Writer.Complete(); err != nil {
		return err
	}
	report.Weights = j.Writer.Checksum()
	for name, v := range map[string]any{"recipe.json": r, "report.json": report} {
		data, err := jsonnum.MarshalIndent(v)
		if err != nil {
			return err
		}
		if err := j.Writer.PutFile(name, append(data, '\n')); err != nil {
			return err
		}
	}
	return j.Writer.Commit()
}

// Leave ends a run that failed: what is finished is kept if the same run can go
// on from it, and nothing otherwise.
func (j *Journal) Leave(err error, total int) error {
	if closing := j.close(); closing != nil && !errors.Is(err, closing) {
		err = errors.Join(err, closing)
	}
	if j.done == 0 && !j.states || !resumable(err) {
		j.Writer.Abort()
		return err
	}
	work := j.Writer.Work()
	j.Writer.Keep()
	return &Unfinished{Work: work, Done: j.done, Total: total, Err: err}
}

// resumable reports whether the same run could get further another time.
func resumable(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, output.ErrUnwritable)
}
