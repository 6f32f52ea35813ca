package workbench

import (
	rt "nibble/runtime"

	"context"
	"nibble/kernels"
	"slices"
)

func (b *backend) selectFor(ctx context.Context, m *rt.Model, refresh bool) error {
	return b.selectShapes(ctx, m.Shapes(), refresh)
}

func (b *backend) selectShapes(ctx context.Context, shapes []kernels.Shape, refresh bool) error {
	eta := newETA()
	b.mail.fact(func(s *state) { s.kernel.measuring = true })
	t, err := b.eng.Select(ctx, shapes, kernels.SelectOptions{Budget: b.effort, CacheDir: b.o.CacheDir, Refresh: refresh}, func(e kernels.Event) {
		switch e := e.(type) {
		case kernels.SelectStarted:
			b.mail.fact(func(s *state) {
				s.kernel.limits, s.kernel.total, s.kernel.done = e.Limits, e.Total, 0
				if refresh {
					s.kernel.choices = nil
				}
			})
		case kernels.Unkept:
			b.mail.fact(func(s *state) { s.say("the measurements are not kept for the next time: " + e.Why) })
		case kernels.ShapeMeasured:
			b.progress(eta, float64(e.Done)/float64(e.Total), e.Choice.Reason)
			b.mail.fact(func(s *state) { s.kernel.choices, s.kernel.done = append(s.kernel.choices, e.Choice), e.Done })
		}
	})
	if err != nil {
		return err
	}
	want := make(map[kernels.Shape]bool, len(shapes))
	for _, s := range shapes {
		want[s] = true
	}
	var mine []kernels.Choice
	for _, c := range t.Choices {
		if want[c.Shape] {
			mine = append(mine, c)
		}
	}
	b.mail.fact(func(s *state) { s.kernel.choices, s.kernel.measuring = mine, false })
	return nil
}

func (b *backend) measureKernels() {
	b.start("measuring kernels", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		switch {
		case b.int4 != nil:
			return b.selectFor(ctx, b.int4, true)
		case b.ck.Quantized:
			return b.selectFor(ctx, b.base, true)
		}
		return b.selectShapes(ctx, b.plannedShapes(), true)
	})
}

// curveSizes are the batch sizes of a curve.
func curveSizes() []int { return []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512} }

// measureCurve measures one matrix at every batch size from 1 to 512.
func (b *backend) measureCurve(of kernels.Shape) {
	b.start("measuring batch sizes", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		var shapes []kernels.Shape
		for _, m := range curveSizes() {
			s := of
			s.M = m
			shapes = append(shapes, s)
		}
		b.mail.fact(func(s *state) { s.kernel.curve = nil })
		eta := newETA()
		t, err := b.eng.Select(ctx, shapes, kernels.SelectOptions{Budget: b.effort, CacheDir: b.o.CacheDir}, func(e kernels.Event) {
			if e, ok := e.(kernels.ShapeMeasured); ok {
				b.progress(eta, float64(e.Done)/float64(e.Total), e.Choice.Reason)
				b.mail.fact(func(s *state) { s.kernel.curve = append(s.kernel.curve, e.Choice) })
			}
		})
		if err != nil {
			return err
		}
		var curve []kernels.Choice
		for _, shape := range shapes {
			if i := slices.IndexFunc(t.Choices, func(c kernels.Choice) bool { return c.Shape == shape }); i >= 0 {
				curve = append(curve, t.Choices[i])
			}
		}
		b.mail.fact(func(s *state) { s.kernel.curve = curve })
		return nil
	})
}

// measureDecode measures how fast the INT4 model generates with a kernel forced,
// after the same with the one before unless that was measured already.
func (b *backend) measureDecode(before, kernel string) {
	b.start("measuring decode speed", func(ctx context.Context) error {
		m := b.int4
		if m == nil && b.ck != nil && b.ck.Quantized {
			m = b.base
		}
		if m == nil {
			b.mail.fact(func(s *state) { s.say("no INT4 model yet whose speed could change: press z or t first") })
			return nil
		}
		defer func() { _ = b.eng.Force(b.wanted()) }() // which was accepted before
		ways := []string{before, kernel}
		if b.decoded == m {
			ways = ways[1:]
		} else {
			b.mail.fact(func(s *state) { s.kernel.decode = nil })
		}
		for i, k := range ways {
			if b.wanted() != kernel {
				return nil // another was forced in the meantime
			}
			if err := b.eng.Force(k); err != nil {
				return err
			}
			eta := newETA()
			res, err := rt.Bench(ctx, m, rt.BenchOptions{Decode: 64, Reps: 3}, func(p rt.BenchProgress) {
				b.progress(eta, (float64(i)+float64(p.Rep)/float64(p.Reps))/float64(len(ways)), kernelName(k))
			})
			if err != nil {
				return err
			}
			b.decoded = m
			b.mail.fact(func(s *state) {
				s.kernel.decode = append(s.kernel.decode, decodeSpeed{k, res.DecodeTPS})
				s.say("decode " + decodeText(s.kernel.decode))
			})
		}
		return nil
	})
}

// kernelName names what Force was given.
func kernelName(kernel string) string {
	if kernel == "" {
		return "the measured kernels"
	}
	return kernel
}

// wanted is the kernel that was forced last, "" if the measured ones are used.
func (b *backend) wanted() string {
	if k := b.forced.Load(); k != nil {
		return *k
	}
	return ""
}

// force takes effect at once, also in a running job; if none runs, the difference
// is measured.
func (b *backend) force(kernel string) {
	eng := b.live.Load()
	if eng == nil {
		return
	}
	before := b.wanted()
	err := eng.Force(kernel)
	if err == nil {
		b.forced.Store(&kernel)
	}
	b.mail.fact(func(s *state) {
		if err != nil {
			s.fail(err)
			return
		}
		s.kernel.forced = kernel
		if kernel == "" {
			s.say("every product uses the kernel that was measured for it")
		} else {
			s.say("every product uses " + kernel + " where it can; answers stay the same, speed changes")
		}
	})
	if err == nil && b.jobs.running() == "" {
		b.measureDecode(before, kernel)
	}
}
