package quant

import (
	"fmt"
	"runtime"
	"slices"

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
	Seconds         float64         `json:"seconds"`       // on all cores, with the default calibration
	Substitutions   []string        `json:"substitutions"` // what differs from the letter of the recipe
}

// PlannedModule is one matrix with what becomes of it.
type PlannedModule struct {
	Module model.Module
	Spec   Spec // what is done, which Note explains where the recipe says otherwise
	Bytes  int64
	Note   string
}

// Rough costs for the estimates: what the process takes before any weights, with
// a tokenizer's tables, and weights quantized per second and thread by each
// method.
const (
	baseRSS  = 20 << 20
	tokenRSS = 700
	rtnRate  = 50e6
	mseRate  = 6e6
	asymRate = 3e6

	smallFiles = 64 << 10 // recipe.json, quantization_config and the rounding of a file system
	reportLine = 600      // a matrix in report.json and, by its name, in config.json
)

// rate is the weights per second and thread of a spec, without its calibration.
func (s Spec) rate() float64 {
	switch {
	case s.Method == RTN:
		return rtnRate
	case s.Sym:
		return mseRate
	}
	return asymRate
}

// Rates of the parts of a calibrated method, in operations a second and thread:
// products of integers, of floats, and what goes column by column.
const (
	intRate    = 200e9
	floatRate  = 45e9
	columnRate = 1e9
)

// calibrate estimates what a calibration of tokens costs: seconds of one thread
// and bytes at the most.
func (r Recipe) calibrate(c model.Config, tokens float64) (seconds float64, bytes int64) {
	hidden := int64(4 * tokens * float64(c.Hidden))
	seen := map[string]bool{} // inputs whose moments are summed up already, by layer
	for _, m := range c.Modules() {
		if inputOf(m.Kind) == "" {
			continue
		}
		rows, n := float64(m.Rows), float64(m.Cols)
		seconds += 2 * 2 * rows * n * tokens / intRate // two passes, on average
		if r.For(m).Method != GPTQ {
			continue
		}
		if key := fmt.Sprint(m.Layer, inputOf(m.Kind)); !seen[key] {
			seen[key] = true
			seconds += (n*n*tokens + 1.2*n*n*n) / floatRate
		}
		seconds += rows*n*n/floatRate + rows*n*gptqBlock/2/columnRate
		// Moments, their factor and its inverse; inputs and products in work; the
		// weights twice.
		bytes = max(bytes, int64(12*n*n+4*n*(hessianTokens+3*256)+8*rows*n))
	}
	return seconds, bytes + hidden
}

// NewPlan works out the plan; it reads no weights.
func NewPlan(ck *model.Checkpoint, r Recipe) (Plan, error) {
	if err := check(ck, r); err != nil {
		return Plan{}, err
	}
	layout, err := model.PlanLayout(ck, Schemes(ck.Config, r))
	if err != nil {
		return Plan{}, err
	}
	modules := ck.Config.Modules()
	p := Plan{SizeBytes: layout.Size, Substitutions: r.substitutions(ck.Config),
		DiskBytes: layout.Size + ck.CopiedBytes() + smallFiles + int64(len(modules))*reportLine,
		BPW:       8 * float64(layout.TensorBytes()) / float64(ck.Params())}
	largest := int64(0) // memory for one matrix
	for _, m := range modules {
		pm := PlannedModule{Module: m, Bytes: layout.ModuleBytes(m.Name)}
		pm.Spec, pm.Note = r.planned(m)
		p.Modules = append(p.Modules, pm)
		_, _, stored := ck.Stored(m.Name + ".weight")
		if pm.Spec.Kept() {
			largest = max(largest, stored)
			continue
		}
		n := int64(m.Rows) * int64(m.Cols)
		p.Quantized++
		p.QuantizedParams += n
		// Its mapped pages, its codes, and the codes before that are not collected yet.
		largest = max(largest, stored+2*pm.Bytes)
		p.Seconds += float64(n) / pm.Spec.rate()
	}
	if r.Calibrated(ck.Config) {
		length := min(defaultLength, ck.ContextLen())
		seconds, bytes := r.calibrate(ck.Config, float64(defaultSamples*length))
		p.Seconds += seconds
		largest += bytes + bytes/2 // half as much again is not collected yet
	}
	p.Seconds /= float64(runtime.NumCPU())
	p.PeakRSSBytes = baseRSS + largest
	if ck.Tokenizer != nil {
		p.PeakRSSBytes += tokenRSS * int64(ck.Config.VocabSize)
	}
	return p, nil
}

// substitutions says where what is done differs from the letter of the recipe.
func (r Recipe) substitutions(c model.Config) []string {
	notes := []string{}
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	for _, m := range c.Modules() {
		spec := r.For(m)
		named := slices.ContainsFunc(r.Rules, func(rule Rule) bool { return rule.matches(m.Name) })
		if spec.Kept() {
			if m.Layer < 0 && !r.Default.Kept() && !named {
				add("%s is kept as stored: name it in a rule to quantize it", m.Name)
			}
			continue
		}
		if _, note := r.planned(m); note != "" {
			add("%s: %s", m.Name, note)
		}
		if width := spec.Scheme().GroupWidth(m.Cols); m.Cols%width != 0 {
			add("%s: %d columns are no multiple of %d: the last group of a row has %d", m.Name, m.Cols, width, m.Cols%width)
		}
	}
	if c.TieEmbeddings {
		for _, rule := range r.Rules {
			if rule.tied() {
				add("%s is the same matrix as %s, which decides: the rule for it does nothing", model.HeadModule, model.EmbedModule)
			}
		}
	}
	return notes
}
