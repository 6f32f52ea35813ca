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

// PlannedModule is one matrix with what becomes of it.
type PlannedModule struct {
	Module model.Module
	Spec   Spec // what is done, which Note explains where the recipe says otherwise
	Bytes  int64
	Note   string
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
	p := Plan{recipe: r, SizeBytes: layout.Size, Substitutions: slices.Concat(beyond, r.substitutions(ck.Config)),
		DiskBytes: layout.Size + ck.CopiedBytes() + smallFiles + int64(len(modules))*reportLine,
		BPW:       8 * float64(layout.TensorBytes()) / float64(ck.Params())}
	if o.Rates.Threads == 0 {
		o.Rates = typicalRates(kernels.ThisCPU().Cores)
	}
	p.Seconds = startSeconds + float64(ck.Bytes())/o.Rates.Hash + float64(layout.Size)/o.Rates.Write
	whole := r.trainsWhole(ck.Config)
	for _, m := range modules {
		pm := PlannedModule{Module: m, Bytes: layout.ModuleBytes(m.Name)}
		pm.Spec, pm.Note = r.planned(m, whole)
		p.Modules = append(p.Modules, pm)
		if pm.Spec.Kept() {
			continue
		}
		n := int64(m.Rows) * int64(m.Cols)
		p.Quantized++
		p.QuantizedParams += n
		p.Seconds += float64(n) / pm.Spec.rate(o.Rates)
	}
	p.Substitutions = append(p.Substitutions, awqNotes(ck.Config, p.Modules)...)
	memory := footprint{recipe: r, reading: readingRSS(ck.Tokenizer), c: ck.Config, modules: p.Modules, stored: func(m model.Module) int64 {
		_, _, bytes := ck.Stored(m.Name + ".weight")
		return bytes
	}}
	if !ck.Mapped() {
		memory.copied = ck.Bytes()
	}
	measures := slices.ContainsFunc(p.Modules, func(m PlannedModule) bool { return m.Spec.measures() })
	counts := slices.ContainsFunc(p.Modules, func(m PlannedModule) bool { return m.Spec.Top > 0 })
	if c := o.Calibration; c != nil && (measures || counts) {
		p.Substitutions = slices.Concat(p.Substitutions, c.Notes, p.topNotes(c))
	}
	if measures {
		memory.samples, memory.length = r.Samples(ck.Config), min(defaultLength, ck.ContextLen())
		if c := o.Calibration; c != nil {
			memory.samples, memory.length = c.Samples, c.Length
		}
		p.Seconds += newEffort(r, ck.Config, memory.samples, memory.length, o.Rates).seconds()
		p.Substitutions = append(p.Substitutions, p.fewTokens(memory.samples*memory.length)...)
	}
	p.PeakRSSBytes = memory.bytes()
	if whole {
		p.DiskBytes += statesBytes(p.Modules)
	}
	return p, nil
}

// fewTokens tells of matrices whose inputs a calibration cannot tell apart.
func (p Plan) fewTokens(tokens int) []string {
	n, most := 0, 0
	for _, m := range p.Modules {
		if !m.Spec.Kept() && methodOf(m.Spec.Method).inputs && m.Module.Cols > tokens {
			n, most = n+1, max(most, m.Module.Cols)
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d matrices have more inputs, up to %d, than the calibration has tokens, %d: their inputs count for less; more or longer --samples lose less", n, most, tokens)}
}

// substitutions says where what is done differs from the letter of the recipe.
func (r Recipe) substitutions(c model.Config) []string {
	var of notes
	whole := r.trainsWhole(c)
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
		if _, note := r.planned(m, whole); note != "" {
			of.add(m.Name, note)
		}
		if width := spec.Scheme().GroupWidth(m.Cols); m.Cols%width != 0 {
			of.add(m.Name, fmt.Sprintf("%d columns are no multiple of %d: the last group of a row has %d", m.Cols, width, m.Cols%width))
		}
	}
	out := of.lines()
	if r.asksWhole(c) && !whole {
		out = append(out, wholeNote)
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
