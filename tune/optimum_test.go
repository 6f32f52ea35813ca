package tune

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/model"
	"nibble/model/modeltest"
	"nibble/quant"
)

// scoredTiny is a search over a model of nine matrices, with three ways to store
// each, whose scores, speeds and memory are drawn.
func scoredTiny(t *testing.T, rng *rand.Rand) *search {
	t.Helper()
	c := modeltest.Small()
	c.Layers, c.DType = 1, "BF16"
	ck, err := model.Open(modeltest.New(1, c).Write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	s := &search{predictor: fit(nil), pace: Pace{Factor: 2, Overhead: 1000}}
	s.Source = ck
	if s.Space, err = ParseSpace("w4 g32 sym rtn, w8 g32 sym rtn, keep"); err != nil {
		t.Fatal(err)
	}
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	if len(s.classes) != 9 {
		t.Fatalf("%d classes", len(s.classes))
	}
	for i := range s.classes {
		for j := range s.classes[i].options {
			o := &s.classes[i].options[j]
			o.alone, o.ns, o.rss = rng.ExpFloat64()/float64(1+3*j), 100+900*rng.Float64(), 1000+rng.Int64N(9000)
		}
	}
	return s
}

// choice is a pick and what it takes.
type choice struct {
	pick             []int
	sum, ns          float64
	bytes, rss, file int64
}

// everyChoice lists all picks.
func everyChoice(s *search) []choice {
	all := []choice{{}}
	for _, c := range s.classes {
		var next []choice
		for _, a := range all {
			for j, o := range c.options {
				next = append(next, choice{append(slices.Clone(a.pick), j), a.sum + o.alone, a.ns + o.ns, a.bytes + o.bytes, a.rss + o.rss, a.file + o.file})
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
		s := scoredTiny(t, rng)
		all := everyChoice(s)
		some := all[rng.IntN(len(all))] // whose use is what may be used, so that there is a solution
		sum := func(c choice) float64 { return c.sum }
		bytes := func(c choice) float64 { return float64(c.bytes) }
		params := float64(s.Source.Params())
		for name, c := range map[string]struct {
			set     func(s *search)
			allowed func(c choice) bool
		}{
			"no limit":         {func(*search) {}, func(choice) bool { return true }},
			"bits per weight":  {func(s *search) { s.MaxBPW = 8 * float64(some.bytes+s.fixed) / params }, func(c choice) bool { return c.bytes <= some.bytes }},
			"speed":            {func(s *search) { s.MinTPS = 1e9 / (2*some.ns + 1000) }, func(c choice) bool { return c.ns <= some.ns*(1+1e-9) }},
			"memory":           {func(s *search) { s.MaxRSS = some.rss + s.around() }, func(c choice) bool { return c.rss <= some.rss }},
			"speed and memory": {func(s *search) { s.MinTPS, s.MaxRSS = 1e9/(2*some.ns+1000), some.rss+s.around() }, func(c choice) bool { return c.ns <= some.ns*(1+1e-9) && c.rss <= some.rss }},
		} {
			limited := *s
			c.set(&limited)
			want, _ := leastChoice(all, c.allowed, sum)
			got, err := limited.mostAccurate()
			if err != nil || math.Abs(got.sum-want.sum) > 1e-9*want.sum+1e-12 {
				t.Errorf("%s: a sum of %g, the least is %g, %v", name, got.sum, want.sum, err)
			}
			if !limited.within(got) {
				t.Errorf("%s: the result is beyond the limits", name)
			}
			most := want.sum + 0.3*rng.Float64()
			want, _ = leastChoice(all, func(x choice) bool { return c.allowed(x) && x.sum <= most*(1+1e-12) }, bytes)
			small, err := limited.smallest(most)
			if err != nil || limited.bytes(small.pick) != want.bytes || small.sum > most*(1+1e-9) {
				t.Errorf("%s: %d bytes with a sum of %g, of at most %g the smallest takes %d, %v", name, limited.bytes(small.pick), small.sum, most, want.bytes, err)
			}
			checkCandidate(t, &limited, small)
		}
		// A limit of the whole file keeps to the plan's size.
		c, err := s.candidate(some.pick)
		if err != nil {
			t.Fatal(err)
		}
		limited := *s
		limited.MaxBytes = c.plan.SizeBytes
		got, err := limited.mostAccurate()
		if err != nil || got.plan.SizeBytes > limited.MaxBytes || got.sum > some.sum*1.05 {
			t.Errorf("%d bytes with a sum of %g; %g is possible in %d, %v", got.plan.SizeBytes, got.sum, some.sum, limited.MaxBytes, err)
		}
		least, err := s.least()
		want, _ := leastChoice(all, func(choice) bool { return true }, func(c choice) float64 { return float64(c.file) })
		if err != nil || s.file(least.pick) != want.file {
			t.Errorf("the smallest of all takes %d, %d is possible, %v", s.file(least.pick), want.file, err)
		}

		nowhereMore := func(x choice) bool {
			for i, j := range x.pick {
				if o, at := s.classes[i].options[j], s.classes[i].options[some.pick[i]]; j != some.pick[i] && (o.bytes >= at.bytes || o.ns > at.ns || o.rss > at.rss) {
					return false
				}
			}
			return true
		}
		fast := *s
		fast.MinTPS, fast.MaxRSS = 1, 1 // so that speed and memory count
		most := some.sum + rng.Float64()
		want, _ = leastChoice(all, func(x choice) bool { return nowhereMore(x) && x.sum <= most }, bytes)
		if got, err := fast.smaller(some.pick, most, 0); err != nil || fast.bytes(got.pick) != want.bytes {
			t.Errorf("smaller than a pick: %d bytes, %d is possible, %v", fast.bytes(got.pick), want.bytes, err)
		}
		limit := (some.bytes + want.bytes) / 2
		want, _ = leastChoice(all, func(x choice) bool { return nowhereMore(x) && x.bytes <= limit }, sum)
		if got, err := fast.smaller(some.pick, 0, limit); err != nil || math.Abs(got.sum-want.sum) > 1e-9*want.sum {
			t.Errorf("within %d bytes: a sum of %g, %g is possible, %v", limit, got.sum, want.sum, err)
		}

		none := *s
		none.MaxRSS = none.around()
		if _, err := none.mostAccurate(); !errors.Is(err, errLimits) {
			t.Errorf("no memory for matrices: %v, want errLimits", err)
		}
		if _, err := s.smallest(0); !errors.Is(err, errLimits) {
			t.Errorf("no loss at all: %v, want errLimits", err)
		}
	}
}

// checkCandidate looks whether a candidate is what its pick says.
func checkCandidate(t *testing.T, s *search, c candidate) {
	t.Helper()
	var ns, sum float64
	var rss, bytes int64
	for i, j := range c.pick {
		o := s.classes[i].options[j]
		ns, sum, rss, bytes = ns+o.ns, sum+o.alone, rss+o.rss, bytes+o.bytes
		for _, m := range s.classes[i].modules {
			if got := c.recipe.For(m); comesTo(m, got) != comesTo(m, o.spec) {
				t.Errorf("%s is stored by %s, picked is %s", m.Name, got, o.spec)
			}
		}
	}
	if c.ns != ns || math.Abs(c.sum-sum) > 1e-12 || c.rss != rss {
		t.Errorf("%g ns, %g, %d bytes of memory; the pick's are %g, %g and %d", c.ns, c.sum, c.rss, ns, sum, rss)
	}
	if plan, err := quant.NewPlan(s.Source, c.recipe); err != nil || plan.SizeBytes != c.plan.SizeBytes || plan.BPW != c.plan.BPW {
		t.Errorf("the plan says %d bytes, %g bpw; it is %d, %g, %v", c.plan.SizeBytes, c.plan.BPW, plan.SizeBytes, plan.BPW, err)
	}
	if pick, ok := s.pickOf(c.recipe); !ok || !slices.Equal(pick, c.pick) {
		t.Errorf("the recipe is taken for %v, not %v", pick, c.pick)
	}
	p := s.predict(c)
	if want := (Prediction{SizeBytes: c.plan.SizeBytes, BPW: c.plan.BPW, KLD: sum, Loss: math.Expm1(sum), DecodeTPS: 1e9 / (2*ns + 1000)}); math.Abs(p.KLD-want.KLD) > 1e-9 ||
		math.Abs(p.Loss-want.Loss) > 1e-9*(1+want.Loss) || p.SizeBytes != want.SizeBytes || p.BPW != want.BPW || math.Abs(p.DecodeTPS/want.DecodeTPS-1) > 1e-9 {
		t.Errorf("predicted are %+v, want %+v", p, want)
	}
}

// The front as it is reported goes from the smallest to the most accurate, and
// every point is one that is possible.
func TestPredictedFront(t *testing.T) {
	s := scoredTiny(t, rand.New(rand.NewPCG(13, 14)))
	all := everyChoice(s)
	front := s.front()
	if len(front) < 5 || len(front) > frontPoints {
		t.Fatalf("%d points", len(front))
	}
	for i, p := range front {
		if i > 0 && !(p.SizeBytes > front[i-1].SizeBytes && p.KLD < front[i-1].KLD) {
			t.Errorf("%+v follows %+v", p, front[i-1])
		}
		bytes := p.SizeBytes - s.header - s.fixed
		best, ok := leastChoice(all, func(c choice) bool { return c.bytes <= bytes }, func(c choice) float64 { return c.sum })
		if !ok || math.Abs(p.KLD-best.sum) > 1e-9 || math.Abs(p.Loss-math.Expm1(best.sum)) > 1e-9 || math.Abs(p.BPW-8*float64(bytes+s.fixed)/float64(s.Source.Params())) > 1e-9 ||
			math.Abs(p.DecodeTPS*(2*best.ns+1000)/1e9-1) > 1e-9 {
			t.Errorf("%+v, the best of that size has %+v", p, best)
		}
	}
	least, _ := leastChoice(all, func(choice) bool { return true }, func(c choice) float64 { return float64(c.bytes) })
	most, _ := leastChoice(all, func(choice) bool { return true }, func(c choice) float64 { return c.sum })
	if first, last := front[0], front[len(front)-1]; first.SizeBytes-s.header-s.fixed != least.bytes || math.Abs(last.KLD-most.sum) > 1e-9 {
		t.Errorf("from %+v to %+v, want from %d bytes to %g", first, last, least.bytes, most.sum)
	}
}

// The gain of refining is the trials' once there are some, and a refined recipe is
// predicted by it.
func TestGain(t *testing.T) {
	s := &search{predictor: predictor{scale: 1, exponent: 1, slope: 1}}
	if g := s.gain(); math.Abs(g-typicalGain) > 1e-9 {
		t.Errorf("a gain of %g before any trial", g)
	}
	s.evidence = []evidence{{sum: 0.1, kld: 0.5}, {sum: 0.2, kld: 0.1, refined: true}, {sum: 0.4, kld: 0.2, refined: true}}
	// Two logarithms of 1/2 with weights of 1/fitNoise², and the prior's.
	trials, prior := 2/(fitNoise*fitNoise), 1/(gainSpread*gainSpread)
	want := math.Exp((trials*math.Log(0.5) + prior*math.Log(typicalGain)) / (trials + prior))
	if g := s.gain(); math.Abs(g-want) > 1e-12 {
		t.Errorf("a gain of %g, want %g", g, want)
	}
	if got := s.predictorOf(true).kld(0.3); math.Abs(got-0.3*want) > 1e-12 {
		t.Errorf("a refined divergence of %g, want %g", got, 0.3*want)
	}
	if got := s.predictorOf(false).kld(0.3); math.Abs(got-0.3) > 1e-12 {
		t.Errorf("a divergence of %g that is not refined", got)
	}
	s.always = true
	if got := s.predictorOf(true).kld(0.3); math.Abs(got-0.3) > 1e-12 {
		t.Errorf("a divergence of %g where all are refined", got)
	}
	// The predictor learns of what is not refined alone, unless all is.
	s.always = false
	if s.learn(); s.predictor != fit(s.evidence[:1]) {
		t.Errorf("learned %+v", s.predictor)
	}
	s.always = true
	if s.learn(); s.predictor != fit(s.evidence) {
		t.Errorf("where all are refined, learned %+v", s.predictor)
	}
}

// The fit is the minimum of its own squares, with the priors' among them.
func TestFitIsTheMinimum(t *testing.T) {
	trials := []evidence{{sum: 0.01, kld: 0.013, ln: 0.02, lnSE: 0.004}, {sum: 0.05, kld: 0.09, ln: 0.05, lnSE: 0.01}, {sum: 0.2, kld: 0.5, ln: 0.4, lnSE: 0.03}, {sum: 0.03, kld: 0.02, ln: 0.02}}
	centre := 0.0
	for _, t := range trials {
		centre += math.Log(t.sum) / float64(len(trials))
	}
	square := func(x float64) float64 { return x * x }
	misfit := func(p predictor) float64 {
		b := p.exponent - 1
		a := math.Log(p.scale) + b*centre // the level at the centre
		total := square(a/scaleSpread) + square(b/exponentSpread) + square((p.slope-1)/slopeSpread)
		for _, t := range trials {
			total += square((math.Log(p.kld(t.sum)) - math.Log(t.kld)) / fitNoise)
			if t.lnSE > 0 {
				total += square(t.ln-p.slope*t.kld) / (square(t.lnSE) + square(scatter*t.kld))
			}
		}
		return total
	}
	p := fit(trials)
	least := misfit(p)
	for _, d := range []predictor{{scale: 0.002}, {scale: -0.002}, {exponent: 0.002}, {exponent: -0.002}, {slope: 0.002}, {slope: -0.002}} {
		q := predictor{p.scale * (1 + d.scale), p.exponent + d.exponent, p.slope + d.slope}
		if d.exponent != 0 { // with the level at the centre as it was
			q.scale *= math.Exp(-d.exponent * centre)
		}
		if misfit(q) <= least {
			t.Errorf("%+v fits better than %+v: %g, %g", q, p, misfit(q), least)
		}
	}
	if got := fit(append([]evidence{{sum: 1}, {sum: 5, kld: -1}}, trials...)); got != p {
		t.Errorf("trials that diverge by nothing make %+v of %+v", got, p)
	}
	if steep := fit([]evidence{{sum: 0.01, kld: 1e-9}, {sum: 1, kld: 1e-9}}); steep.exponent != 0.5 {
		t.Errorf("an exponent of %g", steep.exponent)
	}
	if fit([]evidence{{kld: 1, ln: -5, lnSE: 0.01}}).slope != 0.05 {
		t.Error("the slope can be too small")
	}
}

// A speed and the time of products are each other's inverse, and a fit of two
// models gives both again.
func TestPaceInverse(t *testing.T) {
	p := newPace(2*100+500, 100, 2*400+500, 400)
	if p.Factor != 2 || p.Overhead != 500 {
		t.Errorf("%+v", p)
	}
	if got := p.products(p.tps(300)); math.Abs(got-300) > 1e-9 {
		t.Errorf("products of %g", got)
	}
	if math.Abs(p.tps(300)-1e9/1100) > 1e-6 || p.tps(0) != 0 || (Pace{}).tps(5) != 0 {
		t.Errorf("speeds of %g, %g and %g", p.tps(300), p.tps(0), Pace{}.tps(5))
	}
	for _, c := range []struct {
		small, smallNS, large, largeNS float64
		want                           Pace
	}{{150, 100, 200, 105, Pace{1, 50}}, {50, 100, 60, 105, Pace{1, 0}}, {100, 100, 110, 200, Pace{0.5, 50}}, {1000, 100, 9000, 200, Pace{4, 600}}} {
		if got := newPace(c.small, c.smallNS, c.large, c.largeNS); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// The best trial has the best ending; of those that reached the goal it is the
// smallest, of those that did not the one of least loss.
func TestBestTrial(t *testing.T) {
	endings := []State{Untested, Stopped, Missed, Undecided, Measured, Reached} // from the worst on
	for i, worse := range endings {
		for _, better := range endings[i+1:] {
			// The worse ending has the better figures, and stands on either side.
			a, b := Trial{ID: 1, State: worse, SizeBytes: 1, PPLRatio: 1}, Trial{ID: 2, State: better, SizeBytes: 9, PPLRatio: 1.5, KLD: 1}
			for _, trials := range [][]Trial{{a, b}, {b, a}} {
				if got := Best(trials); got.ID != 2 {
					t.Errorf("%s is taken for better than %s", worse, better)
				}
			}
		}
	}
	for name, c := range map[string][2]Trial{ // the first is the better
		"the smaller":                      {{State: Reached, SizeBytes: 5, PPLRatio: 1.01}, {State: Reached, SizeBytes: 6, PPLRatio: 1}},
		"of equal size the better":         {{State: Reached, SizeBytes: 5, PPLRatio: 1}, {State: Reached, SizeBytes: 5, PPLRatio: 1.01}},
		"the nearer to the goal":           {{State: Missed, SizeBytes: 9, PPLRatio: 1.02, KLD: 2}, {State: Missed, SizeBytes: 5, PPLRatio: 1.03, KLD: 1}},
		"the nearer, undecided":            {{State: Undecided, SizeBytes: 9, PPLRatio: 1.02, KLD: 2}, {State: Undecided, SizeBytes: 5, PPLRatio: 1.03, KLD: 1}},
		"the less divergent, without goal": {{State: Measured, SizeBytes: 9, PPLRatio: 1.03, KLD: 1}, {State: Measured, SizeBytes: 5, PPLRatio: 1.02, KLD: 2}},
	} {
		c[0].ID, c[1].ID = 1, 2
		for _, trials := range [][]Trial{{c[0], c[1]}, {c[1], c[0]}} {
			if got := Best(trials); got.ID != 1 {
				t.Errorf("%s: %+v is taken for the best", name, *got)
			}
		}
	}
	if Best([]Trial{{State: Failed}, {State: Running}}) != nil || Best(nil) != nil {
		t.Error("what was not measured is taken for the best")
	}
}

// A front has measured trials alone: of each size the best, and none that a
// smaller one beats.
func TestFrontOfTrials(t *testing.T) {
	var trials []Trial
	for i, s := range []State{Failed, Running, Untested, Stopped, Missed, Undecided, Measured, Reached} {
		trials = append(trials, Trial{ID: i, State: s, SizeBytes: int64(10 + i), PPLRatio: 1.5 - float64(i)/10})
	}
	trials = append(trials, Trial{ID: 20, State: Reached, SizeBytes: 17, PPLRatio: 0.7}, Trial{ID: 21, State: Missed, SizeBytes: 15, PPLRatio: 1.2}, Trial{ID: 22, State: Reached, SizeBytes: 18, PPLRatio: 0.7, BPW: 4, DecodeTPS: 5})
	var ids []int
	for _, p := range Front(trials) {
		ids = append(ids, p.Trial)
	}
	if !slices.Equal(ids, []int{4, 5, 6, 20}) {
		t.Errorf("the front is %v", ids)
	}
	p := Front(trials[10:])[0]
	if p.Trial != 22 || p.SizeBytes != 18 || p.BPW != 4 || p.DecodeTPS != 5 || math.Abs(p.Loss+0.3) > 1e-12 {
		t.Errorf("%+v", p)
	}
}
