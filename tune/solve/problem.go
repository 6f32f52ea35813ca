package solve

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"nibble/model"
	"nibble/quant"
	"nibble/tune/space"
)

// ErrLimits reports that nothing offered keeps the limits.
var ErrLimits = errors.New("no recipe keeps the limits")

// Limits are what the user allows at most or, of speed, at least; 0 allows all.
type Limits struct {
	BPW   float64 // bits per weight
	Bytes int64   // of the weights file
	TPS   float64 // tokens a second to decode
	RSS   int64   // bytes of memory to run in, at a full context
}

// Any reports whether anything is limited.
func (l Limits) Any() bool { return l != Limits{} }

// size reports whether a plan keeps the limits of size, exactly.
func (l Limits) size(p quant.Plan) bool {
	return (l.BPW == 0 || p.BPW <= l.BPW) && (l.Bytes == 0 || p.SizeBytes <= l.Bytes)
}

// Problem is what a search chooses from, with what is known of each choice.
type Problem struct {
	Config  model.Config
	Offer   space.Offer
	Classes []space.Class // of all matrices
	Limits  Limits
	Pace    Pace // of decoding; zero until it is measured

	Params int64 // of the model
	Fixed  int64 // bytes of the tensors that are not matrices
	Header int64 // of the weights file, about
	Around int64 // bytes of memory that running takes beside the matrices
	Disk   int64 // bytes that the smallest recipe takes on disk

	plan func(quant.Recipe) (quant.Plan, error)
	memo map[string]Candidate // recipes with their plans, by the specs of the classes: the copies of a problem share them
}

// New states the problem of storing a model: what needs no measurement. Fused,
// matrices that read the same inputs share an option. Where no recipe keeps the
// limits of size, the error is ErrLimits.
func New(ck *model.Checkpoint, calibration *quant.Calibration, offer space.Offer, fused bool, limits Limits) (Problem, error) {
	p := Problem{Config: ck.Config, Offer: offer, Limits: limits, Params: ck.Params(), Around: around(ck.Config), memo: map[string]Candidate{}}
	p.plan = func(r quant.Recipe) (quant.Plan, error) {
		return quant.PlanFor(ck, r, quant.PlanOptions{Calibration: calibration})
	}
	var err error
	if p.Classes, err = space.Classes(ck, offer.Screened, fused); err != nil {
		return p, err
	}
	kept, err := quant.NewPlan(ck, space.Uniform(ck.Config, quant.Keep))
	if err != nil {
		return p, err
	}
	p.Fixed = space.TensorBytes(kept, ck)
	for _, m := range kept.Modules {
		p.Fixed -= m.Bytes
	}
	least, err := p.Least()
	if err != nil {
		return p, err
	}
	p.Disk = least.Plan.DiskBytes
	p.Header = least.Plan.SizeBytes - space.TensorBytes(least.Plan, ck)
	if !limits.size(least.Plan) {
		return p, fmt.Errorf("%w: the smallest that is offered takes %.3f bits per weight, %d bytes", ErrLimits, least.Plan.BPW, least.Plan.SizeBytes)
	}
	return p, nil
}

// around is the memory that running a model takes beside its matrices: the
// program, the tokenizer and the key-value cache of a whole context.
func around(c model.Config) int64 {
	const program, token = 24 << 20, 700
	cache := int64(c.Positions) * c.CacheBytes(2)
	return program + token*int64(c.Vocab) + cache
}

// With returns the problem with other limits.
func (p Problem) With(l Limits) Problem {
	p.Limits = l
	return p
}

// Plan plans a recipe with the calibration of the search.
func (p Problem) Plan(r quant.Recipe) (quant.Plan, error) { return p.plan(r) }

// Candidate is a recipe with what is known of it.
type Candidate struct {
	Pick   []int // by class: index of the option
	Recipe quant.Recipe
	Plan   quant.Plan
	Sum    float64 // of the divergences
	NS     float64 // of a decoded token, matrices alone
	RSS    int64   // of the matrices

	Refined bool
}

// Key names the recipe: candidates of one key are the same.
func (c Candidate) Key() string { return c.Recipe.String() }

// Candidate works out a pick, refined only if every recipe is.
func (p Problem) Candidate(pick []int) (Candidate, error) { return p.Build(pick, p.Offer.Always) }

