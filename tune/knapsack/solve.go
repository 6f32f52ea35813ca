package knapsack

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Solve returns the selection of least cost that uses at most limits[a] of every
// axis a; axes beyond the limits given do not count. With one limit the answer is
// exact; with several it may not be for problems made to be hard, and Bound tells
// how much better it could be at most.
func (p *Problem) Solve(limits ...float64) (Selection, error) {
	if len(limits) == 0 || len(limits) > Axes {
		return Selection{}, fmt.Errorf("%w: %d limits for 1 to %d axes", ErrInput, len(limits), Axes)
	}
	for a, limit := range limits {
		least := 0.0
		for _, class := range p.classes {
			least += leastUse(class, a)
		}
		if !(least <= limit) {
			return Selection{}, fmt.Errorf("%w: axis %d uses %g at the least, %g are allowed", ErrInfeasible, a, least, limit)
		}
	}
	s := &solver{Problem: p, limits: limits, best: math.Inf(1), lost: math.Inf(1)}
	s.reduce()
	s.setPrices()
	s.search()
	if s.pick == nil {
		return Selection{}, fmt.Errorf("%w: none keeps %g together", ErrInfeasible, limits)
	}
	out := p.Select(s.pick)
	out.Bound = min(out.Cost, s.lost)
	return out, nil
}

func leastUse(class []Item, axis int) float64 {
	least := math.Inf(1)
	for _, item := range class {
		least = min(least, item.Use[axis])
	}
	return least
}

// solver is one call of Solve.
type solver struct {
	*Problem
	limits []float64
	items  [][]int   // by class: what is not dominated
	price  []float64 // of the axes after the first; any price gives a valid bound, a good one a tight one
	best   float64   // cost of pick
	pick   []int     // best selection so far, nil if there is none
	lost   float64   // least bound of what was given up for want of room
}

// reduce leaves out items that neither cost less nor use less than another.
func (s *solver) reduce() {
	s.items = make([][]int, len(s.classes))
	for i, class := range s.classes {
		order := make([]int, len(class))
		for j := range order {
			order[j] = j
		}
		slices.SortFunc(order, func(a, b int) int {
			x, y := class[a], class[b]
			return cmp.Or(cmp.Compare(x.Cost, y.Cost), slices.Compare(x.Use[:len(s.limits)], y.Use[:len(s.limits)]), cmp.Compare(a, b))
		})
		for _, j := range order {
			if !slices.ContainsFunc(s.items[i], func(k int) bool { return s.atMost(class[k].Use, class[j].Use[:]) }) {
				s.items[i] = append(s.items[i], j)
			}
		}
	}
}

// atMost reports whether a use is within limits on every axis that counts.
func (s *solver) atMost(use [Axes]float64, limits []float64) bool {
	for a := range s.limits {
		if use[a] > limits[a] {
			return false
		}
	}
	return true
}

// setPrices looks for prices that make the relaxation keep the limits of the axes
// after the first, by bisection on one after the other. The selections met on the
// way are the first that are known to keep all limits.
func (s *solver) setPrices() {
	s.price = make([]float64, len(s.limits)-1)
	s.round()
	for range 2 {
		for a := range s.price {
			axis := a + 1
			over := func(price float64) bool {
				s.price[a] = price
				return s.round().Use[axis] > s.limits[axis]
			}
			if !over(0) {
				continue
			}
			lo, hi := 0.0, s.guess(axis)
			for n := 0; over(hi) && n < 40; n++ {
				lo, hi = hi, 4*hi
			}
			for range 24 {
				if mid := (lo + hi) / 2; over(mid) {
					lo = mid
				} else {
					hi = mid
				}
			}
			s.price[a] = hi
		}
	}
}

// guess is a low price of an axis.
func (s *solver) guess(axis int) float64 {
	cost, use := 0.0, 0.0
	for i, class := range s.classes {
		for _, j := range s.items[i] {
			cost, use = cost+math.Abs(class[j].Cost), use+class[j].Use[axis]
		}
	}
	if cost == 0 || use == 0 {
		return 1
	}
	return cost / use / 64
}

// relax relaxes all classes at the current prices.
func (s *solver) relax() relaxation {
	classes := make([][]choice, len(s.classes))
	for i, class := range s.classes {
		for _, j := range s.items[i] {
			classes[i] = append(classes[i], choice{class[j].Use[0], s.priced(total{class[j].Cost, class[j].Use}), j})
		}
	}
	return relax(classes)
}

// priced is the cost with what the axes after the first are charged.
func (s *solver) priced(t total) float64 {
	for a, v := range s.price {
		t.cost += v * t.use[a+1]
	}
	return t.cost
}

// round solves the relaxation at the current prices and leaves out the step that
// would break the first limit.
func (s *solver) round() Selection {
	r := s.relax()
	pick := r.pick()
	use := s.Select(pick).Use[0]
	for _, st := range r.steps {
		if use += st.use; use > s.limits[0] {
			break
		}
		pick[st.class] = st.to
	}
	out := s.Select(pick)
	if s.better(total{out.Cost, out.Use}) {
		s.best, s.pick = out.Cost, pick
	}
	return out
}

// better reports whether a selection beats the best.
func (s *solver) better(t total) bool { return t.cost < s.best && s.atMost(t.use, s.limits) }

// state is a selection of the classes passed.
type state struct {
	total
	prev, item int32 // index among the states before; what is taken of the last class
	bound      float64
}

// maxStates bounds the states kept after each class: with one axis few are ever
// kept, with several nearly none is dominated and the proof is given up for speed.
var maxStates = [Axes + 1]int{1: 1 << 15, 2: 128, 3: 128}

