package tune

import (
	"errors"
	"math/rand/v2"
	"testing"

	"nibble/kernels/slowtest"
	"nibble/model"
	"nibble/quant"
)

// scored is a search whose scores are given, not measured.
func scored(t testing.TB, o Options, kld func() float64) *search {
	t.Helper()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	o.Source = ck
	if o.Space == nil {
		if o.Space, err = ParseSpace(DefaultSpace); err != nil {
			t.Fatal(err)
		}
	}
	s := &search{Options: o, predictor: fit(nil), pace: Pace{Factor: 1}}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	for i := range s.classes {
		for j := range s.classes[i].options {
			x := &s.classes[i].options[j]
			for range x.each {
				x.alone += kld()
			}
			x.ns, x.rss = float64(x.bytes)/10, x.bytes
		}
	}
	return s
}

// Whatever the scores, the result keeps the limits exactly and uses nothing that
// was not offered.
func TestLimitsKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range slowtest.Or(15, 60) {
		var o Options
		smallest, err := scored(t, o, rng.Float64).least()
		if err != nil {
			t.Fatal(err)
		}
		size := smallest.plan.SizeBytes + rng.Int64N(1_600_000)
		switch rng.IntN(3) {
		case 0:
			o.MaxBytes = size
		case 1:
			o.MaxBPW = smallest.plan.BPW + 12*rng.Float64()
		default:
			o.MaxBytes, o.MaxBPW = size, smallest.plan.BPW+12*rng.Float64()
		}
		o.Fused = rng.IntN(3) == 0
		s := scored(t, o, func() float64 { return rng.ExpFloat64() * []float64{1, 1e-6, 0}[rng.IntN(3)] })
		c, err := s.mostAccurate()
		if err != nil {
			t.Fatalf("%d bytes, %g bpw: %v", o.MaxBytes, o.MaxBPW, err)
		}
		p, err := quant.NewPlan(s.Source, c.recipe)
		if err != nil {
			t.Fatal(err)
		}
		if o.MaxBytes > 0 && p.SizeBytes > o.MaxBytes || o.MaxBPW > 0 && p.BPW > o.MaxBPW {
			t.Errorf("%d bytes, %g bpw asked; %d, %g got", o.MaxBytes, o.MaxBPW, p.SizeBytes, p.BPW)
		}
		for _, m := range p.Modules {
			found := false
			for _, spec := range s.Space {
				found = found || spec == c.recipe.For(m.Module)
			}
			if !found {
				t.Errorf("%s: %s was not offered", m.Module.Name, c.recipe.For(m.Module))
			}
		}
	}
}

// A limit of exactly the smallest size is met, one byte less is refused.
func TestSmallestSize(t *testing.T) {
	s := scored(t, Options{}, func() float64 { return 1 })
	c, err := s.least()
	if err != nil {
		t.Fatal(err)
	}
	s.MaxBytes = c.plan.SizeBytes
	if got, err := s.mostAccurate(); err != nil || got.plan.SizeBytes > s.MaxBytes {
		t.Errorf("%d bytes: %d, %v", s.MaxBytes, got.plan.SizeBytes, err)
	}
	s.MaxBytes--
	if _, err := s.mostAccurate(); !errors.Is(err, errLimits) {
		t.Errorf("a byte less than the smallest: %v, want errLimits", err)
	}
	if err := s.prepare(); !errors.Is(err, ErrOptions) {
		t.Errorf("a byte less than the smallest: %v, want ErrOptions", err)
	}
}

// Limits of several axes hold together, and smallest is no larger than needed.
func TestAxes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range slowtest.Or(15, 50) {
		s := scored(t, Options{}, rng.ExpFloat64)
		all := limits{}
		for _, c := range s.classes {
			least := c.options[0]
			for _, o := range c.options {
				if o.rss < least.rss {
					least = o
				}
			}
			all.rss, all.ns = all.rss+1.5*float64(least.rss), all.ns+1.3*least.ns
		}
		s.MinTPS = 1e9 / all.ns
		s.MaxRSS = int64(all.rss) + s.around()
		c, err := s.mostAccurate()
		if err != nil {
			t.Fatal(err)
		}
		if c.ns > all.ns*(1+1e-9) || float64(c.rss) > all.rss {
			t.Errorf("%g ns and %d bytes, %g and %g are allowed", c.ns, c.rss, all.ns, all.rss)
		}
		small, err := s.smallest(1.1 * c.sum)
		if err != nil {
			t.Fatal(err)
		}
		if small.sum > 1.1*c.sum*(1+1e-9) || s.bytes(small.pick) > s.bytes(c.pick) {
			t.Errorf("the smallest of sum %g has %g in %d bytes; the most accurate of those limits %d", c.sum, small.sum, s.bytes(small.pick), s.bytes(c.pick))
		}
	}
}
