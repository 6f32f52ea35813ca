package tune

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"nibble/quant"
	"nibble/tune/knapsack"
)

// candidate is a recipe with what the scores say of it.
type candidate struct {
	pick   []int // by class: index of the option
	recipe quant.Recipe
	plan   quant.Plan
	sum    float64 // of the divergences
	ns     float64 // of a decoded token, matrices alone
	rss    int64   // of the matrices

	refined bool
}

// errLimits reports that nothing offered keeps the limits.
var errLimits = errors.New("no recipe keeps the limits")

// limits are what the matrices of a recipe may use at most; infinite where there
// is none.
type limits struct{ sum, bytes, file, ns, rss float64 }

// limits turns the options into limits of the matrices alone.
func (s *search) limits() limits {
	inf := math.Inf(1)
	l := limits{inf, inf, inf, inf, inf}
	switch {
	case s.MaxBytes > 0:
		l.file = float64(s.MaxBytes - s.fixed)
		if s.MaxBPW > 0 { // the header is left out of the account
			l.file = min(l.file, s.MaxBPW*float64(s.Source.Params())/8-float64(s.fixed))
		}
	case s.MaxBPW > 0:
		l.bytes = s.MaxBPW*float64(s.Source.Params())/8 - float64(s.fixed)
	}
	if s.MinTPS > 0 {
		l.ns = s.pace.products(s.MinTPS)
	}
	if s.MaxRSS > 0 {
		l.rss = float64(s.MaxRSS - s.around())
	}
	return l
}

// around is the memory that running a model takes beside its matrices: the
// program, the tokenizer and the key-value cache of a whole context.
func (s *search) around() int64 {
	const program, token = 24 << 20, 700
	c := s.Source.Config
	cache := int64(c.Positions) * c.CacheBytes(2)
	return program + token*int64(c.Vocab) + cache
}

// smallest returns the smallest recipe whose divergences sum up to at most sum and
// that keeps all limits.
func (s *search) smallest(sum float64) (candidate, error) {
	l := s.limits()
	l.sum = sum
	c, err := s.solve(l, func(c class, i int) float64 { return float64(c.options[i].bytes) }, false)
	if err == nil && !s.allowed(c.plan) {
		err = errLimits
	}
	return c, err
}

// mostAccurate returns the recipe of least divergence that keeps all limits.
func (s *search) mostAccurate() (candidate, error) {
	for l := s.limits(); ; {
		c, err := s.solve(l, class.kld, true)
		if errors.Is(err, errLimits) && math.IsInf(l.ns, 1) && math.IsInf(l.rss, 1) {
			if least, err := s.least(); err != nil || s.allowed(least.plan) {
				return least, err
			}
		}
		if err != nil || s.allowed(c.plan) {
			return c, err
		}
		// The entries in the header are a few bytes longer or shorter.
		if over := c.plan.SizeBytes - s.MaxBytes; s.MaxBytes > 0 && over > 0 {
			l.file = min(l.file, float64(s.file(c.pick))) - float64(over)
		} else {
			l.bytes--
			l.file--
		}
	}
}

// least is the smallest recipe of all.
func (s *search) least() (candidate, error) {
	pick := make([]int, len(s.classes))
	for i, c := range s.classes {
		for j, o := range c.options {
			if o.file < c.options[pick[i]].file {
				pick[i] = j
			}
		}
	}
	return s.candidate(pick)
}

// file adds up what the matrices of a pick take of the file.
func (s *search) file(pick []int) int64 {
	n := int64(0)
	for i, j := range pick {
		n += s.classes[i].options[j].file
	}
	return n
}

// smaller returns a recipe that is nowhere larger, slower or in need of more memory
// than a pick: the smallest whose divergences sum up to at most sum or, if bytes is
// not 0, the most accurate whose matrices take at most so many.
func (s *search) smaller(pick []int, sum float64, bytes int64) (candidate, error) {
	less := *s
	less.classes = nil
	back := make([][]int, len(s.classes)) // indices of the options left
	for i, c := range s.classes {
		at := c.options[pick[i]]
		var options []option
		for j, o := range c.options {
			if j == pick[i] || o.bytes < at.bytes && (s.MinTPS == 0 || o.ns <= at.ns) && (s.MaxRSS == 0 || o.rss <= at.rss) {
				options, back[i] = append(options, o), append(back[i], j)
			}
		}
		c.options = options
		less.classes = append(less.classes, c)
	}
	inf := math.Inf(1)
	var c candidate
	var err error
	if bytes > 0 {
		c, err = less.solve(limits{inf, float64(bytes), inf, inf, inf}, class.kld, true)
	} else {
		c, err = less.solve(limits{sum, inf, inf, inf, inf}, func(c class, i int) float64 { return float64(c.options[i].bytes) }, false)
	}
	if err != nil {
		return c, err
	}
	for i := range c.pick {
		c.pick[i] = back[i][c.pick[i]]
	}
	return c, nil
}

