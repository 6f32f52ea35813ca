package speed

import (
	"context"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/tune/solve"
	"nibble/tune/space"
)

// Longest is how long kernels are measured at most.
const Longest = 2 * time.Second

// shape is a product that decoding computes.
type shape struct {
	n, k   int
	format string
}

// Products fills in what each option takes of a decoded token, as the kernel selector
// measures it within a budget, and in memory. The same again, with a cache, gives the
// same.
func Products(ctx context.Context, base *rt.Model, classes []space.Class, budget time.Duration, cacheDir string, l func(kernels.Event)) error {
	eng := base.Engine
	var shapes []kernels.Shape
	seen := map[shape]bool{}
	for _, c := range classes {
		for _, m := range c.Matrices {
			for _, o := range c.Options {
				for _, at := range products(m, o.Spec) {
					if !seen[at] {
						seen[at] = true
						shapes = append(shapes, kernels.Shape{Op: "matmul", Format: at.format, N: at.n, K: at.k, M: 1, Threads: eng.Threads()})
					}
				}
			}
		}
	}
	table, err := eng.Select(ctx, shapes, kernels.SelectOptions{Budget: budget, CacheDir: cacheDir, Busy: true}, l)
	if err != nil {
		return err
	}
	ns := map[shape]float64{}
	for _, c := range table.Choices {
		if c.M == 1 && len(c.Candidates) > 0 {
			ns[shape{c.N, c.K, c.Format}] = c.Candidates[0].NS
		}
	}
	census := base.Config.Census()
	chosen := float64(census.TopK) / float64(max(1, census.Experts)) // of experts, for a token
	for i := range classes {
		for j := range classes[i].Options {
			o := &classes[i].Options[j]
			o.NS, o.RSS = 0, 0
			for _, m := range classes[i].Matrices {
				all := products(m, o.Spec)
				if o.Spec.Kept() {
					l := base.Linear(m.Name)
					at := shape{m.Rows, m.Cols, l.Format()}
					if _, ok := ns[at]; !ok {
						if ns[at], err = timeFloat(ctx, eng, l); err != nil {
							return err
						}
					}
					all = []shape{at}
					o.RSS += l.Bytes()
				} else {
					o.RSS += kernels.PackedBytes(m.Rows, m.Cols, o.Spec.Scheme())
				}
				for _, at := range all {
					o.NS += reads(base.Config, m, chosen) * ns[at]
				}
			}
		}
	}
	return nil
}

// reads is how often decoding a token reads a matrix: never of an embedding, of which
// it reads a row; of an expert, as often as it is chosen.
func reads(c model.Config, m model.Module, chosen float64) float64 {
	switch {
	case m.Kind == "embed" && !c.Tied:
		return 0
	case m.Linear != nil && m.Linear.Expert >= 0:
		return chosen
	}
	return 1
}

// MeasurePace times two models whose products are known, the smallest that is offered
// and the largest.
func MeasurePace(ctx context.Context, base *rt.Model, classes []space.Class) (solve.Pace, error) {
	small, smallNS, err := timeModel(ctx, base, classes, func(a, b space.Option) bool { return a.Bytes < b.Bytes })
	if err != nil {
		return solve.Pace{}, err
	}
	large, largeNS, err := timeModel(ctx, base, classes, func(a, b space.Option) bool { return a.Bytes > b.Bytes })
	if err != nil {
		return solve.Pace{}, err
	}
	return solve.NewPace(small, smallNS, large, largeNS), nil
}

// timeModel measures what a token takes, in ns, and sums up its products, of the
// model that has of each class the quantized option that comes first. Its weights do
// not matter and are zero.
func timeModel(ctx context.Context, base *rt.Model, classes []space.Class, before func(a, b space.Option) bool) (token, products float64, err error) {
	over := map[string]*kernels.Linear{}
	for _, c := range classes {
		var at *space.Option
		for j := range c.Options {
			if o := &c.Options[j]; !o.Spec.Kept() && (at == nil || before(*o, *at)) {
				at = o
			}
		}
		if at == nil { // kept whatever the recipe
			products += c.Options[0].NS
			continue
		}
		products += at.NS
		for _, m := range c.Matrices {
			q, err := kernels.NewQTensor(m.Rows, m.Cols, at.Spec.Scheme())
			if err != nil {
				return 0, 0, err
			}
			if over[m.Name], err = kernels.NewQuantLinear(q); err != nil {
				return 0, 0, err
			}
		}
	}
	best := 0.0 // others on the machine only take away
	m := base.With(over)
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
