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

	"nibble/kernels"
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
	Out    string        // the file to write; must not exist
	Claim  *output.Claim // of Out, if the caller has it
	Type   string        // one of Types; "" is Auto
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
	rows    rows
	extreme int // rows of Q8_0 with a code of -128
	done    int64
	told    time.Time
}

// rows gives the rows of one tensor as the source has them: exactly one of the
// fields is set.
type rows struct {
	q      *kernels.QTensor
	float  *model.Tensor
	values []float32
}

func (r *run) begin(stage string) {
	r.stage, r.current, r.done, r.told = stage, -1, 0, time.Now()
}

// tensor makes a tensor the current one.
func (r *run) tensor(i int) error {
	if i == r.current {
		return nil
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	r.release()
	s := r.plan.sources[i]
	r.current, r.rows = i, rows{values: s.values}
	switch {
	case s.q != nil:
		w, err := r.ck.Weight(*s.q)
		if err != nil {
			return err
		}
		r.rows.q = w.Q
	case s.values == nil:
		t, err := r.ck.Tensor(s.name)
		if err != nil {
			return err
		}
		r.rows.float = &t
	}
	return nil
}

// release gives the current tensor's memory back.
func (r *run) release() {
	if r.current < 0 {
		return
	}
	if s := r.plan.sources[r.current]; s.q != nil {
		r.ck.ReleaseWeight(*s.q)
	} else if s.values == nil {
		r.ck.Release(s.name)
	}
}

// sourceRow returns the source's row for row i of the current tensor.
func (r *run) sourceRow(i int) int {
	if headDim := r.plan.sources[r.current].headDim; headDim > 0 {
		return pairedRow(i, headDim)
	}
	return i
}

// floats decodes the current tensor's row i, in the file's order.
func (r *run) floats(dst []float32, i int) {
	switch i = r.sourceRow(i); {
	case r.rows.q != nil:
		r.rows.q.DequantRow(dst, i)
	case r.rows.float != nil:
		size := r.rows.float.DType.Size()
		kernels.DecodeFloats(dst, r.rows.float.Data[i*len(dst)*size:], r.rows.float.DType)
	default:
		copy(dst, r.rows.values[i*len(dst):])
	}
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
	var values []float32
	err := r.plan.layout.Write(w, func(dst []byte, i, row int) error {
		if err := r.tensor(i); err != nil {
			return err
		}
		t := r.plan.layout.Tensors[i]
		if t.Type.Block() > 1 {
			if err := gguf.EncodeQuant(dst, r.rows.q, r.sourceRow(row), t.Type); err != nil {
				return fmt.Errorf("%s: %w", r.plan.sources[i].name, err)
			}
			if t.Type == gguf.Q8_0 && r.rows.q.Scheme.Bits == 8 && slices.Contains(r.rows.q.Codes[r.sourceRow(row)*r.rows.q.RowBytes():][:t.Cols()], 0) {
				r.extreme++
			}
			return r.tell(t.Cols())
		}
		values = grow(values, t.Cols())
		r.floats(values, row)
		if err := checkFinite(values); err != nil {
			return fmt.Errorf("%s: row %d: %w", r.plan.sources[i].name, row, err)
		}
		if err := gguf.EncodeFloats(dst, values, t.Type); err != nil {
			return fmt.Errorf("%s: row %d: %w", r.plan.sources[i].name, row, err)
		}
		return r.tell(t.Cols())
	})
	r.release()
	return err
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
	var want []float32
	for i, t := range file.Tensors {
		if err := r.tensor(i); err != nil {
			return err
		}
		want = grow(want, t.Cols())
		err := file.Rows(t, func(row int, got []float32) error {
			r.floats(want, row)
			for k, v := range want {
				if got[k] == v {
					continue
				}
				d := math.Abs(float64(got[k]) - float64(v))
				if math.IsNaN(d) {
					return fmt.Errorf("%s: row %d: %w", r.plan.sources[i].name, row, model.ErrNotFinite)
				}
				if d > res.MaxAbsDiff {
					res.MaxAbsDiff, res.WorstName = d, r.plan.sources[i].name
				}
			}
			return r.tell(len(got))
		})
		if err != nil {
			return err
		}
	}
	r.release()
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