// search passes the classes, those that span the most use first. A state is given
// up when the relaxation of the rest says that it cannot become better than the
// best; rounding that relaxation down is a selection, and often a better best.
func (s *solver) search() {
	rest := s.suffixes()
	levels := [][]state{{{prev: -1}}}
	for at := range rest[:len(rest)-1] {
		after := &rest[at+1]
		var next []state
		for from, st := range levels[at] {
			for _, j := range s.items[rest[at].class] {
				n := state{total: st.total, prev: int32(from), item: int32(j)}
				n.add(s.classes[rest[at].class][j], 1)
				steps, ok := s.bound(&n, after)
				if !ok || n.bound >= s.best-1e-12*math.Abs(s.best) {
					continue
				}
				done := n.total
				done.cost += after.sums[steps].cost
				for a, u := range after.sums[steps].use {
					done.use[a] += u
				}
				if s.better(done) {
					s.best, s.pick = done.cost, s.complete(levels, rest, n, steps)
				}
				next = append(next, n)
			}
		}
		levels = append(levels, s.prune(next))
	}
}

// bound fills in the least priced cost that completing a state can have, and
// returns how many steps of the rest fit in full; ok is false if no completion
// keeps the limits.
func (s *solver) bound(n *state, rest *suffix) (steps int, ok bool) {
	for a, limit := range s.limits {
		if n.use[a]+rest.least[a] > limit {
			return 0, false
		}
	}
	room := s.limits[0] - n.use[0]
	steps = sort.Search(len(rest.sums), func(k int) bool { return rest.sums[k].use[0] > room }) - 1
	if steps < 0 {
		return 0, false
	}
	n.bound = s.priced(n.total) + s.priced(rest.sums[steps])
	if steps < len(rest.steps) {
		st := rest.steps[steps]
		n.bound -= st.saves * (room - rest.sums[steps].use[0]) / st.use
	}
	for a, v := range s.price {
		n.bound -= v * s.limits[a+1]
	}
	return steps, true
}

// prune sorts states by use and leaves out those that another dominates or, when
// they are too many, those that promise least.
func (s *solver) prune(states []state) []state {
	slices.SortFunc(states, func(a, b state) int {
		return cmp.Or(cmp.Compare(a.use[0], b.use[0]), cmp.Compare(a.cost, b.cost))
	})
	kept := states[:0]
	for _, st := range states {
		if !s.dominated(kept, st) {
			kept = append(kept, st)
		}
	}
	if most := maxStates[len(s.limits)]; len(kept) > most {
		slices.SortStableFunc(kept, func(a, b state) int { return cmp.Compare(a.bound, b.bound) })
		s.lost = min(s.lost, kept[most].bound)
		kept = kept[:most]
	}
	return slices.Clone(kept)
}

// dominated reports whether a state kept before, which uses no more of the first
// axis, is as good in all else. With one axis that can only be the last one; with
// several the last ones are most likely it, and looking at more costs more than it
// saves.
func (s *solver) dominated(kept []state, st state) bool {
	look := 1
	if len(s.limits) > 1 {
		look = 64
	}
	for _, k := range kept[max(0, len(kept)-look):] {
		if k.cost <= st.cost && s.atMost(k.use, st.use[:]) {
			return true
		}
	}
	return false
}

// suffix is the relaxation of the classes from one on, in the order of the search.
type suffix struct {
	class int
	base  int       // its item of least use
	steps []step    // of it and those after it
	sums  []total   // of all of them after as many steps
	least []float64 // use of each axis at the least
}

// suffixes orders the classes; the last suffix is empty.
func (s *solver) suffixes() []suffix {
	r := s.relax()
	span := make([]float64, len(s.classes))
	own := make([][]step, len(s.classes))
	for _, st := range r.steps {
		span[st.class] += st.use
		own[st.class] = append(own[st.class], st)
	}
	order := make([]int, len(s.classes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(span[b], span[a]) })
	rest := make([]suffix, len(order)+1)
	rest[len(order)] = suffix{class: -1, sums: make([]total, 1), least: make([]float64, len(s.limits))}
	for at := len(order) - 1; at >= 0; at-- {
		class, after := order[at], &rest[at+1]
		x := suffix{class: class, base: r.least[class].item, steps: mergeSteps(own[class], after.steps), least: slices.Clone(after.least)}
		for a := range x.least {
			x.least[a] += leastUse(s.classes[class], a)
		}
		sum := after.sums[0]
		sum.add(s.classes[class][x.base], 1)
		x.sums = append(make([]total, 0, len(x.steps)+1), sum)
		for _, st := range x.steps {
			sum.add(s.classes[st.class][st.from], -1)
			sum.add(s.classes[st.class][st.to], 1)
			x.sums = append(x.sums, sum)
		}
		rest[at] = x
	}
	return rest
}

// mergeSteps merges two lists that are in order.
func mergeSteps(a, b []step) []step {
	out := make([]step, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].saves*a[0].use > a[0].saves*b[0].use {
			out, b = append(out, b[0]), b[1:]
		} else {
			out, a = append(out, a[0]), a[1:]
		}
	}
	return append(append(out, a...), b...)
}

// complete turns a state into a selection: the classes passed as it has them, the
// others after so many steps.
func (s *solver) complete(levels [][]state, rest []suffix, n state, steps int) []int {
	pick := make([]int, len(s.classes))
	at := len(levels) // classes passed
	for _, x := range rest[at : len(rest)-1] {
		pick[x.class] = x.base
	}
	for _, st := range rest[at].steps[:steps] {
		pick[st.class] = st.to
	}
	for at--; at >= 0; at-- {
		pick[rest[at].class] = int(n.item)
		n = levels[at][n.prev]
	}
	return pick
}
