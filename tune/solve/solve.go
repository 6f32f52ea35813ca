package solve

import (
	"errors"
	"fmt"
	"math"

	"nibble/tune/knapsack"
	"nibble/tune/space"
)

// measure is a figure of an option that adds up over a recipe.
type measure func(space.Option) float64

func bytesOf(o space.Option) float64 { return float64(o.Bytes) }
func kldOf(o space.Option) float64   { return o.KLD }

// Smallest returns the smallest recipe whose divergences sum up to at most sum and
// that keeps all limits.
func (p Problem) Smallest(sum float64) (Candidate, error) {
	l := p.caps()
	l.sum = sum
	c, err := p.solve(l, bytesOf, false)
	if err == nil && !p.Limits.size(c.Plan) {
		err = ErrLimits
	}
	return c, err
}

// MostAccurate returns the recipe of least divergence that keeps all limits.
func (p Problem) MostAccurate() (Candidate, error) {
	for l := p.caps(); ; {
		c, err := p.solve(l, kldOf, true)
		if errors.Is(err, ErrLimits) && math.IsInf(l.ns, 1) && math.IsInf(l.rss, 1) {
			if least, err := p.Least(); err != nil || p.Limits.size(least.Plan) {
				return least, err
			}
		}
		if err != nil || p.Limits.size(c.Plan) {
			return c, err
		}
		// The entries in the header are a few bytes longer or shorter.
		if over := c.Plan.SizeBytes - p.Limits.Bytes; p.Limits.Bytes > 0 && over > 0 {
			l.file = min(l.file, float64(p.file(c.Pick))) - float64(over)
		} else {
			l.bytes--
			l.file--
		}
	}
}

// Least is the smallest recipe of all.
func (p Problem) Least() (Candidate, error) {
	pick := make([]int, len(p.Classes))
	for i, c := range p.Classes {
		for j, o := range c.Options {
			if o.File < c.Options[pick[i]].File {
				pick[i] = j
			}
		}
	}
	return p.Candidate(pick)
}

// SmallerWithin returns the smallest recipe that is nowhere larger, slower or in
// need of more memory than a pick, and whose divergences sum up to at most sum.
func (p Problem) SmallerWithin(pick []int, sum float64) (Candidate, error) {
	inf := math.Inf(1)
	return p.smaller(pick, caps{sum, inf, inf, inf, inf}, bytesOf, false)
}

// MoreAccurateWithin returns the most accurate recipe that is nowhere larger, slower
// or in need of more memory than a pick, and whose matrices take at most so many
// bytes.
func (p Problem) MoreAccurateWithin(pick []int, bytes int64) (Candidate, error) {
	inf := math.Inf(1)
	return p.smaller(pick, caps{inf, float64(bytes), inf, inf, inf}, kldOf, true)
}

// smaller solves with the options alone that are nowhere more than those of a pick.
func (p Problem) smaller(pick []int, l caps, cost measure, bytes bool) (Candidate, error) {
	less := p
	less.Classes = nil
	back := make([][]int, len(p.Classes)) // indices of the options left
	for i, c := range p.Classes {
		at := c.Options[pick[i]]
		var options []space.Option
		for j, o := range c.Options {
			if j == pick[i] || o.Bytes < at.Bytes && (p.Limits.TPS == 0 || o.NS <= at.NS) && (p.Limits.RSS == 0 || o.RSS <= at.RSS) {
				options, back[i] = append(options, o), append(back[i], j)
			}
		}
		c.Options = options
		less.Classes = append(less.Classes, c)
	}
	c, err := less.solve(l, cost, bytes)
	if err != nil {
		return c, err
	}
	for i := range c.Pick {
		c.Pick[i] = back[i][c.Pick[i]]
	}
	return c, nil
}

// solve picks an option of every class at the least cost within limits. Bytes count
// only if they are not the cost.
func (p Problem) solve(l caps, cost measure, bytes bool) (Candidate, error) {
	var most []float64
	var uses []measure
	limit := func(cap float64, use measure) {
		if !math.IsInf(cap, 1) {
			most, uses = append(most, cap), append(uses, use)
		}
	}
	limit(l.sum, kldOf)
	if bytes {
		limit(l.bytes, bytesOf)
		limit(l.file, func(o space.Option) float64 { return float64(o.File) })
	}
	limit(l.ns, func(o space.Option) float64 { return o.NS })
	limit(l.rss, func(o space.Option) float64 { return float64(o.RSS) })
	if len(most) == 0 { // the solver wants one
		most, uses = []float64{0}, []measure{func(space.Option) float64 { return 0 }}
	}
	items := make([][]knapsack.Item, len(p.Classes))
	for i, c := range p.Classes {
		for _, o := range c.Options {
			item := knapsack.Item{Cost: cost(o)}
			for a, use := range uses {
				item.Use[a] = use(o)
			}
			items[i] = append(items[i], item)
		}
	}
	sack, err := knapsack.New(items)
	if err != nil {
		return Candidate{}, err
	}
	selection, err := sack.Solve(most...)
	if errors.Is(err, knapsack.ErrInfeasible) {
		return Candidate{}, fmt.Errorf("%w: %w", ErrLimits, err)
	} else if err != nil {
		return Candidate{}, err
	}
	return p.Candidate(selection.Pick)
}

// Point is a recipe of the front, without what it is made of.
type Point struct {
	SizeBytes int64
	BPW       float64
	Sum       float64 // of the divergences
	TPS       float64 // 0 if it is not known
}

// frontPoints bounds the front.
const frontPoints = 64

// Front goes from the smallest recipe to the most accurate, whatever the limits.
func (p Problem) Front() []Point {
	items := make([][]knapsack.Item, len(p.Classes))
	for i, c := range p.Classes {
		for _, o := range c.Options {
			items[i] = append(items[i], knapsack.Item{Cost: o.KLD, Use: [knapsack.Axes]float64{float64(o.Bytes), o.NS}})
		}
	}
	sack, err := knapsack.New(items)
	if err != nil {
		return nil
	}
	all := sack.Front()
	var out []Point
	for i := range min(len(all), frontPoints) {
		s := all[i*(len(all)-1)/max(1, min(len(all), frontPoints)-1)]
		bytes := int64(s.Use[0]) + p.Fixed
		out = append(out, Point{SizeBytes: bytes + p.Header, BPW: 8 * float64(bytes) / float64(p.Params), Sum: max(0, s.Cost), TPS: p.Pace.TPS(s.Use[1])})
	}
	return out
}
