package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
)

// ErrShapes reports models whose parts cannot stand in for each other.
var ErrShapes = errors.New("parts cannot be compared")

// Damage says where a model loses what it loses. Every part is put alone into the
// reference model, all else left as it is there, and the KL divergence measured
// that it causes. What several parts cause together is nearly the sum: their
// errors are small and independent.
type Damage struct {
	Windows int     `json:"windows"` // measured on, spread over the text
	Tokens  int     `json:"tokens"`  // of them scored
	KLD     float64 `json:"kld"`     // of the whole model, on these windows
	KLDSE   float64 `json:"kld_se"`
	Sum     float64 `json:"kld_sum"` // of the parts

	Parts []PartDamage `json:"parts"` // in the order of the model
	Notes []string     `json:"notes,omitempty"`
}

// PartDamage is what one layer, or a matrix outside the layers, causes.
type PartDamage struct {
	Name  string  `json:"name"`  // "layer 3", or a module's name
	Layer int     `json:"layer"` // -1 outside the layers
	KLD   float64 `json:"kld"`   // of the reference model with this part
	KLDSE float64 `json:"kld_se"`
	Share float64 `json:"share"` // of the sum of all parts

	// Err is the distance of the model's hidden states from the reference's after
	// this part, relative to their length, root mean square over tokens; Added is
	// how much larger that is than before it. Both are 0 for an output head.
	Err   float64 `json:"err"`
	Added float64 `json:"err_added"`

	Matrices []MatrixDamage `json:"matrices,omitempty"` // of a layer, in the order of the model
}

// MatrixDamage is a matrix's part of what its layer causes, in proportion to the
// energy of the error that it alone makes in the layer's output.
type MatrixDamage struct {
	Module string  `json:"module"`
	Err    float64 `json:"err"` // of the layer's output, as PartDamage.Err
	KLD    float64 `json:"kld"` // its part of the layer's
	Share  float64 `json:"share"`
}

// Worst returns the parts that cause the most, at most n.
func (d *Damage) Worst(n int) []PartDamage {
	parts := slices.Clone(d.Parts)
	slices.SortStableFunc(parts, func(a, b PartDamage) int {
		switch {
		case a.KLD > b.KLD:
			return -1
		case a.KLD < b.KLD:
			return 1
		}
		return 0
	})
	return parts[:min(n, len(parts))]
}

// StepProgress is reported while what belongs to a report is measured.
type StepProgress struct {
	Stage    string  `json:"stage"` // "layers", "continuations" or "advice"
	Done     int     `json:"done"`
	Total    int     `json:"total"`
	Rate     float64 `json:"steps_per_second"`
	Seconds  float64 `json:"seconds"`
	Estimate float64 `json:"eta_seconds"`
}

// EventName implements Event.
func (StepProgress) EventName() string { return "eval_step" }

// Steps reports how far a stage has come.
type Steps struct {
	l     Listener
	e     StepProgress
	start time.Time
}

// NewSteps begins a stage of so many steps.
func NewSteps(l Listener, stage string, total int) *Steps {
	return &Steps{l, StepProgress{Stage: stage, Total: total}, time.Now()}
}

// Add reports n more steps.
func (s *Steps) Add(n int) {
	s.e.Done += n
	s.e.Seconds = time.Since(s.start).Seconds()
	s.e.Rate = float64(s.e.Done) / max(s.e.Seconds, 1e-9)
	s.e.Estimate = float64(s.e.Total-s.e.Done) / s.e.Rate
	s.l.send(s.e)
}

const (
	mostWindows  = 8 // the damage is measured on, and
	leastWindows = 2 // where the text has so many
)

// DamageWindows picks the windows that damage is measured on: so many, evenly
// spread, that it takes about as long as it took to evaluate the model.
func (ref *Reference) DamageWindows() []int {
	all := len(ref.windows)
	passes := layerSteps(ref.Model.Config) / ref.Model.Config.Layers()
	n := min(all, max(leastWindows, min(mostWindows, all/passes)))
	out := make([]int, n)
	for i := range out {
		out[i] = i * all / n
	}
	return out
}