// within reports whether a candidate keeps the limits, of speed and memory as they
// are predicted.
func (s *search) within(c candidate) bool {
	l := s.limits()
	return s.allowed(c.plan) && c.ns <= l.ns && float64(c.rss) <= l.rss
}

// solve picks an option for every class at the least cost within limits. Bytes
// count only if they are not the cost.
func (s *search) solve(l limits, cost func(class, int) float64, bytes bool) (candidate, error) {
	var caps []float64
	var uses []func(class, int) float64
	limit := func(most float64, use func(c class, i int) float64) {
		if !math.IsInf(most, 1) {
			caps, uses = append(caps, most), append(uses, use)
		}
	}
	limit(l.sum, class.kld)
	if bytes {
		limit(l.bytes, func(c class, i int) float64 { return float64(c.options[i].bytes) })
		limit(l.file, func(c class, i int) float64 { return float64(c.options[i].file) })
	}
	limit(l.ns, func(c class, i int) float64 { return c.options[i].ns })
	limit(l.rss, func(c class, i int) float64 { return float64(c.options[i].rss) })
	if len(caps) == 0 { // the solver wants one
		caps, uses = []float64{0}, []func(class, int) float64{func(class, int) float64 { return 0 }}
	}
	items := make([][]knapsack.Item, len(s.classes))
	for i, c := range s.classes {
		for j := range c.options {
			item := knapsack.Item{Cost: cost(c, j)}
			for a, use := range uses {
				item.Use[a] = use(c, j)
			}
			items[i] = append(items[i], item)
		}
	}
	p, err := knapsack.New(items)
	if err != nil {
		return candidate{}, err
	}
	sel, err := p.Solve(caps...)
	if errors.Is(err, knapsack.ErrInfeasible) {
		return candidate{}, fmt.Errorf("%w: %w", errLimits, err)
	} else if err != nil {
		return candidate{}, err
	}
	return s.candidate(sel.Pick)
}

// candidate works out a pick.
func (s *search) candidate(pick []int) (candidate, error) { return s.build(pick, s.always) }

// build works out a pick, refined if that is wanted.
func (s *search) build(pick []int, refined bool) (candidate, error) {
	out := candidate{pick: pick, refined: refined}
	specs := map[string]quant.Spec{}
	for i, j := range pick {
		c, o := s.classes[i], s.classes[i].options[j]
		out.sum += c.kld(j)
		out.ns += o.ns
		out.rss += o.rss
		for _, m := range c.modules {
			specs[m.Name] = o.spec
			if refined && (m.Layer >= 0 || !slices.Contains(s.Space, o.spec)) { // outside the layers there is nothing to train
				specs[m.Name] = s.refined(o.spec)
			}
		}
	}
	out.recipe = quant.Compact(s.Source.Config, specs)
	out.recipe.Name = "tuned"
	var err error
	out.plan, err = s.plan(out.recipe)
	return out, err
}

// allowed reports whether a plan keeps the limits of size, exactly.
func (s *search) allowed(p quant.Plan) bool {
	return (s.MaxBPW == 0 || p.BPW <= s.MaxBPW) && (s.MaxBytes == 0 || p.SizeBytes <= s.MaxBytes)
}

// predict says what a candidate is expected to give.
func (s *search) predict(c candidate) Prediction {
	p := s.predictorOf(c.refined)
	return Prediction{SizeBytes: c.plan.SizeBytes, BPW: c.plan.BPW, KLD: p.kld(c.sum), Loss: p.loss(c.sum), DecodeTPS: s.pace.tps(c.ns)}
}

// frontPoints bounds the front as it is reported.
const frontPoints = 64

// front predicts the whole front, from the smallest recipe to the most accurate.
func (s *search) front() []Prediction {
	items := make([][]knapsack.Item, len(s.classes))
	for i, c := range s.classes {
		for j, o := range c.options {
			items[i] = append(items[i], knapsack.Item{Cost: c.kld(j), Use: [knapsack.Axes]float64{float64(o.bytes), o.ns}})
		}
	}
	p, err := knapsack.New(items)
	if err != nil {
		return nil
	}
	all := p.Front()
	var out []Prediction
	for i := range min(len(all), frontPoints) {
		sel := all[i*(len(all)-1)/max(1, min(len(all), frontPoints)-1)]
		bytes := int64(sel.Use[0]) + s.fixed
		out = append(out, Prediction{SizeBytes: bytes + s.header, BPW: 8 * float64(bytes) / float64(s.Source.Params()),
			KLD: s.predictor.kld(max(0, sel.Cost)), Loss: s.predictor.loss(max(0, sel.Cost)), DecodeTPS: s.pace.tps(sel.Use[1])})
	}
	return out
}
