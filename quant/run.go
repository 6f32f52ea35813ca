package quant

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/jsonnum"
	"nibble/model/output"
	"nibble/model/source"
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

// Resumed reports that a run goes on from an earlier one.
type Resumed struct {
	Modules int `json:"modules"` // matrices that are finished
	Damaged int `json:"damaged"` // of what was kept, and is made again
}

// EventName implements Event.
func (Resumed) EventName() string { return "quantize_resumed" }

// ModuleDone reports a finished matrix.
type ModuleDone struct {
	Module string `json:"module"`
	Spec   string `json:"spec"`
	Note   string `json:"note,omitempty"` // where the method could not do all it does
	Stats
	Restored   bool  `json:"restored,omitempty"` // an earlier run finished it
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
	Silent int    `json:"silent_inputs,omitempty"` // 0 for the whole calibration
	Coarse int    `json:"coarse_rows,omitempty"`   // whose weights are too small for the scales
	Stats
}

// Report says what was done; it is saved as report.json.
type Report struct {
	Source       string         `json:"source"`
	SourceSHA256 string         `json:"source_sha256"`
	Version      int            `json:"methods_version"`
	Kernels      string         `json:"kernels,omitempty"` // see fingerprint
	Recipe       Recipe         `json:"recipe"`
	SizeBytes    int64          `json:"size_bytes"`
	BPW          float64        `json:"bpw"`
	Weights      string         `json:"weights_crc32c"` // model.Checkpoint's Checksum
	Modules      []ModuleReport `json:"modules"`
	Calibration  *Calibration   `json:"calibration,omitempty"`

	Substitutions []string `json:"substitutions,omitempty"` // those of the plan, and what only the inputs told
	Evaluation    any      `json:"evaluation,omitempty"`    // what the caller measured
}

// Options configures Run.
type Options struct {
	Engine *kernels.Engine
	Source *model.Checkpoint
	Recipe Recipe
	Out    string        // directory to make; it must not exist or be empty
	Claim  *output.Claim // of Out, if the caller has it

	Base *rt.Model // Source, if it is loaded already
	Made string    // directory; if a run with the same options made it, its tensors are taken

	Restart bool // forget what an unfinished run left for Out
	Force   bool // begin even if memory seems too small

	Calibration *Calibration // for the methods that need one; NewCalibration's defaults if nil
	Evaluation  any          // added to the report
}

// Result is a finished run.
type Result struct {
	Path      string  `json:"path"`
	SizeBytes int64   `json:"size_bytes"`
	BPW       float64 `json:"bpw"`
	Seconds   float64 `json:"seconds"`
	Found     bool    `json:"found,omitempty"` // an earlier run with the same options had made it
	Report    Report  `json:"-"`
}

