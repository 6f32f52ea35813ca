package plan

import (
	"slices"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/recipe"
)

// Plan states what quantizing costs and gives, before any work.
type Plan struct {
	Modules         []pass.PlannedModule `json:"-"`
	Quantized       int                  `json:"quantized"` // matrices
	QuantizedParams int64                `json:"quantized_params"`
	SizeBytes       int64                `json:"size_bytes"` // model.safetensors, exact
	BPW             float64              `json:"bpw"`        // bits of all tensors over all parameters
	DiskBytes       int64                `json:"disk_bytes"` // with tokenizer, configuration and report, a little rounded up
	PeakRSSBytes    int64                `json:"peak_rss_bytes"`
	Seconds         float64              `json:"seconds"`       // on all threads
	Substitutions   []string             `json:"substitutions"` // what differs from the letter of the recipe

	Recipe recipe.Recipe `json:"-"` // with a rule for each matrix that cannot be quantized
}

const (
	smallFiles = 64 << 10 // recipe.json, quantization_config and the rounding of a file system
	reportLine = 600      // a matrix in report.json and, by its name, in config.json

	startSeconds = 0.05 // of the process, and of making a directory durable
)

// Options is what an estimate depends on beyond model and recipe.
type Options struct {
	Rates       cost.Rates         // of this machine; zero for those of a typical one
	Calibration *calib.Calibration // NewCalibration's defaults if nil
}

// New works out the plan for a typical machine; it reads a few weights.
func New(ck *model.Checkpoint, r recipe.Recipe) (Plan, error) { return For(ck, r, Options{}) }

// For works out the plan; it reads a few weights.
func For(ck *model.Checkpoint, r recipe.Recipe, o Options) (Plan, error) {
	r, err := Check(ck, r)
	if err != nil {
		return Plan{}, err
	}
	r, kept, err := r.WithinF16(ck)
	if err != nil {
		return Plan{}, err
	}
	var beyond pass.Notes
	for _, name := range kept {
		beyond.Add(name, keptBeyond)
	}
	layout, err := model.PlanLayout(ck, recipe.Schemes(ck.Config, r))
	if err != nil {
		return Plan{}, err
	}
	modules := ck.Config.Modules()
	p := Plan{Recipe: r, SizeBytes: layout.Size, Substitutions: slices.Concat(beyond.Lines(), substitutions(r, ck.Config)),
		DiskBytes: layout.Size + ck.CopiedBytes() + smallFiles + int64(len(modules))*reportLine,
		BPW:       8 * float64(layout.TensorBytes()) / float64(ck.Params())}
	if o.Rates.Threads == 0 {
		o.Rates = cost.Typical(kernels.ThisCPU().Cores)
	}
	p.Seconds = startSeconds + float64(ck.Bytes())/o.Rates.Hash + float64(layout.Size)/o.Rates.Write
	planned, whole := method.PlanAll(r, ck.Config)
	for _, pm := range planned {
		pm.Bytes = layout.ModuleBytes(pm.Module.Name)
		p.Modules = append(p.Modules, pm)
		if pm.Method == nil {
			continue
		}
		n := int64(pm.Module.Rows) * int64(pm.Module.Cols)
		p.Quantized++
		p.QuantizedParams += n
		p.Seconds += float64(n) / o.Rates.Rounding(pm.Method.Cost.Plain, pm.Spec.Scheme())
	}
	if ck.Quantized {
		p.Substitutions = append(p.Substitutions, Requantized)
	}
	p.Substitutions = append(p.Substitutions, methodNotes(ck.Config, p.Modules)...)
	run := &cost.Shape{Config: ck.Config, Rates: o.Rates}
	memory := footprint{Shape: run, whole: whole, reading: readingRSS(ck.Tokenizer), modules: p.Modules, stored: func(m model.Module) int64 {
		_, _, bytes := ck.Stored(m.Name + ".weight")
		return bytes
	}}
	if !ck.Mapped() {
		memory.copied = ck.Bytes()
	}
	measures := slices.ContainsFunc(p.Modules, pass.PlannedModule.Measures)
	counts := slices.ContainsFunc(p.Modules, func(m pass.PlannedModule) bool { return m.Spec.Top > 0 })
	if c := o.Calibration; c != nil && (measures || counts) {
		p.Substitutions = slices.Concat(p.Substitutions, c.Notes, topNotes(p.Modules, c))
	}
	if measures {
		run.Samples, run.Length = method.Samples(r, ck.Config), min(calib.DefaultLength, ck.ContextLen())
		if c := o.Calibration; c != nil {
			run.Samples, run.Length = c.Samples, c.Length
		}
		p.Seconds += calibratedSeconds(run, p.Modules, whole)
		p.Substitutions = append(p.Substitutions, p.fewTokens(run.Samples*run.Length)...)
	}
	p.PeakRSSBytes = memory.bytes()
	if whole != nil {
		p.DiskBytes += whole.Needs.Whole.Disk(p.Modules)
	}
	return p, nil
}
