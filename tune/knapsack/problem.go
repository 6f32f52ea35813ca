// Package knapsack solves the multiple-choice knapsack problem: of every class
// take one item, at the least total cost, within a limit on the total use of each
// of a few axes. Tuning is of this kind: a class is a matrix, an item a way to
// store it, the cost what that loses, the axes bytes and time.
//
// The linear relaxation is piecewise linear and convex (Sinha and Zoltners, "The
// multiple-choice knapsack problem", Operations Research 27, 1979); Front lists
// its corners, each the best selection of its use. Solve closes the gap between
// two corners by dynamic programming over partial selections, of which only those
// are kept that are not dominated and that the relaxation of the rest lets hope.
package knapsack

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Axes is the most axes a problem can have.
const Axes = 3

// Item is one choice of a class.
type Item struct {
	Cost float64
	Use  [Axes]float64 // of each axis, not negative; axes without a limit do not count
}

// Selection takes one item of every class.
type Selection struct {
	Pick  []int // by class: index of the item
	Cost  float64
	Use   [Axes]float64
	Bound float64 // no selection within the limits costs less; Cost where this one is proved best
}

// What Solve can fail of.
var (
	ErrInput      = errors.New("knapsack")
	ErrInfeasible = errors.New("no selection keeps the limits")
)

// Problem is a set of classes.
type Problem struct {
	classes [][]Item
}

// New checks the classes; it keeps them.
func New(classes [][]Item) (*Problem, error) {
	for i, class := range classes {
		if len(class) == 0 {
			return nil, fmt.Errorf("%w: class %d has no items", ErrInput, i)
		}
		for j, item := range class {
			ok := finite(item.Cost)
			for _, u := range item.Use {
				ok = ok && finite(u) && u >= 0
			}
			if !ok {
				return nil, fmt.Errorf("%w: item %d of class %d costs %g and uses %g: costs must be finite, uses not negative either", ErrInput, j, i, item.Cost, item.Use)
			}
		}
	}
	return &Problem{classes}, nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Select adds up a selection that the caller made; it keeps pick.
func (p *Problem) Select(pick []int) Selection {
	var t total
	for i, j := range pick {
		t.add(p.classes[i][j], 1)
	}
	return Selection{pick, t.cost, t.use, t.cost}
}

// total is a sum over items.
type total struct {
	cost float64
	use  [Axes]float64
}

func (t *total) add(item Item, times float64) {
	t.cost += times * item.Cost
	for a, u := range item.Use {
		t.use[a] += times * u
	}
}

// choice is an item with the first axis left; what the others are charged for is
// in cost.
type choice struct {
	use, cost float64
	item      int
}

// hull returns the corners of the lower convex hull of choices by rising use. It
// reorders them.
func hull(choices []choice) []choice {
	slices.SortFunc(choices, func(a, b choice) int {
		return cmp.Or(cmp.Compare(a.use, b.use), cmp.Compare(a.cost, b.cost), cmp.Compare(a.item, b.item))
	})
	var h []choice
	for _, c := range choices {
		if len(h) > 0 && c.cost >= h[len(h)-1].cost {
			continue
		}
		for len(h) > 1 && onOrAbove(h[len(h)-2], h[len(h)-1], c) {
			h = h[:len(h)-1]
		}
		h = append(h, c)
	}
	return h
}

// onOrAbove reports whether b is not below the line from a to c.
func onOrAbove(a, b, c choice) bool {
	return (a.cost-b.cost)*(c.use-b.use) <= (b.cost-c.cost)*(b.use-a.use)
}

// step moves a class one corner along its hull: more use, less cost.
type step struct {
	class, from, to int
	use, saves      float64
}

// relaxation is a set of classes with fractions of steps allowed.
type relaxation struct {
	least []choice // by class: the corner of least use
	steps []step   // of all classes, those that save most per use first
}

func relax(classes [][]choice) relaxation {
	r := relaxation{least: make([]choice, len(classes))}
	for i, choices := range classes {
		h := hull(choices)
		r.least[i] = h[0]
		for j := 1; j < len(h); j++ {
			r.steps = append(r.steps, step{i, h[j-1].item, h[j].item, h[j].use - h[j-1].use, h[j-1].cost - h[j].cost})
		}
	}
	slices.SortStableFunc(r.steps, func(a, b step) int { return cmp.Compare(b.saves*a.use, a.saves*b.use) })
	return r
}

// pick returns the items of least use.
func (r relaxation) pick() []int {
	pick := make([]int, len(r.least))
	for i, c := range r.least {
		pick[i] = c.item
	}
	return pick
}

// Front lists selections from the least use of the first axis to the least cost,
// the corners of the relaxation: no selection of as little use costs less.
func (p *Problem) Front() []Selection {
	classes := make([][]choice, len(p.classes))
	for i, class := range p.classes {
		for j, item := range class {
			classes[i] = append(classes[i], choice{item.Use[0], item.Cost, j})
		}
	}
	r := relax(classes)
	pick := r.pick()
	at := p.Select(pick)
	sum := total{at.Cost, at.Use}
	front := []Selection{{slices.Clone(pick), sum.cost, sum.use, sum.cost}}
	for _, st := range r.steps {
		pick[st.class] = st.to
		sum.add(p.classes[st.class][st.from], -1)
		sum.add(p.classes[st.class][st.to], 1)
		front = append(front, Selection{slices.Clone(pick), sum.cost, sum.use, sum.cost})
	}
	return front
}