// check refuses what cannot be quantized, and fits the recipe to the model.
func check(ck *model.Checkpoint, r Recipe) (Recipe, error) {
	if ck.Quantized {
		return r, fmt.Errorf("%s: %w: give the float model it was made from", ck.Ref, ErrQuantized)
	}
	if err := r.Validate(); err != nil {
		return r, err
	}
	r = r.Fitted(ck.Config)
	return r, r.CheckFor(ck.Config)
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

// Run quantizes a checkpoint into a directory. What is finished is on disk as it
// finishes: after a crash, or when ctx ends (the error is then an *Unfinished),
// Run with the same options does what is left and gives the same bytes as a run
// in one go; what is finished as a whole it leaves alone. Any other error leaves
// nothing behind.
func Run(ctx context.Context, o Options, l Listener) (res Result, err error) {
	err = source.Guard(func() error {
		res, err = run(ctx, o, l)
		return err
	})
	return res, err
}

func run(ctx context.Context, o Options, l Listener) (Result, error) {
	start := time.Now()
	defer debug.SetGCPercent(debug.SetGCPercent(garbage))
	var err error
	if o.Recipe, err = check(o.Source, o.Recipe); err != nil {
		return Result{}, err
	}
	j := job{eng: o.Engine, ck: o.Source, recipe: o.Recipe, calibration: o.Calibration, l: l}
	if err := j.prepare(); err != nil {
		return Result{}, err
	}
	at := o.Claim
	if at == nil {
		place, err := Place(o.Out, o.Source.Ref)
		if err != nil {
			return Result{}, err
		}
		if place.Occupied != nil {
			if report, ok := finishedBefore(o.Out, j.fingerprint()); ok && !o.Restart {
				place.Forget()
				return Result{o.Out, report.SizeBytes, report.BPW, time.Since(start).Seconds(), true, report}, nil
			}
			return Result{}, place.Occupied
		}
		if at, err = place.Claim(); err != nil {
			return Result{}, err
		}
		defer at.Release()
	}
	if o.Restart {
		if err := at.Clear(); err != nil {
			return Result{}, err
		}
	}
	report, made := finishedBefore(o.Made, j.fingerprint())
	if !made && len(readJournal(at.Work())) == 0 { // what is there has its room
		if err := room(at.Place, j.plan, o.Force); err != nil {
			return Result{}, err
		}
	}
	if j.base = o.Base; j.base == nil && Measures(j.recipe, j.ck.Config) && !made {
		if j.base, err = rt.Load(ctx, j.eng, j.ck); err != nil {
			return Result{}, err
		}
	}
	out, err := openJournal(at, o.Source, Schemes(o.Source.Config, j.recipe), j.fingerprint())
	if err != nil {
		return Result{}, err
	}
	if out.before > 0 || out.lost > 0 {
		l.send(Resumed{out.before, out.lost})
	}
	err = o.Source.Guard(func() error {
		if made {
			return out.w.Copy(o.Made)
		}
		report, err = j.run(ctx, out)
		return err
	})
	if err == nil {
		report.Evaluation = o.Evaluation
		err = source.Guard(func() error { return out.commit(j.recipe, report) })
	}
	if err != nil {
		return Result{}, out.leave(err, j.plan.Quantized)
	}
	return Result{Path: o.Out, SizeBytes: report.SizeBytes, BPW: report.BPW, Seconds: time.Since(start).Seconds(), Report: report}, nil
}

// Apply quantizes in memory, with the default calibration: the same tensors that
// Run writes, in place of those of base, which must be loaded from ck.
func Apply(ctx context.Context, base *rt.Model, ck *model.Checkpoint, r Recipe, l Listener) (*rt.Model, Report, error) {
	return ApplyCalibrated(ctx, base, ck, r, nil, l)
}

// ApplyCalibrated is Apply with a calibration.
func ApplyCalibrated(ctx context.Context, base *rt.Model, ck *model.Checkpoint, r Recipe, c *Calibration, l Listener) (*rt.Model, Report, error) {
	r, err := check(ck, r)
	if err != nil {
		return nil, Report{}, err
	}
	out := &memorySink{config: ck.Config, over: map[string]*kernels.Linear{}, vectors: map[string][]float32{}}
	j := job{eng: base.Engine, ck: ck, base: base, recipe: r, calibration: c, l: l}
	if err := j.prepare(); err != nil {
		return nil, Report{}, err
	}
	var report Report
	err = ck.Guard(func() (err error) {
		report, err = j.run(ctx, out)
		return err
	})
	if err != nil {
		return nil, Report{}, err
	}
	return base.With(out.over).WithVectors(out.vectors), report, nil
}

// memorySink prepares what a pass finishes for the kernels.
type memorySink struct {
	config  model.Config
	over    map[string]*kernels.Linear
	vectors map[string][]float32
	fresh
}

// fresh is the part of a sink to which nothing was put before.
type fresh struct{}

func (fresh) endStage(int, []string) error             { return nil }
func (fresh) line(model.Module) (ModuleReport, bool)   { return ModuleReport{}, false }
func (fresh) q(model.Module) (*kernels.QTensor, error) { return nil, model.ErrNotFound }
func (fresh) replaced(int) ([]string, bool)            { return nil, false }
func (fresh) floats(string) ([]float32, error)         { return nil, model.ErrNotFound }
func (fresh) keep(string, []byte) error                { return nil }
func (fresh) kept(string) ([]byte, bool)               { return nil, false }

func (s *memorySink) putQ(m model.Module, q *kernels.QTensor, _ ModuleReport) error {
	l, err := kernels.NewQuantLinear(q)
	s.over[m.Name] = l
	return err
}

func (s *memorySink) putFloats(name string, v []float32) error {
	for _, m := range s.config.Modules() {
		if m.Name+".weight" == name {
			l, err := kernels.NewMatrixLinear(kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: v})
			s.over[m.Name] = l
			return err
		}
	}
	s.vectors[name] = v
	return nil
}

// job is the quantization of a checkpoint.
type job struct {
	eng         *kernels.Engine
	ck          *model.Checkpoint
	base        *rt.Model // whose activations a calibration measures
	recipe      Recipe
	calibration *Calibration
	l           Listener
	plan        Plan
}

// prepare plans, and reads the calibration if one is needed and not given.
func (j *job) prepare() (err error) {
	if !Calibrated(j.recipe, j.ck.Config) {
		j.calibration = nil
	} else if j.calibration == nil {
		if j.calibration, err = NewCalibration(j.ck, CalibrationOptions{Samples: Samples(j.recipe, j.ck.Config)}); err != nil {
			return err
		}
	}
	j.plan, err = PlanFor(j.ck, j.recipe, PlanOptions{Calibration: j.calibration})
	j.recipe = j.plan.recipe
	return err
}

// fingerprint is what the result depends on.
func (j *job) fingerprint() fingerprint {
	f := fingerprint{Version: MethodsVersion, Source: j.ck.Hash(), Recipe: j.recipe.String(), Calibration: j.calibration}
	if j.calibration != nil {
		f.Kernels = string(j.eng.ISA())
	}
	return f
}

// run quantizes the matrices and hands them on.
func (j *job) run(ctx context.Context, out sink) (Report, error) {
	of := j.fingerprint()
	report := Report{Source: j.ck.Ref, SourceSHA256: of.Source, Version: of.Version, Kernels: of.Kernels, Recipe: j.recipe, SizeBytes: j.plan.SizeBytes, BPW: j.plan.BPW, Calibration: j.calibration}
	j.l.send(Started{Recipe: j.recipe.String(), Modules: j.plan.Quantized, Params: j.plan.QuantizedParams})
	base := j.base
	if !Measures(j.recipe, j.ck.Config) {
		base = nil // nothing follows it
	}
	p, err := newPass(j.ck, j.plan, base, j.calibration, j.eng, out, j.l)
	if err != nil {
		return Report{}, err
	}
	report.Modules, err = p.run(ctx)
	report.Substitutions = slices.Concat(j.plan.Substitutions, silentNotes(j.plan.Modules, report.Modules), coarseNotes(j.plan.Modules, report.Modules))
	return report, err
}

// maxReport bounds a report, which has a line for each matrix and, of a search, its
// choices.
const maxReport = 64 << 20

// ReadReport reads the report that Run left in a model's directory.
func ReadReport(dir string) (Report, error) {
	var r Report
	path := filepath.Join(dir, "report.json")
	data, _, err := source.Read(path, maxReport)
	if err != nil {
		return r, err
	}
	if err := jsonnum.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
