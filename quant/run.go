package quant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
)

// ErrQuantized reports a source that is quantized already.
var ErrQuantized = errors.New("the model is quantized already")

// Event is anything quantization reports while it runs.
type Event interface{ EventName() string }

// Listener receives events; it must not block. It may be nil.
type Listener func(Event)

func (l Listener) send(e Event) {
	if l != nil {
		l(e)
	}
}

// Started opens a run.
type Started struct {
	Recipe  string `json:"recipe"`
	Modules int    `json:"modules"` // matrices that will be quantized
	Params  int64  `json:"params"`  // weights in them
}

// ModuleDone reports a finished matrix.
type ModuleDone struct {
	Module string `json:"module"`
	Spec   string `json:"spec"`
	Stats
	Done       int   `json:"done"`
	Total      int   `json:"total"`
	DoneParams int64 `json:"done_params"`
	Params     int64 `json:"params"`
}

// Progress reports a matrix in work, at least once each.
type Progress struct {
	Module     string  `json:"module"`
	DoneParams int64   `json:"done_params"` // of all matrices
	Params     int64   `json:"params"`
	Seconds    float64 `json:"seconds"`
	Estimate   float64 `json:"eta_seconds"`
}

// EventName implements Event.
func (Progress) EventName() string { return "quantize_progress" }

// EventName implements Event.
func (Started) EventName() string { return "quantize_started" }

// EventName implements Event.
func (ModuleDone) EventName() string { return "quantize_module" }

// ModuleReport is a matrix's line in the report.
type ModuleReport struct {
	Module string `json:"module"`
	Spec   string `json:"spec"`
	Bytes  int64  `json:"bytes"`
	Note   string `json:"note,omitempty"`
	Stats
}

// Report says what was done; it is saved as report.json.
type Report struct {
	Source       string         `json:"source"`
	SourceSHA256 string         `json:"source_sha256"`
	Recipe       Recipe         `json:"recipe"`
	SizeBytes    int64          `json:"size_bytes"`
	BPW          float64        `json:"bpw"`
	Modules      []ModuleReport `json:"modules"`
	Calibration  *Calibration   `json:"calibration,omitempty"`
	Evaluation   any            `json:"evaluation,omitempty"` // what the caller measured
}

// Options configures Run.
type Options struct {
	Engine *kernels.Engine
	Source *model.Checkpoint
	Recipe Recipe
	Out    string // directory to make; it must not exist or be empty

	Calibration *Calibration // for the methods that need one; NewCalibration's defaults if nil
	Evaluation  any          // added to the report
}

// Result is a finished run.
type Result struct {
	Path      string  `json:"path"`
	SizeBytes int64   `json:"size_bytes"`
	BPW       float64 `json:"bpw"`
	Seconds   float64 `json:"seconds"`
	Report    Report  `json:"-"`
}

// check refuses what cannot be quantized.
func check(ck *model.Checkpoint, r Recipe) error {
	if ck.Quantized {
		return fmt.Errorf("%s: %w: give the float model it was made from", ck.Ref, ErrQuantized)
	}
	if err := r.Validate(); err != nil {
		return err
	}
	return r.CheckFor(ck.Config)
}

// Schemes returns the storage schemes a recipe gives the matrices of a model;
// kept ones are not listed.
func Schemes(c model.Config, r Recipe) map[string]kernels.Scheme {
	schemes := make(map[string]kernels.Scheme)
	for _, m := range c.Modules() {
		if s := r.For(m); !s.Kept() {
			schemes[m.Name] = s.Scheme()
		}
	}
	return schemes
}

// Run quantizes a checkpoint into a directory. Cancelling ctx, or any error,
// leaves nothing behind.
func Run(ctx context.Context, o Options, l Listener) (Result, error) {
	start := time.Now()
	if err := check(o.Source, o.Recipe); err != nil {
		return Result{}, err
	}
	w, err := model.Create(o.Out, o.Source, Schemes(o.Source.Config, o.Recipe))
	if err != nil {
		return Result{}, err
	}
	defer w.Abort()
	j := job{eng: o.Engine, ck: o.Source, recipe: o.Recipe, calibration: o.Calibration, l: l}
	if o.Recipe.Calibrated(o.Source.Config) {
		if j.base, err = rt.Load(ctx, o.Engine, o.Source); err != nil {
			return Result{}, err
		}
	}
	report, err := j.run(ctx, func(m model.Module, q *kernels.QTensor, _ *kernels.Linear) error {
		o.Source.Release(m.Name + ".weight")
		if q == nil {
			return nil // Commit copies what is kept
		}
		return w.PutQ(m.Name, q)
	})
	if err != nil {
		return Result{}, err
	}
	report.Evaluation = o.Evaluation
	for name, v := range map[string]any{"recipe.json": o.Recipe, "report.json": report} {
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return Result{}, err
		}
		if err := w.PutFile(name, append(data, '\n')); err != nil {
			return Result{}, err
		}
	}
	if err := w.Commit(); err != nil {
		return Result{}, err
	}
	return Result{Path: o.Out, SizeBytes: report.SizeBytes, BPW: report.BPW, Seconds: time.Since(start).Seconds(), Report: report}, nil
}