// Build works out a pick, refined if that is wanted.
func (p Problem) Build(pick []int, refined bool) (Candidate, error) {
	out := Candidate{Pick: pick, Refined: refined}
	specs := make([]quant.Spec, len(pick)) // by class
	var key strings.Builder
	for i, j := range pick {
		o := p.Classes[i].Options[j]
		out.Sum += o.KLD
		out.NS += o.NS
		out.RSS += o.RSS
		if specs[i] = o.Spec; refined && p.trainable(i, o.Spec) {
			specs[i] = p.Offer.Refined(o.Spec)
		}
		key.WriteString(specs[i].String() + ";")
	}
	if known, ok := p.memo[key.String()]; ok {
		out.Recipe, out.Plan = known.Recipe, known.Plan
		return out, nil
	}
	byName := map[string]quant.Spec{}
	for i, c := range p.Classes {
		for _, m := range c.Matrices {
			byName[m.Name] = specs[i]
		}
	}
	out.Recipe = quant.Compact(p.Config, byName)
	out.Recipe.Name = "tuned"
	var err error
	if out.Plan, err = p.plan(out.Recipe); err == nil {
		p.memo[key.String()] = out
	}
	return out, err
}

// trainable reports whether refining changes what a class is stored by: outside the
// layers there is nothing to train, so that only a stand-in gives way.
func (p Problem) trainable(class int, spec quant.Spec) bool {
	return p.Classes[class].Matrices[0].Layer >= 0 || !slices.Contains(p.Offer.Specs, spec)
}

// PickOf finds the options of a recipe; ok is false if it uses others.
func (p Problem) PickOf(r quant.Recipe) (pick []int, ok bool) {
	for _, c := range p.Classes {
		at := -1
		m := c.Matrices[0]
		is := space.Effective(m, r.For(m))
		in := space.Effective(m, quant.StandIn(r.For(m)))
		for j, o := range c.Options {
			switch of := space.Effective(m, o.Spec); {
			case of == is:
				at = j
			case is != in && of.Scheme() == in.Scheme() && (at < 0 || o.KLD < c.Options[at].KLD): // what the solver would have refined
				at = j
			}
		}
		if at < 0 {
			return nil, false
		}
		pick = append(pick, at)
	}
	return pick, true
}

// Sum adds up the divergences of a pick, 0 for none.
func (p Problem) Sum(pick []int) float64 {
	sum := 0.0
	for i, j := range pick {
		sum += p.Classes[i].Options[j].KLD
	}
	return sum
}

// Bytes adds up what the matrices of a pick take.
func (p Problem) Bytes(pick []int) int64 {
	n := int64(0)
	for i, j := range pick {
		n += p.Classes[i].Options[j].Bytes
	}
	return n
}

// file adds up what the matrices of a pick take of the file.
func (p Problem) file(pick []int) int64 {
	n := int64(0)
	for i, j := range pick {
		n += p.Classes[i].Options[j].File
	}
	return n
}

// Within reports whether a candidate keeps the limits, of speed and memory as they
// are predicted.
func (p Problem) Within(c Candidate) bool {
	l := p.caps()
	return p.Limits.size(c.Plan) && c.NS <= l.ns && float64(c.RSS) <= l.rss
}

// caps are what the matrices of a recipe may use at most; infinite where there is no
// limit.
type caps struct{ sum, bytes, file, ns, rss float64 }

// caps turns the limits into limits of the matrices alone.
func (p Problem) caps() caps {
	inf := math.Inf(1)
	l := caps{inf, inf, inf, inf, inf}
	limits := p.Limits
	tensors := limits.BPW*float64(p.Params)/8 - float64(p.Fixed)
	switch {
	case limits.Bytes > 0:
		l.file = float64(limits.Bytes - p.Fixed)
		if limits.BPW > 0 { // the header is left out of the account
			l.file = min(l.file, tensors)
		}
	case limits.BPW > 0:
		l.bytes = tensors
	}
	if limits.TPS > 0 {
		l.ns = p.Pace.products(limits.TPS)
	}
	if limits.RSS > 0 {
		l.rss = float64(limits.RSS - p.Around)
	}
	return l
}
