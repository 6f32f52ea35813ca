package quant

import (
	"fmt"
	"slices"

	"nibble/kernels"
	"nibble/model"
)

// Plan states what quantizing costs and gives, before any work.
type Plan struct {
	Modules         []PlannedModule `json:"-"`
	Quantized       int             `json:"quantized"` // matrices
	QuantizedParams int64           `json:"quantized_params"`
	SizeBytes       int64           `json:"size_bytes"` // model.safetensors, exact
	BPW             float64         `json:"bpw"`        // bits of all tensors over all parameters
	DiskBytes       int64           `json:"disk_bytes"` // with tokenizer, configuration and report, a little rounded up
	PeakRSSBytes    int64           `json:"peak_rss_bytes"`
	Seconds         float64         `json:"seconds"`       // on all threads
	Substitutions   []string        `json:"substitutions"` // what differs from the letter of the recipe

	recipe Recipe // with a rule for each matrix that cannot be quantized
}

const (
	smallFiles = 64 << 10 // recipe.json, quantization_config and the rounding of a file system
	reportLine = 600      // a matrix in report.json and, by its name, in config.json

	startSeconds = 0.05 // of the process, and of making a directory durable
)

// PlanOptions is what an estimate depends on beyond model and recipe.
type PlanOptions struct {
	Rates       Rates        // of this machine; zero for those of a typical one
	Calibration *Calibration // NewCalibration's defaults if nil
}

// NewPlan works out the plan for a typical machine; it reads a few weights.
func NewPlan(ck *model.Checkpoint, r Recipe) (Plan, error) { return PlanFor(ck, r, PlanOptions{}) }

// PlanFor works out the plan; it reads a few weights.
func PlanFor(ck *model.Checkpoint, r Recipe, o PlanOptions) (Plan, error) {
	r, err := check(ck, r)
	if err != nil {
		return Plan{}, err
	}
	r, beyond, err := r.fitted(ck)
	if err != nil {
		return Plan{}, err
	}
	layout, err := model.PlanLayout(ck, Schemes(ck.Config, r))
	if err != nil {
		return Plan{}, err
	}
	modules := ck.Config.Modules()
	p := Plan{recipe: r, SizeBytes: layout.Size, Substitutions: slices.Concat(beyond, substitutions(r, ck.Config)),
		DiskBytes: layout.Size + ck.CopiedBytes() + smallFiles + int64(len(modules))*reportLine,
		BPW:       8 * float64(layout.TensorBytes()) / float64(ck.Params())}
	if o.Rates.Threads == 0 {
		o.Rates = typicalRates(kernels.ThisCPU().Cores)
	}
	p.Seconds = startSeconds + float64(ck.Bytes())/o.Rates.Hash + float64(layout.Size)/o.Rates.Write
	whole := takesWhole(r, ck.Config)
	for _, m := range modules {
		pm := PlannedFor(r, m, whole != nil)
		pm.Bytes = layout.ModuleBytes(m.Name)
		p.Modules = append(p.Modules, pm)
		if pm.Method == nil {
			continue
		}
		n := int64(m.Rows) * int64(m.Cols)
		p.Quantized++
		p.QuantizedParams += n
		p.Seconds += float64(n) / o.Rates.rounding(pm.Method.Cost.Plain, pm.Spec.Scheme())
	}
	p.Substitutions = append(p.Substitutions, methodNotes(ck.Config, p.Modules)...)
	run := &Shape{Config: ck.Config, Rates: o.Rates}
	memory := footprint{Shape: run, whole: whole, reading: readingRSS(ck.Tokenizer), modules: p.Modules, stored: func(m model.Module) int64 {
		_, _, bytes := ck.Stored(m.Name + ".weight")
		return bytes
	}}
	if !ck.Mapped() {
		memory.copied = ck.Bytes()
	}
	measures := slices.ContainsFunc(p.Modules, PlannedModule.measures)
	counts := slices.ContainsFunc(p.Modules, func(m PlannedModule) bool { return m.Spec.Top > 0 })
	if c := o.Calibration; c != nil && (measures || counts) {
		p.Substitutions = slices.Concat(p.Substitutions, c.Notes, p.topNotes(c))
	}
	if measures {
		run.Samples, run.Length = Samples(r, ck.Config), min(defaultLength, ck.ContextLen())
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

// fewTokens tells of matrices whose inputs a calibration cannot tell apart.
func (p Plan) fewTokens(tokens int) []string {
	n, most := 0, 0
	for _, m := range p.Modules {
		if m.measures() && m.Module.Cols > tokens {
			n, most = n+1, max(most, m.Module.Cols)
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d matrices have more inputs, up to %d, than the calibration has tokens, %d: their inputs count for less; more or longer --samples lose less", n, most, tokens)}
}

// substitutions says where what is done differs from the letter of the recipe.
func substitutions(r Recipe, c model.Config) []string {
	var of notes
	whole := takesWhole(r, c)
	for _, m := range c.Modules() {
		spec := r.For(m)
		if slices.Contains(r.raised, m.Name) {
			of.add(m.Name, fmt.Sprintf("more than %.0f %% of the model: stored with 8 bits; name it in a rule to store it otherwise", 100*largeShare))
		}
		if spec.Kept() {
			if m.Layer < 0 && !r.Default.Kept() && !r.names(m) {
				of.add(m.Name, "kept as stored; name it in a rule to quantize it")
			}
			continue
		}
		if planned := PlannedFor(r, m, whole != nil); planned.Note != "" {
			of.add(m.Name, planned.Note)
		}
		if width := spec.Scheme().GroupWidth(m.Cols); m.Cols%width != 0 {
			of.add(m.Name, fmt.Sprintf("%d columns are no multiple of %d: the last group of a row has %d", m.Cols, width, m.Cols%width))
		}
	}
	out := of.lines()
	if asked := asksWhole(r, c); asked != nil && whole == nil {
		out = append(out, asked.Needs.Whole.TooLarge)
	}
	if c.Tied {
		for _, rule := range r.Rules {
			if rule.tied(c) {
				out = append(out, fmt.Sprintf("%s is the same matrix as %s, which decides: the rule for it does nothing", outputHead, c.Embed.Path))
			}
		}
	}
	return out
}

// methodNotes tells what methods cannot do for matrices, and notes it with these.
func methodNotes(c model.Config, ms []PlannedModule) []string {
	var all notes
	for _, s := range Stages(c, ms) {
		for _, how := range s.Methods() {
			if how.Notes == nil {
				continue
			}
			found := how.Notes(c, s)
			for _, m := range s.Modules {
				note, ok := found[m.Module.Name]
				if !ok {
					continue
				}
				i := slices.IndexFunc(ms, func(pm PlannedModule) bool { return pm.Module.Name == m.Module.Name })
				ms[i].Note = note
				all.add(m.Module.Name, note)
			}
		}
	}
	return all.lines()
}
