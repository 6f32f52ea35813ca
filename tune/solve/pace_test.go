package solve

import (
	"math"
	"testing"
)

// A speed and the time of products are each other's inverse, and a fit of two
// models gives both again.
func TestPaceInverse(t *testing.T) {
	p := NewPace(2*100+500, 100, 2*400+500, 400)
	if p.Factor != 2 || p.Overhead != 500 {
		t.Errorf("%+v", p)
	}
	if got := p.products(p.TPS(300)); math.Abs(got-300) > 1e-9 {
		t.Errorf("products of %g", got)
	}
	if math.Abs(p.TPS(300)-1e9/1100) > 1e-6 || p.TPS(0) != 0 || (Pace{}).TPS(5) != 0 {
		t.Errorf("speeds of %g, %g and %g", p.TPS(300), p.TPS(0), Pace{}.TPS(5))
	}
	for _, c := range []struct {
		small, smallNS, large, largeNS float64
		want                           Pace
	}{{150, 100, 200, 105, Pace{1, 50}}, {50, 100, 60, 105, Pace{1, 0}}, {100, 100, 110, 200, Pace{0.5, 50}}, {1000, 100, 9000, 200, Pace{4, 600}}} {
		if got := NewPace(c.small, c.smallNS, c.large, c.largeNS); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestPace(t *testing.T) {
	for _, c := range []struct{ small, smallNS, large, largeNS, factor, overhead float64 }{
		{1000, 600, 1800, 1000, 2, 0}, // 0 rather than negative
		{1000, 600, 1600, 1000, 1.5, 100},
		{1000, 600, 1100, 610, 1, 400},   // too close to tell
		{1000, 600, 900, 1000, 0.5, 700}, // noise
	} {
		p := NewPace(c.small, c.smallNS, c.large, c.largeNS)
		if p.Factor != c.factor || p.Overhead != c.overhead {
			t.Errorf("%v: %+v", c, p)
		}
		if ns := p.products(p.TPS(500)); ns < 499.999 || ns > 500.001 {
			t.Errorf("%+v: products of %g ns come back from their speed", p, ns)
		}
	}
	if (Pace{}).TPS(100) != 0 {
		t.Error("a speed without measurements")
	}
}
