package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels"
)

func testEngine(t testing.TB) *kernels.Engine {
	t.Helper()
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eng.Close)
	return eng
}

// probabilities are what the options say, computed the plain way: sort, cut,
// temper.
func probabilities(logits []float32, recent []int32, o GenOptions) map[int32]float64 {
	x := make([]float64, len(logits))
	for i, v := range logits {
		x[i] = float64(v)
	}
	if o.RepeatPenalty != 0 {
		seen := make(map[int32]bool)
		for _, id := range recent {
			seen[id] = true
		}
		for id := range seen {
			if x[id] > 0 {
				x[id] /= o.RepeatPenalty
			} else {
				x[id] *= o.RepeatPenalty
			}
		}
	}
	ids := make([]int32, len(x))
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortStableFunc(ids, func(a, b int32) int { return cmp.Compare(x[b], x[a]) })
	softmax := func(temp float64) []float64 {
		p, sum := make([]float64, len(ids)), 0.0
		for i, id := range ids {
			p[i] = math.Exp((x[id] - x[ids[0]]) / temp)
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	if o.TopK > 0 {
		ids = ids[:min(o.TopK, len(ids))]
	}
	if o.TopP < 1 {
		mass, n := 0.0, 0
		for _, p := range softmax(1) {
			if n++; mass+p >= o.TopP {
				break
			}
			mass += p
		}
		ids = ids[:n]
	}
	if o.MinP > 0 {
		p := softmax(1)
		for n := range p {
			if p[n] < o.MinP*p[0] {
				ids = ids[:n]
				break
			}
		}
	}
	out := make(map[int32]float64)
	for i, p := range softmax(o.Temp) {
		out[ids[i]] = p
	}
	return out
}

// Tokens are drawn as often as they should be, and never one that is cut.
func TestSamplerDistribution(t *testing.T) {
	eng := testEngine(t)
	rng := rand.New(rand.NewPCG(7, 8))
	logits := make([]float32, 50)
	for i := range logits {
		logits[i] = float32(2 * rng.NormFloat64())
	}
	recent := []int32{3, 3, 7, 11, 49}
	for _, o := range []GenOptions{
		{Temp: 1, TopP: 1},
		{Temp: 0.5, TopP: 1},
		{Temp: 3, TopP: 1},
		{Temp: 1, TopK: 5, TopP: 1},
		{Temp: 1, TopK: 1, TopP: 1},
		{Temp: 1, TopK: 500, TopP: 1},
		{Temp: 1, TopP: 0.5},
		{Temp: 1, TopP: 0.99},
		{Temp: 1, TopP: 1e-9},
		{Temp: 1, TopP: 0},
		{Temp: 1, MinP: 0.1, TopP: 1},
		{Temp: 1, MinP: 1, TopP: 1},
		{Temp: 2, TopK: 10, TopP: 0.7, MinP: 0.2, RepeatPenalty: 1.5},
		{Temp: 1, RepeatPenalty: 1.3, TopP: 1},
		{Temp: 1, RepeatPenalty: 0.5, TopP: 1},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			const draws = 20000
			want := probabilities(logits, recent, o)
			s := newSampler(eng, o)
			count := make(map[int32]int)
			for range draws {
				count[s.next(slices.Clone(logits), recent)]++
			}
			chi, freedom := 0.0, -1.0
			rare, rareCount := 0.0, 0.0
			for _, id := range slices.Sorted(maps.Keys(want)) {
				if expected := want[id] * draws; expected < 10 { // too few for the statistic
					rare += expected
					rareCount += float64(count[id])
				} else {
					chi += (float64(count[id]) - expected) * (float64(count[id]) - expected) / expected
					freedom++
				}
				delete(count, id)
			}
			if len(count) > 0 {
				t.Errorf("drawn though they were cut: %v", count)
			}
			// Six standard deviations: the seed is fixed, so this does not flicker.
			if limit := freedom + 6*math.Sqrt(2*max(freedom, 1)); chi > limit {
				t.Errorf("chi squared is %.1f, want at most %.1f", chi, limit)
			}
			if math.Abs(rareCount-rare) > 6*math.Sqrt(rare)+1 {
				t.Errorf("%v rare tokens, want about %.1f", rareCount, rare)
			}
		})
	}
}

