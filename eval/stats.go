package eval

import (
	"math"
	"slices"
)

// moments accumulates a mean and its standard error by Welford's method, which
// does not cancel when values are nearly equal.
type moments struct {
	n        int
	mean, m2 float64 // m2 is the sum of squared distances from the mean
}

func (m *moments) add(v float64) {
	m.n++
	d := v - m.mean
	m.mean += d / float64(m.n)
	m.m2 += d * (v - m.mean)
}

// se is the standard error of the mean.
func (m *moments) se() float64 {
	if m.n < 2 {
		return 0
	}
	return math.Sqrt(m.m2 / float64(m.n-1) / float64(m.n))
}

// perplexity returns the exponential of mean losses with its standard error. Both
// are infinite where losses are beyond what a float64's exponent holds.
func perplexity(losses moments) (ppl, se float64) {
	ppl = math.Exp(losses.mean)
	if se = losses.se(); se > 0 { // infinity times nothing is nothing known
		se *= ppl
	}
	return ppl, se
}

// percentile returns the p-th percentile of sorted values by linear
// interpolation.
func percentile(sorted []float32, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := p / 100 * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return float64(sorted[len(sorted)-1])
	}
	f := at - float64(i)
	return (1-f)*float64(sorted[i]) + f*float64(sorted[i+1])
}

func sorted(v []float32) []float32 {
	s := slices.Clone(v)
	slices.Sort(s)
	return s
}

// mcNemar returns the two-sided exact p-value of McNemar's test (Psychometrika
// 12, 1947): the probability that b of b+c discordant pairs, or a more extreme
// split, come from fair coin tosses.
func mcNemar(b, c int) float64 {
	n := b + c
	if n == 0 {
		return 1
	}
	tail := 0.0
	for k := 0; k <= min(b, c); k++ {
		tail += math.Exp(logChoose(n, k) - float64(n)*math.Ln2)
	}
	return min(1, 2*tail)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
