package solve

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/model"
	"nibble/model/modeltest"
	"nibble/quant"
	"nibble/tune/space"
)

// scoredTiny is a problem of nine matrices, with three specs for each, whose scores,
// speeds and memory are drawn.
func scoredTiny(t *testing.T, rng *rand.Rand) (Problem, *model.Checkpoint) {
	t.Helper()
	c := modeltest.Small()
	c.Layers, c.DType = 1, "BF16"
	ck, err := model.Open(modeltest.New(1, c).Write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	specs, err := space.Parse("w4 g32 sym rtn, w8 g32 sym rtn, keep")
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(ck, nil, space.NewOffer(specs), false, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Classes) != 9 {
		t.Fatalf("%d classes", len(p.Classes))
	}
	p.Pace = Pace{Factor: 2, Overhead: 1000}
	for i := range p.Classes {
		for j := range p.Classes[i].Options {
			o := &p.Classes[i].Options[j]
			o.KLD, o.NS, o.RSS = rng.ExpFloat64()/float64(1+3*j), 100+900*rng.Float64(), 1000+rng.Int64N(9000)
		}
	}
	return p, ck
}

// choice is a pick and what it takes.
type choice struct {
	pick             []int
	sum, ns          float64
	bytes, rss, file int64
}

// everyChoice lists all picks.
func everyChoice(s Problem) []choice {
	all := []choice{{}}
	for _, c := range s.Classes {
		var next []choice
		for _, a := range all {
			for j, o := range c.Options {
				next = append(next, choice{append(slices.Clone(a.pick), j), a.sum + o.KLD, a.ns + o.NS, a.bytes + o.Bytes, a.rss + o.RSS, a.file + o.File})
			}
		}
		all = next
	}
	return all
}

// leastChoice is the choice of least cost of those allowed.
func leastChoice(all []choice, allowed func(choice) bool, cost func(choice) float64) (choice, bool) {
	best, found := choice{}, false
	for _, c := range all {
		if allowed(c) && (!found || cost(c) < cost(best)) {
			best, found = c, true
		}
	}
	return best, found
}

// What is solved for is the best there is, found by trying all.
func TestSolvedIsTheOptimum(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 6 {
		s, ck := scoredTiny(t, rng)
		all := everyChoice(s)
		some := all[rng.IntN(len(all))] // whose use is what may be used, so that there is a solution
		sum := func(c choice) float64 { return c.sum }
		bytes := func(c choice) float64 { return float64(c.bytes) }
		params := float64(s.Params)
		for name, c := range map[string]struct {
			limits  Limits
			allowed func(c choice) bool
		}{
			"no limit":         {Limits{}, func(choice) bool { return true }},
			"bits per weight":  {Limits{BPW: 8 * float64(some.bytes+s.Fixed) / params}, func(c choice) bool { return c.bytes <= some.bytes }},
			"speed":            {Limits{TPS: 1e9 / (2*some.ns + 1000)}, func(c choice) bool { return c.ns <= some.ns*(1+1e-9) }},
			"memory":           {Limits{RSS: some.rss + s.Around}, func(c choice) bool { return c.rss <= some.rss }},
			"speed and memory": {Limits{TPS: 1e9 / (2*some.ns + 1000), RSS: some.rss + s.Around}, func(c choice) bool { return c.ns <= some.ns*(1+1e-9) && c.rss <= some.rss }},
		} {
			limited := s.With(c.limits)
			want, _ := leastChoice(all, c.allowed, sum)
			got, err := limited.MostAccurate()
			if err != nil || math.Abs(got.Sum-want.sum) > 1e-9*want.sum+1e-12 {
				t.Errorf("%s: a sum of %g, the least is %g, %v", name, got.Sum, want.sum, err)
			}
			if !limited.Within(got) {
				t.Errorf("%s: the result is beyond the limits", name)
			}
			most := want.sum + 0.3*rng.Float64()
			want, _ = leastChoice(all, func(x choice) bool { return c.allowed(x) && x.sum <= most*(1+1e-12) }, bytes)
			small, err := limited.Smallest(most)
			if err != nil || limited.Bytes(small.Pick) != want.bytes || small.Sum > most*(1+1e-9) {
				t.Errorf("%s: %d bytes with a sum of %g, of at most %g the smallest takes %d, %v", name, limited.Bytes(small.Pick), small.Sum, most, want.bytes, err)
			}
			checkCandidate(t, limited, ck, small)
		}
		// A limit of the whole file keeps to the plan's size.
		c, err := s.Candidate(some.pick)
		if err != nil {
			t.Fatal(err)
		}
		limited := s.With(Limits{Bytes: c.Plan.SizeBytes})
		got, err := limited.MostAccurate()
		if err != nil || got.Plan.SizeBytes > limited.Limits.Bytes || got.Sum > some.sum*1.05 {
			t.Errorf("%d bytes with a sum of %g; %g is possible in %d, %v", got.Plan.SizeBytes, got.Sum, some.sum, limited.Limits.Bytes, err)
		}
		least, err := s.Least()
		want, _ := leastChoice(all, func(choice) bool { return true }, func(c choice) float64 { return float64(c.file) })
		if err != nil || s.file(least.Pick) != want.file {
			t.Errorf("the smallest of all takes %d, %d is possible, %v", s.file(least.Pick), want.file, err)
		}

		nowhereMore := func(x choice) bool {
			for i, j := range x.pick {
				if o, at := s.Classes[i].Options[j], s.Classes[i].Options[some.pick[i]]; j != some.pick[i] && (o.Bytes >= at.Bytes || o.NS > at.NS || o.RSS > at.RSS) {
					return false
				}
			}
			return true
		}
		fast := s.With(Limits{TPS: 1, RSS: 1}) // so that speed and memory count
		most := some.sum + rng.Float64()
		want, _ = leastChoice(all, func(x choice) bool { return nowhereMore(x) && x.sum <= most }, bytes)
		if got, err := fast.SmallerWithin(some.pick, most); err != nil || fast.Bytes(got.Pick) != want.bytes {
			t.Errorf("smaller than a pick: %d bytes, %d is possible, %v", fast.Bytes(got.Pick), want.bytes, err)
		}
		limit := (some.bytes + want.bytes) / 2
		want, _ = leastChoice(all, func(x choice) bool { return nowhereMore(x) && x.bytes <= limit }, sum)
		if got, err := fast.MoreAccurateWithin(some.pick, limit); err != nil || math.Abs(got.Sum-want.sum) > 1e-9*want.sum {
			t.Errorf("within %d bytes: a sum of %g, %g is possible, %v", limit, got.Sum, want.sum, err)
		}

		none := s.With(Limits{RSS: s.Around})
		if _, err := none.MostAccurate(); !errors.Is(err, ErrLimits) {
			t.Errorf("no memory for matrices: %v, want ErrLimits", err)
		}
		if _, err := s.Smallest(0); !errors.Is(err, ErrLimits) {
			t.Errorf("no loss at all: %v, want ErrLimits", err)
		}
	}
}

// checkCandidate looks whether a candidate is what its pick says.
func checkCandidate(t *testing.T, s Problem, ck *model.Checkpoint, c Candidate) {
	t.Helper()
	var ns, sum float64
	var rss, bytes int64
	for i, j := range c.Pick {
		o := s.Classes[i].Options[j]
		ns, sum, rss, bytes = ns+o.NS, sum+o.KLD, rss+o.RSS, bytes+o.Bytes
		for _, m := range s.Classes[i].Matrices {
			if got := c.Recipe.For(m); space.Effective(m, got) != space.Effective(m, o.Spec) {
				t.Errorf("%s is stored by %s, picked is %s", m.Name, got, o.Spec)
			}
		}
	}
	if c.NS != ns || math.Abs(c.Sum-sum) > 1e-12 || c.RSS != rss {
		t.Errorf("%g ns, %g, %d bytes of memory; the pick's are %g, %g and %d", c.NS, c.Sum, c.RSS, ns, sum, rss)
	}
	if plan, err := quant.NewPlan(ck, c.Recipe); err != nil || plan.SizeBytes != c.Plan.SizeBytes || plan.BPW != c.Plan.BPW {
		t.Errorf("the plan says %d bytes, %g bpw; it is %d, %g, %v", c.Plan.SizeBytes, c.Plan.BPW, plan.SizeBytes, plan.BPW, err)
	}
	if pick, ok := s.PickOf(c.Recipe); !ok || !slices.Equal(pick, c.Pick) {
		t.Errorf("the recipe is taken for %v, not %v", pick, c.Pick)
	}
}

// The front as it is reported goes from the smallest to the most accurate, and
// every point is one that is possible.
func TestFront(t *testing.T) {
	s, _ := scoredTiny(t, rand.New(rand.NewPCG(13, 14)))
	all := everyChoice(s)
	front := s.Front()
	if len(front) < 5 || len(front) > frontPoints {
		t.Fatalf("%d points", len(front))
	}
	for i, p := range front {
		if i > 0 && !(p.SizeBytes > front[i-1].SizeBytes && p.Sum < front[i-1].Sum) {
			t.Errorf("%+v follows %+v", p, front[i-1])
		}
		bytes := p.SizeBytes - s.Header - s.Fixed
		best, ok := leastChoice(all, func(c choice) bool { return c.bytes <= bytes }, func(c choice) float64 { return c.sum })
		if !ok || math.Abs(p.Sum-best.sum) > 1e-9 || math.Abs(p.BPW-8*float64(bytes+s.Fixed)/float64(s.Params)) > 1e-9 ||
			math.Abs(p.TPS*(2*best.ns+1000)/1e9-1) > 1e-9 {
			t.Errorf("%+v, the best of that size has %+v", p, best)
		}
	}
	least, _ := leastChoice(all, func(choice) bool { return true }, func(c choice) float64 { return float64(c.bytes) })
	most, _ := leastChoice(all, func(choice) bool { return true }, func(c choice) float64 { return c.sum })
	if first, last := front[0], front[len(front)-1]; first.SizeBytes-s.Header-s.Fixed != least.bytes || math.Abs(last.Sum-most.sum) > 1e-9 {
		t.Errorf("from %+v to %+v, want from %d bytes to %g", first, last, least.bytes, most.sum)
	}
}