// The order of the samplers shows in what is kept.
func TestSamplerOrder(t *testing.T) {
	eng := testEngine(t)
	log := func(ps ...float64) []float32 {
		x := make([]float32, len(ps))
		for i, p := range ps {
			x[i] = float32(math.Log(p))
		}
		return x
	}
	for name, c := range map[string]struct {
		logits []float32
		recent []int32
		o      GenOptions
		want   []int32
	}{
		"top-p is of what top-k keeps":         {log(0.3, 0.3, 0.2, 0.2), nil, GenOptions{Temp: 1, TopK: 2, TopP: 0.5}, []int32{0}},
		"top-p sees no temperature":            {log(0.7, 0.1, 0.1, 0.1), nil, GenOptions{Temp: 50, TopP: 0.7}, []int32{0}},
		"min-p sees no temperature":            {log(0.6, 0.2, 0.1, 0.1), nil, GenOptions{Temp: 50, MinP: 0.25, TopP: 1}, []int32{0, 1}},
		"min-p is of the likeliest":            {log(0.4, 0.3, 0.2, 0.1), nil, GenOptions{Temp: 1, MinP: 0.45, TopP: 1}, []int32{0, 1, 2}},
		"the penalty comes first":              {[]float32{4, 3, 2}, []int32{0}, GenOptions{Temp: 1, TopK: 1, RepeatPenalty: 2, TopP: 1}, []int32{1}},
		"a negative logit is multiplied":       {[]float32{-1, -1.5, -9}, []int32{0}, GenOptions{Temp: 1, TopK: 1, RepeatPenalty: 2, TopP: 1}, []int32{1}},
		"a token is penalized once":            {[]float32{4, 1.5}, []int32{0, 0, 0}, GenOptions{Temp: 1, TopK: 1, RepeatPenalty: 2, TopP: 1}, []int32{0}},
		"the penalty never forgets":            {[]float32{4, 3, 2}, slices.Concat([]int32{0}, slices.Repeat([]int32{2}, 500)), GenOptions{Temp: 1, TopP: 1, TopK: 1, RepeatPenalty: 2}, []int32{1}},
		"banned tokens":                        {[]float32{4, 3, 2}, []int32{1}, GenOptions{Banned: [][]int32{{0}, {2, 1}, {}, {9}, {-1}}}, []int32{1}},
		"banned sequences":                     {[]float32{4, 3, 2}, []int32{2, 1}, GenOptions{Banned: [][]int32{{1, 0}, {2, 1, 1}, {0, 2}}}, []int32{2}},
		"top-p 0 keeps one":                    {[]float32{2, 2, 2}, nil, GenOptions{Temp: 1}, []int32{0}},
		"equals are cut from the highest id":   {[]float32{1, 1, 1, 1}, nil, GenOptions{Temp: 1, TopK: 2, TopP: 1}, []int32{0, 1}},
		"top-p keeps the one that gets there":  {log(0.5, 0.3, 0.2), nil, GenOptions{Temp: 1, TopP: 0.51}, []int32{0, 1}},
		"the penalty also works without a die": {[]float32{4, 3, 2}, []int32{0}, GenOptions{RepeatPenalty: 2}, []int32{1}},
	} {
		logits := append(slices.Clone(c.logits), float32(math.Inf(-1))) // never drawn
		s := newSampler(eng, c.o)
		seen := make(map[int32]bool)
		for range 300 {
			seen[s.next(slices.Clone(logits), c.recent)] = true
		}
		if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Logits that are not finite are not drawn, if there are others.
func TestSamplerBrokenLogits(t *testing.T) {
	eng := testEngine(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for name, c := range map[string]struct {
		logits []float32
		want   []int32
	}{
		"NaN":        {[]float32{nan, 1, nan, 1}, []int32{1, 3}},
		"-Inf":       {[]float32{-inf, 1, -inf, 1}, []int32{1, 3}},
		"+Inf":       {[]float32{0, inf, nan, 1}, []int32{1}},
		"all NaN":    {[]float32{nan, nan}, []int32{0}},
		"all -Inf":   {[]float32{-inf, -inf}, []int32{0}},
		"far apart":  {[]float32{-3e38, 3e38, -3e38, 0}, []int32{1}},
		"one":        {[]float32{5}, []int32{0}},
		"tiny, huge": {[]float32{1e-38, 1e-38, -1e38, -1e38}, []int32{0, 1}},
	} {
		for _, o := range []GenOptions{{Temp: 1, TopP: 1}, {Temp: 1, TopK: 3, TopP: 1}, {Temp: 1, TopP: 0.9999}, {Temp: 1, MinP: 0.01, TopP: 1}, {Temp: 1e-30, TopP: 1}, {Temp: 1, TopK: 2, TopP: 0.9999, MinP: 0.5, RepeatPenalty: 1.5}} {
			s := newSampler(eng, o)
			for range 50 {
				if got := s.next(slices.Clone(c.logits), nil); !slices.Contains(c.want, got) {
					t.Errorf("%s, %+v: drew %d, want one of %v", name, o, got, c.want)
				}
			}
		}
	}
}

func TestSamplerSeed(t *testing.T) {
	eng := testEngine(t)
	draw := func(seed uint64) (ids []int32) {
		s := newSampler(eng, GenOptions{Temp: 1, TopP: 0.9, Seed: seed})
		for range 50 {
			ids = append(ids, s.next([]float32{1, 2, 3, 2, 1, 0.5}, nil))
		}
		return ids
	}
	if a, b := draw(1), draw(1); !slices.Equal(a, b) {
		t.Errorf("one seed gives %v and %v", a, b)
	}
	if a, b := draw(1), draw(2); slices.Equal(a, b) {
		t.Errorf("two seeds give %v", a)
	}
	s := newSampler(eng, GenOptions{}) // greedy
	if got := s.next([]float32{1, 3, 3, 2}, nil); got != 1 {
		t.Errorf("greedy took %d, want the first of the largest", got)
	}
}

func TestLikeliest(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for n := 1; n < 100; n++ {
		all := make([]candidate, n)
		for i := range all {
			all[i] = candidate{float32(rng.IntN(20)), int32(i)}
		}
		want := slices.Clone(all)
		slices.SortStableFunc(want, func(a, b candidate) int { return cmp.Compare(b.logit, a.logit) })
		h := newLikeliest(all)
		k := 1 + rng.IntN(n)
		for i := range k {
			if got := h.take(); got != want[i] {
				t.Fatalf("of %d: number %d is %v, want %v", n, i, got, want[i])
			}
		}
		got := slices.Clone(h.taken())
		slices.Reverse(got)
		if !slices.Equal(got, want[:k]) {
			t.Fatalf("took %v, want %v", got, want[:k])
		}
	}
}

func TestGenOptionsValidate(t *testing.T) {
	nan := math.NaN()
	for _, o := range []GenOptions{{MaxTokens: -1}, {MaxLength: -1}, {Temp: -1}, {Temp: nan}, {Temp: 101}, {TopK: -1}, {TopP: -0.1}, {TopP: 1.1}, {TopP: nan}, {MinP: -0.1}, {MinP: 2}, {MinP: nan}, {RepeatPenalty: -1}, {RepeatPenalty: 11}} {
		if err := o.Validate(); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v, want ErrOptions", o, err)
		}
	}
	for _, o := range []GenOptions{{}, {Temp: 100, TopK: 1, TopP: 1, MinP: 1, RepeatPenalty: 10}} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func BenchmarkSampler(b *testing.B) {
	eng := testEngine(b)
	rng := rand.New(rand.NewPCG(1, 1))
	logits := make([]float32, 150_000)
	for i := range logits {
		logits[i] = float32(3 * rng.NormFloat64())
	}
	for name, o := range map[string]GenOptions{"temp": {Temp: 1, TopP: 1}, "topk40": {Temp: 1, TopK: 40, TopP: 1}, "topp90": {Temp: 1, TopP: 0.9}, "minp05": {Temp: 1, MinP: 0.05, TopP: 1}, "flat": {Temp: 1, TopP: 0.99}} {
		b.Run(name, func(b *testing.B) {
			s := newSampler(eng, o)
			for b.Loop() {
				s.next(logits, nil)
			}
		})
	}
}
