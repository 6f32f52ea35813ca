package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"nibble/model"
	"nibble/model/gguf"
	"nibble/model/output"
)

// Event is anything an export reports while it runs.
type Event interface{ EventName() string }

// Listener receives events; it must not block. It may be nil.
type Listener func(Event)

// Progress reports a tensor in work, several times if it is large.
type Progress struct {
	Stage  string `json:"stage"` // "writing" or "checking"
	Tensor string `json:"tensor"`
	Done   int64  `json:"done"` // bytes of float32 values, of all tensors
	Total  int64  `json:"total"`
}

// EventName implements Event.
func (Progress) EventName() string { return "export_progress" }

// Options says what to export.
type Options struct {
	Source *model.Checkpoint
	Out    string        // the file or directory to write; must not exist
	Claim  *output.Claim // of Out, if the caller has it
	Format string        // one of Formats; "" is gguf
	Type   string        // one of Types, or in directories of FloatTypes; "" is Auto
}

// Result is what was written and how it compares with the source.
type Result struct {
	Path string `json:"path"`
	*Plan
	Tensors    int     `json:"tensors"`
	MaxAbsDiff float64 `json:"max_abs_diff"` // the largest difference of a weight, as read back
	WorstName  string  `json:"worst_tensor,omitempty"`
	Exact      bool    `json:"exact"` // every weight read back is the source's
	Seconds    float64 `json:"seconds"`
}