// layerSteps is how many layers are passed to measure the damage: the embedding
// goes through all, every layer once in each model, and its matrices alone; from
// each layer on the rest of the reference model follows.
func layerSteps(c model.Config) int {
	return c.Layers()*(1+2+matrices(c)) + c.Layers()*(c.Layers()+1)/2
}

// matrices is how many a layer has.
func matrices(c model.Config) int {
	n := 0
	for _, m := range c.Modules() {
		if m.Layer == 0 {
			n++
		}
	}
	return n
}

// comparableParts reports why a part of m cannot stand in for that of the
// reference.
func (ref *Reference) comparableParts(m *rt.Model) error {
	a, b := m.Config, ref.Model.Config
	if a.Layers() != b.Layers() || a.Hidden != b.Hidden || a.Widths() != b.Widths() || a.Tied != b.Tied {
		return fmt.Errorf("%w: %s has %d layers of %d, %s %d of %d, or their heads or embeddings are of other kinds", ErrShapes, m.Name, a.Layers(), a.Hidden, ref.Model.Name, b.Layers(), b.Hidden)
	}
	return nil
}

// Damage measures which parts of m cause its divergence, on the given windows.
func (ref *Reference) Damage(ctx context.Context, m *rt.Model, windows []int, l Listener) (*Damage, error) {
	if err := errors.Join(ref.accepts(m), ref.comparableParts(m)); err != nil {
		return nil, err
	}
	w := &damageWalk{ref: ref, m: m, windows: windows, d: &Damage{Windows: len(windows)}}
	w.steps = NewSteps(l, "layers", layerSteps(m.Config))
	if err := w.run(ctx); err != nil {
		return nil, err
	}
	for _, p := range w.d.Parts {
		w.d.Sum += p.KLD
	}
	for i := range w.d.Parts {
		p := &w.d.Parts[i]
		p.share(w.d.Sum)
	}
	return w.d, nil
}

// share works out shares of a sum, and divides a layer's damage among its
// matrices.
func (p *PartDamage) share(sum float64) {
	if sum > 0 {
		p.Share = p.KLD / sum
	}
	energy := 0.0
	for _, m := range p.Matrices {
		energy += m.Err * m.Err
	}
	for i := range p.Matrices {
		m := &p.Matrices[i]
		if energy > 0 {
			m.KLD, m.Share = p.KLD*m.Err*m.Err/energy, p.Share*m.Err*m.Err/energy
		}
	}
}

// damageWalk goes through the layers of both models at once.
type damageWalk struct {
	ref     *Reference
	m       *rt.Model
	windows []int
	steps   *Steps
	d       *Damage

	base, own *rt.Stack // in the reference model and in m, side by side
	scaled    []int     // layers whose scales were moved between norms and matrices
}

func (w *damageWalk) run(ctx context.Context) error {
	var err error
	if w.base, err = w.ref.Stack(w.ref.Model, w.windows); err != nil {
		return err
	}
	if w.own, err = w.ref.Stack(w.m, w.windows); err != nil {
		return err
	}
	var head *PartDamage
	for _, mod := range w.m.Config.Modules() {
		switch {
		case mod.Name == w.m.Config.Embed.Path:
			if err := w.embedding(ctx, mod); err != nil {
				return err
			}
		case mod.Layer < 0:
			head = &PartDamage{Name: mod.Name, Layer: -1}
		}
	}
	for i := range w.m.Config.Layers() {
		if err := w.layer(ctx, i); err != nil {
			return err
		}
	}
	if head != nil {
		kld, err := w.ref.divergence(ctx, w.m, w.base, w.windows)
		if err != nil {
			return err
		}
		head.KLD, head.KLDSE = kld.mean, kld.se()
		w.d.Parts = append(w.d.Parts, *head)
	}
	kld, err := w.ref.divergence(ctx, w.m, w.own, w.windows)
	if err != nil {
		return err
	}
	w.d.KLD, w.d.KLDSE, w.d.Tokens = kld.mean, kld.se(), kld.n
	if len(w.scaled) > 0 {
		w.d.Notes = append(w.d.Notes, fmt.Sprintf("scales were moved between the matrices of %s: they are told as a whole", layerList(w.scaled)))
	}
	return nil
}

