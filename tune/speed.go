package tune

import (
	"context"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
)

// shape is a product that decoding computes.
type shape struct {
	n, k   int
	format string
}

// speed fills in what each option takes of a decoded token, as the kernel selector
// measures it, and in memory; and measures what decoding takes beside.
func (s *search) speed(ctx context.Context) error {
	s.l.send(Phase{"speed", "what decoding takes of every shape and scheme"})
	formats, err := s.formats()
	if err != nil {
		return err
	}
	var shapes []kernels.Shape
	seen := map[shape]bool{}
	for _, c := range s.classes {
		for _, m := range c.modules {
			for _, o := range c.options {
				at := shape{m.Rows, m.Cols, o.spec.Scheme().String()}
				if !o.spec.Kept() && !seen[at] {
					seen[at] = true
					shapes = append(shapes, kernels.Shape{Op: "matmul", Format: at.format, N: at.n, K: at.k, M: 1, Threads: s.Base.Engine.Threads()})
				}
			}
		}
	}
	o := kernels.SelectOptions{CacheDir: s.CacheDir}
	if s.Budget > 0 {
		o.Budget = min(2*time.Second, s.Budget/20)
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
	own := 0.0 // of the float model
	for i := range s.classes {
		c := &s.classes[i]
		for j := range c.options {
			o := &c.options[j]
			o.ns, o.rss = 0, 0
			for _, m := range c.modules {
				at := shape{m.Rows, m.Cols, o.spec.Scheme().String()}
				if o.spec.Kept() {
					l := s.Base.Linear(m.Name)
					at.format = l.Format()
					if _, ok := ns[at]; !ok {
						if ns[at], err = timeFloat(ctx, s.Base.Engine, l); err != nil {
							return err
						}
					}
					o.rss += l.Bytes()
				} else {
					o.rss += formats[at]
				}
				if s.reads(m) {
					o.ns += ns[at]
				}
			}
		}
		for _, m := range c.modules {
			l := s.Base.Linear(m.Name)
			at := shape{m.Rows, m.Cols, l.Format()}
			if _, ok := ns[at]; !ok {
				if ns[at], err = timeFloat(ctx, s.Base.Engine, l); err != nil {
					return err
				}
			}
			if s.reads(m) {
				own += ns[at]
			}
		}
	}
	bench, err := rt.Bench(ctx, s.Base, rt.BenchOptions{Decode: benchTokens, Reps: 1}, nil)
	if err != nil {
		return err
	}
	s.float = evidence{ns: 1e9 / bench.DecodeTPS, products: own}
	s.learn()
	return nil
}

// benchTokens is how many tokens measure the speed of decoding.
const benchTokens = 32

// reads reports whether decoding a token reads the matrix, and not a row of it.
func (s *search) reads(m model.Module) bool {
	return m.Kind != "embed" || s.Source.Config.TieEmbeddings
}

// formats returns the memory of every shape in every scheme, as the kernels read
// it.
func (s *search) formats() (map[shape]int64, error) {
	out := map[shape]int64{}
	for _, c := range s.classes {
		for _, m := range c.modules {
			for _, o := range c.options {
				at := shape{m.Rows, m.Cols, o.spec.Scheme().String()}
				if _, ok := out[at]; ok || o.spec.Kept() {
					continue
				}
				// Panels of rows are alike: a few tell of all.
				rows := min(m.Rows, 1024)
				q, err := kernels.NewQTensor(rows, m.Cols, o.spec.Scheme())
				if err != nil {
					return nil, err
				}
				l, err := kernels.NewQuantLinear(q)
				if err != nil {
					return nil, err
				}
				out[at] = l.Bytes() * int64(m.Rows) / int64(rows)
			}
		}
	}
	return out, nil
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
