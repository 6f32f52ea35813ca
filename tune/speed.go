package tune

import (
	"context"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
)

// measuring is how long kernels are measured at most.
var measuring = 2 * time.Second

// shape is a product that decoding computes.
type shape struct {
	n, k   int
	format string
}

// speed fills in what each option takes of a decoded token, as the kernel selector
// measures it, and in memory; and measures what decoding takes beside.
func (s *search) speed(ctx context.Context) error {
	s.l.send(Phase{"speed", "what decoding takes of every shape and scheme"})
	var shapes []kernels.Shape
	seen := map[shape]bool{}
	for _, c := range s.classes {
		for _, m := range c.modules {
			for _, o := range c.options {
				for _, at := range products(m, o.spec) {
					if !seen[at] {
						seen[at] = true
						shapes = append(shapes, kernels.Shape{Op: "matmul", Format: at.format, N: at.n, K: at.k, M: 1, Threads: s.Base.Engine.Threads()})
					}
				}
			}
		}
	}
	o := kernels.SelectOptions{Budget: measuring, CacheDir: s.CacheDir, Busy: true} // the same run again predicts the same
	if s.Budget > 0 {
		o.Budget = min(measuring, s.Budget/20)
	}
	table, err := s.Base.Engine.Select(ctx, shapes, o, func(e kernels.Event) { s.l.send(e) })
	if err != nil {
		return err
	}
	ns := map[shape]float64{}
	for _, c := range table.Choices {
		if c.M == 1 && len(c.Candidates) > 0 {
			ns[shape{c.N, c.K, c.Format}] = c.Candidates[0].NS
		}
	}
	for i := range s.classes {
		c := &s.classes[i]
		for j := range c.options {
			o := &c.options[j]
			o.ns, o.rss = 0, 0
			for _, m := range c.modules {
				all := products(m, o.spec)
				if o.spec.Kept() {
					l := s.Base.Linear(m.Name)
					at := shape{m.Rows, m.Cols, l.Format()}
					if _, ok := ns[at]; !ok {
						if ns[at], err = timeFloat(ctx, s.Base.Engine, l); err != nil {
							return err
						}
					}
					all = []shape{at}
					o.rss += l.Bytes()
				} else {
					o.rss += kernels.PackedBytes(m.Rows, m.Cols, o.spec.Scheme())
				}
				if !s.reads(m) {
					continue
				}
				for _, at := range all {
					o.ns += ns[at]
				}
			}
		}
	}
	return s.setPace(ctx)
}

// Pace makes the speed of decoding out of what the kernel selector measured of
// each product: alone, with its weights in the cache. It is measured once a run,
// so that the front, the limits and the report of a run agree.
type Pace struct {
	Factor   float64 `json:"factor"`      // of the products' time
	Overhead float64 `json:"overhead_ns"` // of a token, beside the products
}

// tps is the tokens a second of recipes whose products take ns; 0 if it is not
// known.
func (p Pace) tps(ns float64) float64 {
	if ns <= 0 || p.Factor == 0 {
		return 0
	}
	return 1e9 / (p.Factor*ns + p.Overhead)
}

// products is how long the products of a token may take for a speed.
func (p Pace) products(tps float64) float64 { return (1e9/tps - p.Overhead) / p.Factor }

// setPace times two models whose products are known, the smallest that is offered
// and the largest, unless an earlier part of the run did. Their weights do not
// matter and are zero.
func (s *search) setPace(ctx context.Context) error {
	if p := s.j.run.Pace; p != nil {
		s.pace = *p
		return nil
	}
	small, smallNS, err := s.timeModel(ctx, func(a, b option) bool { return a.bytes < b.bytes })
	if err != nil {
		return err
	}
	large, largeNS, err := s.timeModel(ctx, func(a, b option) bool { return a.bytes > b.bytes })
	if err != nil {
		return err
	}
	s.pace = newPace(small, smallNS, large, largeNS)
	s.j.run.Pace = &s.pace
	s.journaled(s.j.writeRun())
	return nil
}

// newPace fits the time of two models, of which the products take the times named
// with them.
func newPace(small, smallNS, large, largeNS float64) Pace {
	p := Pace{Factor: 1}
	if largeNS > 1.1*smallNS {
		p.Factor = min(max((large-small)/(largeNS-smallNS), 0.5), 4)
	}
	p.Overhead = max(0, small-p.Factor*smallNS)
	return p
}

// timeModel measures what a token takes, in ns, and sums up its products, of the
// model that has of each class the quantized option that comes first.
func (s *search) timeModel(ctx context.Context, before func(a, b option) bool) (token, products float64, err error) {
	over := map[string]*kernels.Linear{}
	for _, c := range s.classes {
		var at *option
		for j := range c.options {
			if o := &c.options[j]; !o.spec.Kept() && (at == nil || before(*o, *at)) {
				at = o
			}
		}
		if at == nil { // kept whatever the recipe
			products += c.options[0].ns
			continue
		}
		products += at.ns
		for _, m := range c.modules {
			q, err := kernels.NewQTensor(m.Rows, m.Cols, at.spec.Scheme())
			if err != nil {
				return 0, 0, err
			}
			if over[m.Name], err = kernels.NewQuantLinear(q); err != nil {
				return 0, 0, err
			}
		}
	}
	best := 0.0 // others on the machine only take away
	m := s.Base.With(over)
	for begun := time.Now(); best == 0 || time.Since(begun) < paceTime; {
		_, err := rt.Bench(ctx, m, rt.BenchOptions{Decode: paceTokens, Reps: 1}, func(p rt.BenchProgress) { best = max(best, p.TPS) })
		if err != nil {
			return 0, 0, err
		}
	}
	return 1e9 / best, products, nil
}

// A model is timed by so many tokens, again and again for a while.
const (
	paceTokens = 4
	paceTime   = 150 * time.Millisecond
)

// reads reports whether decoding a token reads the matrix, and not a row of it.
func (s *search) reads(m model.Module) bool {
	return m.Kind != "embed" || s.Source.Config.Tied
}

// products are those that decoding computes of a matrix: none of one that is kept.
func products(m model.Module, spec quant.Spec) []shape {
	if spec.Kept() {
		return nil
	}
	var out []shape
	for _, p := range spec.Scheme().Parts(m.Rows) {
		out = append(out, shape{p.Rows, m.Cols, p.Scheme.String()})
	}
	return out
}

// timeFloat measures a product with one token, in ns.
func timeFloat(ctx context.Context, eng *kernels.Engine, l *kernels.Linear) (float64, error) {
	acts := eng.NewActs()
	acts.Set(make([]float32, l.K()), 1, l.K())
	dst := make([]float32, l.N())
	var times []float64
	for begun := time.Now(); len(times) < 5 || time.Since(begun) < 5*time.Millisecond && len(times) < 1000; {
		start := time.Now()
		if err := eng.MatMul(ctx, acts, kernels.Product{W: l, Dst: dst}); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(start).Nanoseconds()))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
