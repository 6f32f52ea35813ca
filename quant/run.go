package quant

import (
	"context"
	"runtime/debug"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/output"
	"nibble/model/source"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/journal"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/plan"
	"nibble/quant/recipe"
	rt "nibble/runtime"
)

// Options configures Run.
type Options struct {
	Engine *kernels.Engine
	Source *model.Checkpoint
	Recipe recipe.Recipe
	Out    string        // directory to make; it must not exist or be empty
	Claim  *output.Claim // of Out, if the caller has it

	Base *rt.Model // Source, if it is loaded already
	Made string    // directory; if a run with the same options made it, its tensors are taken

	Restart bool // forget what an unfinished run left for Out
	Force   bool // begin even if memory seems too small

	Calibration *calib.Calibration // for the methods that need one; NewCalibration's defaults if nil
	Evaluation  any                // added to the report
}

// Result is a finished run.
type Result struct {
	Path      string         `json:"path"`
	SizeBytes int64          `json:"size_bytes"`
	BPW       float64        `json:"bpw"`
	Seconds   float64        `json:"seconds"`
	Found     bool           `json:"found,omitempty"` // an earlier run with the same options had made it
	Report    journal.Report `json:"-"`
}

// Run quantizes a checkpoint into a directory. What is finished is on disk as it
// finishes: after a crash, or when ctx ends (the error is then an *Unfinished),
// Run with the same options does what is left and gives the same bytes as a run
// in one go; what is finished as a whole it leaves alone. Any other error leaves
// nothing behind.
func Run(ctx context.Context, o Options, l pass.Listener) (res Result, err error) {
	err = source.Guard(func() error {
		res, err = run(ctx, o, l)
		return err
	})
	return res, err
}

func run(ctx context.Context, o Options, l pass.Listener) (Result, error) {
	start := time.Now()
	defer debug.SetGCPercent(debug.SetGCPercent(cost.Garbage))
	var err error
	if o.Recipe, err = plan.Check(o.Source, o.Recipe); err != nil {
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
			if report, ok := journal.FinishedBefore(o.Out, j.fingerprint()); ok && !o.Restart {
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
	report, made := journal.FinishedBefore(o.Made, j.fingerprint())
	if !made && len(journal.ReadJournal(at.Work())) == 0 { // what is there has its room
		if err := room(at.Place, j.plan, o.Force); err != nil {
			return Result{}, err
		}
	}
	if j.base = o.Base; j.base == nil && method.Measures(j.recipe, j.ck.Config) && !made {
		if j.base, err = rt.Load(ctx, j.eng, j.ck); err != nil {
			return Result{}, err
		}
	}
	out, err := journal.OpenJournal(at, o.Source, recipe.Schemes(o.Source.Config, j.recipe), j.fingerprint())
	if err != nil {
		return Result{}, err
	}
	if out.Before > 0 || out.Lost > 0 {
		l.Send(Resumed{out.Before, out.Lost})
	}
	err = o.Source.Guard(func() error {
		if made {
			return out.Writer.Copy(o.Made)
		}
		report, err = j.run(ctx, out)
		return err
	})
	if err == nil {
		report.Evaluation = o.Evaluation
		err = source.Guard(func() error { return out.Commit(j.recipe, report) })
	}
	if err != nil {
		return Result{}, out.Leave(err, j.plan.Quantized)
	}
	return Result{Path: o.Out, SizeBytes: report.SizeBytes, BPW: report.BPW, Seconds: time.Since(start).Seconds(), Report: report}, nil
}

// job is the quantization of a checkpoint.
type job struct {
	eng         *kernels.Engine
	ck          *model.Checkpoint
	base        *rt.Model // whose activations a calibration measures
	recipe      recipe.Recipe
	calibration *calib.Calibration
	l           pass.Listener
	plan        plan.Plan
}

// prepare plans, and reads the calibration if one is needed and not given.
func (j *job) prepare() (err error) {
	if !method.Calibrated(j.recipe, j.ck.Config) {
		j.calibration = nil
	} else if j.calibration == nil {
		if j.calibration, err = calib.New(j.ck, calib.Options{Samples: method.Samples(j.recipe, j.ck.Config)}); err != nil {
			return err
		}
	}
	j.plan, err = plan.For(j.ck, j.recipe, plan.Options{Calibration: j.calibration})
	j.recipe = j.plan.Recipe
	return err
}

// fingerprint is what the result depends on.
func (j *job) fingerprint() journal.Fingerprint {
	f := journal.Fingerprint{Version: journal.MethodsVersion, Source: j.ck.Hash(), Recipe: j.recipe.String(), Calibration: j.calibration}
	if j.calibration != nil {
		f.Kernels = string(j.eng.ISA())
	}
	return f
}

// run quantizes the matrices and hands them on.
func (j *job) run(ctx context.Context, out pass.Sink) (journal.Report, error) {
	of := j.fingerprint()
	report := journal.Report{Source: j.ck.Ref, SourceSHA256: of.Source, Version: of.Version, Kernels: of.Kernels, Recipe: j.recipe, SizeBytes: j.plan.SizeBytes, BPW: j.plan.BPW, Calibration: j.calibration}
	j.l.Send(Started{Recipe: j.recipe.String(), Modules: j.plan.Quantized, Params: j.plan.QuantizedParams})
	base := j.base
	if !method.Measures(j.recipe, j.ck.Config) {
		base = nil // nothing follows it
	}
	p, err := pass.New(j.ck, j.plan.Modules, base, j.calibration, j.eng, out, j.l)
	if err != nil {
		return journal.Report{}, err
	}
	report.Modules, err = p.Run(ctx)
	report.Substitutions = slices.Concat(j.plan.Substitutions, plan.SilentNotes(j.plan.Modules, report.Modules), plan.CoarseNotes(j.plan.Modules, report.Modules))
	return report, err
}