// Run writes opts.Out. The file appears under its name when it is whole, durable
// and compared with the source; a run that fails or is cancelled leaves nothing.
func Run(ctx context.Context, opts Options, listener Listener) (Result, error) {
	start := time.Now()
	if opts.Type == "" {
		opts.Type = Auto
	}
	if opts.Format != "" && opts.Format != "gguf" {
		return runDirectory(ctx, opts, listener)
	}
	plan, err := NewPlan(opts.Source, opts.Type)
	if err != nil {
		return Result{}, err
	}
	at := opts.Claim
	if at == nil {
		if at, err = output.Take(opts.Out, output.File); err != nil {
			return Result{}, err
		}
		defer at.Release()
	}
	if err := errors.Join(at.Clear(), at.Room(plan.SizeBytes)); err != nil {
		return Result{}, err
	}
	r := &run{ctx: ctx, ck: opts.Source, plan: plan, listener: listener}
	res := Result{Path: opts.Out, Plan: plan, Tensors: len(plan.layout.Tensors)}
	defer at.Clear() //nolint:errcheck // what cannot be removed is, the next time
	f, err := os.OpenFile(filepath.Join(at.Work(), outputName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w: %v", opts.Out, output.ErrUnwritable, err)
	}
	defer f.Close()
	err = opts.Source.Guard(func() error {
		if err := r.write(f); err != nil {
			return fmt.Errorf("%s: %w", opts.Out, err)
		}
		if err := r.compare(f, &res); err != nil {
			return fmt.Errorf("%s: reading it back: %w", opts.Out, err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("%s: %w: %v", opts.Out, output.ErrUnwritable, err)
		}
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	if r.extreme > 0 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("%d rows of Q8_0 hold the code -128, which GGUF's own quantizer never writes and not every program reads right: check its output", r.extreme))
	}
	if err := f.Close(); err != nil {
		return Result{}, fmt.Errorf("%s: %w: %v", opts.Out, output.ErrUnwritable, err)
	}
	if err := at.Publish(outputName); err != nil {
		return Result{}, err
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// outputName is the file in the work directory that becomes the output.
const outputName = "output.gguf"

// run is the state of one pass over the tensors at a time.
type run struct {
	ctx      context.Context
	ck       *model.Checkpoint
	plan     *Plan
	listener Listener

	stage   string
	current int // tensor; -1 before the first
	rows    reader
	extreme int // rows of Q8_0 with a code of -128
	done    int64
	told    time.Time
}

func (r *run) begin(stage string) {
	r.stage, r.current, r.done, r.told, r.rows.ck = stage, -1, 0, time.Now(), r.ck
}

// tensor makes a tensor the current one.
func (r *run) tensor(i int) (*tensor, error) {
	if i != r.current {
		r.current = i
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
	}
	return r.plan.tensors[i], nil
}

// tell reports progress a few times a second.
func (r *run) tell(cols int) error {
	r.done += 4 * int64(cols)
	if now := time.Now(); now.Sub(r.told) > 100*time.Millisecond || r.done == r.plan.work {
		r.told = now
		if r.listener != nil {
			r.listener(Progress{r.stage, r.plan.layout.Tensors[r.current].Name, r.done, r.plan.work})
		}
		return r.ctx.Err()
	}
	return nil
}

func (r *run) write(w io.Writer) error {
	r.begin("writing")
	defer r.rows.release()
	var values []float32
	return r.plan.layout.Write(w, func(dst []byte, i, row int) error {
		from, err := r.tensor(i)
		if err != nil {
			return err
		}
		t := r.plan.layout.Tensors[i]
		if t.Type.Block() > 1 {
			q, at, err := r.rows.encode(dst, from, row, t.Type)
			if err != nil {
				return fmt.Errorf("%s: %w", from.of(row), err)
			}
			if t.Type == gguf.Q8_0 && q.Scheme.Bits == 8 && slices.Contains(q.Codes[at*q.RowBytes():][:t.Cols()], 0) {
				r.extreme++
			}
			return r.tell(t.Cols())
		}
		values = grow(values, t.Cols())
		err = r.rows.row(values, from, row)
		if err == nil {
			err = checkFinite(values)
		}
		if err == nil {
			err = gguf.EncodeFloats(dst, values, t.Type)
		}
		if err != nil {
			return fmt.Errorf("%s: row %d: %w", from.of(row), row, err)
		}
		return r.tell(t.Cols())
	})
}

// of names what a row is made of.
func (t *tensor) of(row int) string {
	if len(t.pieces) == 0 {
		return t.name
	}
	if t.values != nil {
		return t.pieces[0].name
	}
	p, _ := t.find(row)
	return p.name
}

// compare reads the file and holds every weight against the source's.
func (r *run) compare(f *os.File, res *Result) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file, err := gguf.Read(f, info.Size())
	if err != nil {
		return err
	}
	read, err := gguf.NewLayout(file.KVs, file.Tensors)
	if err != nil {
		return err
	}
	if !bytes.Equal(read.Header, r.plan.layout.Header) {
		return fmt.Errorf("%w: its keys or tensors are not those that were written", gguf.ErrCorrupt)
	}
	r.begin("checking")
	defer r.rows.release()
	var want []float32
	for i, t := range file.Tensors {
		from, err := r.tensor(i)
		if err != nil {
			return err
		}
		want = grow(want, t.Cols())
		err = file.Rows(t, func(row int, got []float32) error {
			if err := r.rows.row(want, from, row); err != nil {
				return err
			}
			for k, v := range want {
				if got[k] == v {
					continue
				}
				d := math.Abs(float64(got[k]) - float64(v))
				if math.IsNaN(d) {
					return fmt.Errorf("%s: row %d: %w", from.of(row), row, model.ErrNotFinite)
				}
				if d > res.MaxAbsDiff {
					res.MaxAbsDiff, res.WorstName = d, from.of(row)
				}
			}
			return r.tell(len(got))
		})
		if err != nil {
			return err
		}
	}
	res.Exact = res.MaxAbsDiff == 0
	return nil
}

func grow(b []float32, n int) []float32 {
	if cap(b) < n {
		return make([]float32, n)
	}
	return b[:n]
}

func checkFinite(values []float32) error {
	for i, v := range values {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return fmt.Errorf("%w: column %d is %v; the checkpoint is damaged", model.ErrNotFinite, i, v)
		}
	}
	return nil
}
