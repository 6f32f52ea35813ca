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
}

// PlannedModule is one matrix with what becomes of it.
type PlannedModule struct {
	Module model.Module
	Spec   Spec // what is done, which Note explains where the recipe says otherwise
	Bytes  int64
	Note   string
}

// What the process takes before any weights, and with a tokenizer's tables.
const (
	baseRSS  = 17 << 20
	tokenRSS = 700

	calibrationRSS = 12 << 20 // the text and its tokens

	smallFiles = 64 << 10 // recipe.json, quantization_config and the rounding of a file system
	reportLine = 600      // a matrix in report.json and, by its name, in config.json
)

// rate is the weights per second of a spec, without its calibration.
func (s Spec) rate(r Rates) float64 {
	switch {
	case s.Method == RTN:
		return r.RTN
	case s.Sym:
		return r.Sym
	}
	return r.Asym
}

// passes is how often a layer's product runs for the inputs of the matrices after
// it, and once more to pass the layer.
func passes(kind string) float64 {
	switch kind {
	case "q", "k", "v":
		return 4
	case "o":
		return 3
	case "gate", "up":
		return 2
	case "down":
		return 1
	}
	return 0
}

// calibrate estimates what a calibration with texts of equal length costs: time,
// and bytes that are in use at the most.
func (r Recipe) calibrate(c model.Config, samples, length int, rates Rates) (seconds float64, bytes int64) {
	tokens := float64(samples * length)
	states := 4 * tokens * float64(c.Hidden)
	session := 4 * float64(length) * float64(3*c.Hidden+2*c.Heads*c.HeadDim+4*c.KVHeads*c.HeadDim+2*c.Intermediate)
	seen := map[string]bool{} // inputs whose moments are summed up already, by layer
	most, layer := 0.0, 0.0   // bytes, and those of a layer's scaled weights
	whole := r.trainsWhole(c)
	for _, m := range c.Modules() {
		s, _ := r.planned(m, whole)
		rows, n := float64(m.Rows), float64(m.Cols)
		if m.Kind == "q" || m.Kind == "head" {
			layer = 0
		}
		product := rates.Int
		if s.Kept() {
			product = rates.Float
		}
		seconds += passes(m.Kind) * 2 * rows * n * tokens / product
		if m.Kind == "q" { // attention of every pass, half of the scores and values
			seconds += passes("q") * 2 * rows * tokens * float64(length) / rates.Float
		}
		if !s.Kept() && s.Method == AWQ {
			tries, tokens, search := 1+2*float64(awqSteps), min(tokens, awqTokens), rates.Asym
			if s.Sym {
				search = rates.Sym
			}
			part := min(awqRows, rows) * n
			seconds += tries * (part/search + 2*part*tokens/rates.Float)
			layer += 8 * rows * n // read, and scaled
			most = max(most, layer+4*tokens*n+3*4*part)
		}
		if m.Tied && !s.Kept() && methodOf(s.Method).inputs { // a pass of its own to the head
			for _, on := range c.Modules()[1:] {
				seconds += 2 * float64(on.Rows) * float64(on.Cols) * tokens / rates.Float
			}
			states *= 2
		}
		if s.Kept() || s.Method != GPTQ && methodOf(s.Method).layer == nil {
			continue
		}
		if key := fmt.Sprint(m.Layer, inputOf(m)); !seen[key] {
			seen[key] = true
			seconds += (n*n*tokens + 1.2*n*n*n) / rates.Float
		}
		seconds += rows*n*n/rates.Float + rows*n*gptqBlock/2/rates.Columns
		// Moments, their factor and its inverse; inputs and products in work; the
		// weights twice.
		most = max(most, 12*n*n+4*n*(hessianTokens+3*256)+8*rows*n)
	}
	trainSeconds, trainBytes := r.train(c, samples, length, rates)
	return seconds + trainSeconds, int64(states + session + max(most, trainBytes))
}

// PlanOptions is what an estimate depends on beyond model and recipe.
type PlanOptions struct {
	Rates       Rates        // of this machine; zero for those of a typical one
	Calibration *Calibration // NewCalibration's defaults if nil
}

// NewPlan works out the plan for a typical machine; it reads no weights.
func NewPlan(ck *model.Checkpoint, r Recipe) (Plan, error) { return PlanFor(ck, r, PlanOptions{}) }

// PlanFor works out the plan; it reads no weights.
func PlanFor(ck *model.Checkpoint, r Recipe, o PlanOptions) (Plan, error) {
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
	if o.Rates.Threads == 0 {
		o.Rates = typicalRates(kernels.ThisCPU().Cores)
	}
	p.Seconds = float64(ck.Bytes())/o.Rates.Hash + float64(layout.Size)/o.Rates.Write
	var largest, pages int64 // memory for one matrix
	for _, m := range modules {
		pm := PlannedModule{Module: m, Bytes: layout.ModuleBytes(m.Name)}
		pm.Spec, pm.Note = r.planned(m, r.trainsWhole(ck.Config))
		p.Modules = append(p.Modules, pm)
		_, _, stored := ck.Stored(m.Name + ".weight")
		if pm.Spec.Kept() {
			pages = max(pages, stored)
			continue
		}
		n := int64(m.Rows) * int64(m.Cols)
		p.Quantized++
		p.QuantizedParams += n
		// Its codes, and the codes before that are not collected yet; its mapped pages.
		largest = max(largest, 2*pm.Bytes)
		pages = max(pages, stored)
		p.Seconds += float64(n) / pm.Spec.rate(o.Rates)
	}
	p.Substitutions = append(p.Substitutions, awqNotes(ck.Config, p.Modules)...)
	if r.Calibrated(ck.Config) {
		samples, length := r.Samples(ck.Config), min(defaultLength, ck.ContextLen())
		if c := o.Calibration; c != nil {
			samples, length = c.Samples, c.Length
			p.Substitutions = append(p.Substitutions, c.Notes...)
		}
		seconds, bytes := r.calibrate(ck.Config, samples, length, o.Rates)
		p.Seconds += seconds
		largest += bytes + bytes*7/10 + calibrationRSS // the most that is not collected yet
	}
	p.PeakRSSBytes = baseRSS + largest + pages
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
		if _, note := r.planned(m, r.trainsWhole(c)); note != "" {
			add("%s: %s", m.Name, note)
		}
		if width := spec.Scheme().GroupWidth(m.Cols); m.Cols%width != 0 {
			add("%s: %d columns are no multiple of %d: the last group of a row has %d", m.Name, m.Cols, width, m.Cols%width)
		}
	}
	if r.asksWhole(c) && !r.trainsWhole(c) {
		notes = append(notes, wholeNote)
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
