package solve

import (
	"errors"
	"math/rand/v2"
	"testing"

	"nibble/kernels/slowtest"
	"nibble/model"
	"nibble/tune/space"
)

// opened is the demo.
func opened(t testing.TB) *model.Checkpoint {
	t.Helper()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	return ck
}

// scored is a problem whose scores are given, not measured.
func scored(t testing.TB, limits Limits, fused bool, kld func() float64) Problem {
	t.Helper()
	ck := opened(t)
	specs, err := space.Parse(space.Default)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(ck, nil, space.NewOffer(specs), fused, limits)
	if err != nil {
		t.Fatal(err)
	}
	p.Pace = Pace{Factor: 1}
	for i := range p.Classes {
		for j := range p.Classes[i].Options {
			x := &p.Classes[i].Options[j]
			for range x.Parts {
				x.KLD += kld()
			}
			x.NS, x.RSS = float64(x.Bytes)/10, x.Bytes
		}
	}
	return p
}

// Whatever the scores, the result keeps the limits exactly and uses nothing that
// was not offered.
func TestLimitsKept(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range slowtest.Or(15, 60) {
		var o Limits
		smallest, err := scored(t, o, false, rng.Float64).Least()
		if err != nil {
			t.Fatal(err)
		}
		size := smallest.Plan.SizeBytes + rng.Int64N(1_600_000)
		switch rng.IntN(3) {
		case 0:
			o.Bytes = size
		case 1:
			o.BPW = smallest.Plan.BPW + 12*rng.Float64()
		default:
			o.Bytes, o.BPW = size, smallest.Plan.BPW+12*rng.Float64()
		}
		s := scored(t, o, rng.IntN(3) == 0, func() float64 { return rng.ExpFloat64() * []float64{1, 1e-6, 0}[rng.IntN(3)] })
		c, err := s.MostAccurate()
		if err != nil {
			t.Fatalf("%d bytes, %g bpw: %v", o.Bytes, o.BPW, err)
		}
		p, err := s.Plan(c.Recipe)
		if err != nil {
			t.Fatal(err)
		}
		if o.Bytes > 0 && p.SizeBytes > o.Bytes || o.BPW > 0 && p.BPW > o.BPW {
			t.Errorf("%d bytes, %g bpw asked; %d, %g got", o.Bytes, o.BPW, p.SizeBytes, p.BPW)
		}
		for _, m := range p.Modules {
			found := false
			for _, spec := range s.Offer.Screened {
				found = found || spec == c.Recipe.For(m.Module)
			}
			if !found {
				t.Errorf("%s: %s was not offered", m.Module.Name, c.Recipe.For(m.Module))
			}
		}
	}
}

// A limit of exactly the smallest size is met, one byte less is refused.
func TestSmallestSize(t *testing.T) {
	s := scored(t, Limits{}, false, func() float64 { return 1 })
	c, err := s.Least()
	if err != nil {
		t.Fatal(err)
	}
	s.Limits.Bytes = c.Plan.SizeBytes
	if got, err := s.MostAccurate(); err != nil || got.Plan.SizeBytes > s.Limits.Bytes {
		t.Errorf("%d bytes: %d, %v", s.Limits.Bytes, got.Plan.SizeBytes, err)
	}
	s.Limits.Bytes--
	if _, err := s.MostAccurate(); !errors.Is(err, ErrLimits) {
		t.Errorf("a byte less than the smallest: %v, want ErrLimits", err)
	}
	if _, err := New(opened(t), nil, s.Offer, false, s.Limits); !errors.Is(err, ErrLimits) {
		t.Errorf("a byte less than the smallest: %v, want ErrLimits", err)
	}
}

// Limits of several axes hold together, and smallest is no larger than needed.
func TestAxes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range slowtest.Or(15, 50) {
		s := scored(t, Limits{}, false, rng.ExpFloat64)
		all := caps{}
		for _, c := range s.Classes {
			least := c.Options[0]
			for _, o := range c.Options {
				if o.RSS < least.RSS {
					least = o
				}
			}
			all.rss, all.ns = all.rss+1.5*float64(least.RSS), all.ns+1.3*least.NS
		}
		s.Limits.TPS = 1e9 / all.ns
		s.Limits.RSS = int64(all.rss) + s.Around
		c, err := s.MostAccurate()
		if err != nil {
			t.Fatal(err)
		}
		if c.NS > all.ns*(1+1e-9) || float64(c.RSS) > all.rss {
			t.Errorf("%g ns and %d bytes, %g and %g are allowed", c.NS, c.RSS, all.ns, all.rss)
		}
		small, err := s.Smallest(1.1 * c.Sum)
		if err != nil {
			t.Fatal(err)
		}
		if small.Sum > 1.1*c.Sum*(1+1e-9) || s.Bytes(small.Pick) > s.Bytes(c.Pick) {
			t.Errorf("the smallest of sum %g has %g in %d bytes; the most accurate of those limits %d", c.Sum, small.Sum, s.Bytes(small.Pick), s.Bytes(c.Pick))
		}
	}
}
