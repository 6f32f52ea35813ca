package knapsack

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// random makes classes whose items cost less the more they use, roughly, as ways
// to store a matrix do; steps is how coarse uses are, 0 for any value.
func random(rng *rand.Rand, classes, items int, steps float64) [][]Item {
	out := make([][]Item, classes)
	for i := range out {
		scale, hurts := math.Exp(rng.NormFloat64()), math.Exp(2*rng.NormFloat64())
		for range items {
			u := rng.Float64()
			if steps > 0 {
				u = math.Floor(u*steps) + 1
				scale = 1
			}
			item := Item{Cost: hurts * math.Exp(-4*u/max(1, steps)) * (0.8 + 0.4*rng.Float64()), Use: [Axes]float64{scale * u, rng.Float64(), scale * u * (0.9 + 0.2*rng.Float64())}}
			out[i] = append(out[i], item)
		}
	}
	return out
}

// brute tries every selection.
func brute(classes [][]Item, limits []float64) (best Selection, ok bool) {
	p := &Problem{classes}
	pick := make([]int, len(classes))
	for {
		s := p.Select(append([]int(nil), pick...))
		fits := true
		for a, l := range limits {
			fits = fits && s.Use[a] <= l
		}
		if fits && (!ok || s.Cost < best.Cost) {
			best, ok = s, true
		}
		i := 0
		for ; i < len(pick); i++ {
			if pick[i]++; pick[i] < len(classes[i]) {
				break
			}
			pick[i] = 0
		}
		if i == len(pick) {
			return best, ok
		}
	}
}

func TestSolveEqualsBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 600 {
		axes := 1 + n%Axes
		classes := random(rng, 1+rng.IntN(6), 1+rng.IntN(6), float64(rng.IntN(2)*rng.IntN(8)))
		p, err := New(classes)
		if err != nil {
			t.Fatal(err)
		}
		limits := make([]float64, axes)
		for a := range limits {
			lo, hi := 0.0, 0.0
			for _, class := range classes {
				most := 0.0
				for _, item := range class {
					most = max(most, item.Use[a])
				}
				lo, hi = lo+leastUse(class, a), hi+most
			}
			limits[a] = lo + (hi-lo)*(1.1*rng.Float64()-0.05)
		}
		want, ok := brute(classes, limits)
		got, err := p.Solve(limits...)
		if !ok {
			if !errors.Is(err, ErrInfeasible) {
				t.Fatalf("case %d: %v, want ErrInfeasible", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("case %d: %v", n, err)
		}
		if math.Abs(got.Cost-want.Cost) > 1e-9*want.Cost || got.Bound != got.Cost {
			t.Fatalf("case %d: cost %g (bound %g), the best is %g", n, got.Cost, got.Bound, want.Cost)
		}
		for a, l := range limits {
			if got.Use[a] > l {
				t.Fatalf("case %d: uses %g of axis %d, allowed %g", n, got.Use[a], a, l)
			}
		}
	}
}

// Every point of the front is the best selection of its use, and the front
// reaches from the least use to the least cost.
func TestFront(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 60 {
		classes := random(rng, 1+rng.IntN(5), 1+rng.IntN(6), float64(rng.IntN(2)*rng.IntN(8)))
		p, err := New(classes)
		if err != nil {
			t.Fatal(err)
		}
		front := p.Front()
		for i, f := range front {
			if again := p.Select(f.Pick); math.Abs(again.Cost-f.Cost) > 1e-9 || math.Abs(again.Use[0]-f.Use[0]) > 1e-9 {
				t.Fatalf("case %d: point %d says %g for %g, its items %g for %g", n, i, f.Cost, f.Use[0], again.Cost, again.Use[0])
			}
			best, _ := brute(classes, []float64{f.Use[0] * (1 + 1e-12)})
			if f.Cost > best.Cost*(1+1e-9) {
				t.Fatalf("case %d: point %d costs %g, the best of its use %g", n, i, f.Cost, best.Cost)
			}
			if i > 0 && (f.Use[0] <= front[i-1].Use[0] || f.Cost >= front[i-1].Cost) {
				t.Fatalf("case %d: point %d is not beyond the one before", n, i)
			}
		}
		least, cheapest := 0.0, 0.0
		for _, class := range classes {
			least += leastUse(class, 0)
			c := math.Inf(1)
			for _, item := range class {
				c = min(c, item.Cost)
			}
			cheapest += c
		}
		if first, last := front[0], front[len(front)-1]; math.Abs(first.Use[0]-least) > 1e-9 || math.Abs(last.Cost-cheapest) > 1e-9 {
			t.Fatalf("case %d: from use %g to cost %g, want from %g to %g", n, first.Use[0], last.Cost, least, cheapest)
		}
	}
}

func TestNew(t *testing.T) {
	for _, classes := range [][][]Item{{{}}, {{{Cost: math.NaN()}}}, {{{Use: [Axes]float64{-1}}}}, {{{Use: [Axes]float64{0, math.Inf(1)}}}}} {
		if _, err := New(classes); !errors.Is(err, ErrInput) {
			t.Errorf("%v: %v, want ErrInput", classes, err)
		}
	}
	p, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := p.Solve(1); err != nil || s.Cost != 0 {
		t.Errorf("no classes: %v, %v", s, err)
	}
	for _, limits := range [][]float64{nil, {1, 1, 1, 1}} {
		if _, err := p.Solve(limits...); !errors.Is(err, ErrInput) {
			t.Errorf("%d limits: %v, want ErrInput", len(limits), err)
		}
	}
}

// model makes classes like those of a language model: layers of seven matrices and
// two large ones, at the sizes that bits and groups give.
func model(rng *rand.Rand, layers int) [][]Item {
	shapes := [][2]float64{{2048, 2048}, {256, 2048}, {256, 2048}, {2048, 2048}, {5632, 2048}, {5632, 2048}, {2048, 5632}}
	add := func(rows, cols, hurts float64) []Item {
		class := []Item{{Use: [Axes]float64{2 * rows * cols, 2 * rows * cols, 2 * rows * cols}}}
		for _, bits := range []float64{4, 8} {
			for _, group := range []float64{32, 64, 128, cols} {
				for _, zeros := range []float64{0, 1} {
					for range 3 { // methods
						bytes := rows*cols*bits/8 + rows*cols/group*(2+zeros*bits/8)
						loss := hurts * math.Pow(4, 4-bits) * math.Pow(group, 0.3) * (1 - 0.1*zeros) * (0.8 + 0.4*rng.Float64())
						class = append(class, Item{loss, [Axes]float64{bytes, bytes * (1 + 0.05*rng.Float64()), bytes + 4096}})
					}
				}
			}
		}
		return class
	}
	classes := [][]Item{add(32000, 2048, 100), add(32000, 2048, 50)}
	for range layers {
		for _, s := range shapes {
			classes = append(classes, add(s[0], s[1], math.Exp(rng.NormFloat64())))
		}
	}
	return classes
}

func BenchmarkSolve(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct {
		name    string
		classes [][]Item
	}{
		{"random", random(rng, 300, 40, 0)},
		{"coarse", random(rng, 300, 40, 16)},
		{"model", model(rng, 43)},
	} {
		p, err := New(c.classes)
		if err != nil {
			b.Fatal(err)
		}
		front := p.Front()
		b.Run(c.name+"/front", func(b *testing.B) {
			for b.Loop() {
				p.Front()
			}
			b.ReportMetric(float64(len(front)), "points")
		})
		for axes := 1; axes <= Axes; axes++ {
			b.Run(fmt.Sprintf("%s/axes=%d", c.name, axes), func(b *testing.B) {
				n, gap := 0, 0.0
				for b.Loop() {
					n++
					at := front[len(front)*(1+n%8)/10]
					limits := []float64{at.Use[0] * 1.0001, at.Use[1] * 0.99, at.Use[2] * 0.999}[:axes]
					s, err := p.Solve(limits...)
					if err != nil {
						b.Fatal(err)
					}
					gap = max(gap, 1-s.Bound/s.Cost)
				}
				b.ReportMetric(gap, "gap")
			})
		}
	}
}