// Apply quantizes in memory: the same tensors that Run writes, in place of those
// of base, which must be loaded from ck.
func Apply(ctx context.Context, base *rt.Model, ck *model.Checkpoint, r Recipe, l Listener) (*rt.Model, Report, error) {
	if err := check(ck, r); err != nil {
		return nil, Report{}, err
	}
	over := make(map[string]*kernels.Linear)
	j := job{eng: base.Engine, ck: ck, base: base, recipe: r, l: l}
	report, err := j.run(ctx, func(m model.Module, q *kernels.QTensor, lin *kernels.Linear) error {
		if q != nil && lin == nil {
			var err error
			if lin, err = kernels.NewQuantLinear(q); err != nil {
				return err
			}
		}
		if lin != nil {
			over[m.Name] = lin
		}
		return nil
	})
	if err != nil {
		return nil, Report{}, err
	}
	return base.With(over), report, nil
}

// job is the quantization of a checkpoint.
type job struct {
	eng         *kernels.Engine
	ck          *model.Checkpoint
	base        *rt.Model // needed for methods that calibrate
	recipe      Recipe
	calibration *Calibration
	l           Listener
}

// run quantizes the matrices one by one and hands them on: nil for those that
// are kept, packed as well if that was needed.
func (j job) run(ctx context.Context, put func(model.Module, *kernels.QTensor, *kernels.Linear) error) (Report, error) {
	eng, ck, r, l := j.eng, j.ck, j.recipe, j.l
	plan, err := NewPlan(ck, r)
	if err != nil {
		return Report{}, err
	}
	report := Report{Source: ck.Ref, SourceSHA256: ck.Hash(), Recipe: r, SizeBytes: plan.SizeBytes, BPW: plan.BPW}
	var seq *sequence
	if r.Calibrated(ck.Config) {
		if j.calibration == nil {
			if j.calibration, err = NewCalibration(ck, CalibrationOptions{}); err != nil {
				return Report{}, err
			}
		}
		report.Calibration = j.calibration
		if seq, err = newSequence(j.base, j.calibration); err != nil {
			return Report{}, err
		}
	}
	l.send(Started{Recipe: r.String(), Modules: plan.Quantized, Params: plan.QuantizedParams})
	start, done, params := time.Now(), 0, int64(0)
	for _, p := range plan.Modules {
		if err := ctx.Err(); err != nil {
			return Report{}, err
		}
		line := ModuleReport{Module: p.Module.Name, Spec: p.Spec.String(), Bytes: p.Bytes}
		if p.Spec.Kept() {
			if err := ck.CheckFinite(ctx, p.Module.Name+".weight"); err != nil {
				return Report{}, err
			}
			if err := put(p.Module, nil, nil); err != nil {
				return Report{}, err
			}
			report.Modules = append(report.Modules, line)
			continue
		}
		spec := p.Spec
		if spec.Method == GPTQ && inputOf(p.Module.Kind) == "" {
			spec.Method = MSE // looked up row by row, an embedding has no inputs to weigh
			line.Spec, line.Note = spec.String(), "gptq needs inputs that are multiplied; the scales were searched instead"
		}
		step := func(rows int) {
			params += int64(rows) * int64(p.Module.Cols)
			seconds := time.Since(start).Seconds()
			l.send(Progress{p.Module.Name, params, plan.QuantizedParams, seconds, seconds * float64(plan.QuantizedParams-params) / float64(params)})
		}
		var q *kernels.QTensor
		var stats Stats
		if spec.Method == GPTQ {
			q, stats, err = seq.gptq(ctx, ck, p.Module, spec, step)
		} else {
			q, stats, err = one(ctx, eng, ck, p.Module, spec, step)
		}
		if err != nil {
			return Report{}, err
		}
		var lin *kernels.Linear
		if seq != nil {
			if lin, err = kernels.NewQuantLinear(q); err == nil {
				err = seq.put(ctx, p.Module, lin)
			}
			if err != nil {
				return Report{}, err
			}
		}
		if err := put(p.Module, q, lin); err != nil {
			return Report{}, err
		}
		line.Stats = stats
		report.Modules = append(report.Modules, line)
		done++
		l.send(ModuleDone{p.Module.Name, line.Spec, stats, done, plan.Quantized, params, plan.QuantizedParams})
	}
	for _, name := range ck.Config.Norms() {
		if err := ck.CheckFinite(ctx, name); err != nil {
			return Report{}, err
		}
	}
	return report, nil
}

// One quantizes a single matrix of a checkpoint.
func One(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, m model.Module, s Spec) (*kernels.QTensor, Stats, error) {
	if err := checkCalibrated(s); err != nil {
		return nil, Stats{}, err
	}
	return one(ctx, eng, ck, m, s, nil)
}

// one decodes rows as they are quantized: the matrix never exists as floats.
func one(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, m model.Module, s Spec, step func(rows int)) (*kernels.QTensor, Stats, error) {
	t, err := ck.Tensor(m.Name + ".weight")
	if err != nil {
		return nil, Stats{}, err
	}
	width := m.Cols * t.DType.Size()
	q, stats, err := quantize(ctx, eng, m.Rows, m.Cols, s, func(buf []float32, r int) []float32 {
		kernels.DecodeFloats(buf, t.Data[r*width:(r+1)*width], t.DType)
		return buf
	}, step)
	if errors.Is(err, ErrNotFinite) {
		err = fmt.Errorf("%s: tensor %s: %w; the checkpoint is damaged", ck.Ref, t.Name, err)
	}
	return q, stats, err
}