// embedding measures the embedding, and the output head where that is the same
// matrix.
func (w *damageWalk) embedding(ctx context.Context, mod model.Module) error {
	part := PartDamage{Name: mod.Name, Layer: -1, Err: apart(w.own, w.base)}
	part.Added = part.Err
	over := w.ref.Model.With(map[string]*kernels.Linear{mod.Name: w.m.Linear(mod.Name)})
	kld, err := w.ref.divergence(ctx, over, w.own.Clone(), w.windows)
	if err != nil {
		return err
	}
	w.steps.Add(w.m.Config.Layers())
	part.KLD, part.KLDSE = kld.mean, kld.se()
	w.d.Parts = append(w.d.Parts, part)
	return nil
}

// layer measures the layer that both stacks stand before, and passes it.
func (w *damageWalk) layer(ctx context.Context, i int) error {
	part := PartDamage{Name: fmt.Sprintf("layer %d", i), Layer: i}
	before := apart(w.own, w.base)
	after := w.base.Clone()
	if err := after.Advance(ctx, w.ref.Model); err != nil {
		return err
	}
	if w.sameNorms(i) {
		for _, mod := range w.m.Config.Modules() {
			if mod.Layer != i {
				continue
			}
			alone := w.base.Clone()
			if err := alone.Advance(ctx, w.with(mod)); err != nil {
				return err
			}
			part.Matrices = append(part.Matrices, MatrixDamage{Module: mod.Name, Err: apart(alone, after)})
			w.steps.Add(1)
		}
	} else {
		w.scaled = append(w.scaled, i)
		w.steps.Add(matrices(w.m.Config))
	}
	alone := w.base // which is of no use after this
	if err := alone.Advance(ctx, w.m); err != nil {
		return err
	}
	kld, err := w.ref.divergence(ctx, w.ref.Model, alone, w.windows)
	if err != nil {
		return err
	}
	part.KLD, part.KLDSE = kld.mean, kld.se()
	if err := w.own.Advance(ctx, w.m); err != nil {
		return err
	}
	w.base = after
	part.Err = apart(w.own, w.base)
	part.Added = part.Err - before
	w.steps.Add(2 + w.m.Config.Layers() - i)
	w.d.Parts = append(w.d.Parts, part)
	return nil
}

// with is the reference model with one matrix of m.
func (w *damageWalk) with(mod model.Module) *rt.Model {
	v := w.ref.Model.With(map[string]*kernels.Linear{mod.Name: w.m.Linear(mod.Name)})
	if b := w.m.Bias(mod.Name); b != nil {
		v = v.WithVectors(map[string][]float32{mod.Name + ".bias": b})
	}
	return v
}

// sameNorms reports whether both models normalize the inputs of a layer alike.
// Where they do not, scales were moved between norms and matrices, as AWQ does,
// and one of these matrices alone computes something else.
func (w *damageWalk) sameNorms(i int) bool {
	for _, n := range w.m.Config.Blocks[i].Norms() {
		if n.Weight != nil && !slices.Equal(w.m.Vector(n.Weight.Tensor), w.ref.Model.Vector(n.Weight.Tensor)) {
			return false
		}
	}
	return true
}

// apart is the distance of the hidden states in a from those in b, relative to
// the length of those in b, root mean square over tokens: every token counts
// alike, so that the few with huge states do not decide.
func apart(a, b *rt.Stack) float64 {
	var all moments
	for t, x := range a.States() {
		y := b.States()[t]
		h := len(y) / len(b.Texts()[t])
		for at := 0; at < len(y); at += h {
			var d, e float64
			for j := at; j < at+h; j++ {
				d += (float64(x[j]) - float64(y[j])) * (float64(x[j]) - float64(y[j]))
				e += float64(y[j]) * float64(y[j])
			}
			if e > 0 {
				all.add(d / e)
			}
		}
	}
	return math.Sqrt(all.mean)
}

// layerList names layers, "layer 3" or "layers 0, 1 and 4".
func layerList(layers []int) string {
	names := make([]string, len(layers))
	for i, l := range layers {
		names[i] = fmt.Sprint(l)
	}
	if len(names) == 1 {
		return "layer " + names[0]
	}
	return "layers " + Enumerate(names)
}

// Enumerate joins names, of which there is at least one: "a, b and c".
func Enumerate(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
