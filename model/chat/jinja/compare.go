package jinja

import (
	"cmp"
	"slices"
	"strings"
)

// equal is Python's ==.
func (r *renderer) equal(a, b any) bool {
	r.spend(1)
	if s, ok := asText(a); ok {
		t, ok := asText(b)
		if !ok || len(s) != len(t) {
			return false
		}
		r.spendText(len(s))
		return s == t
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case *List:
		y, ok := b.(*List)
		return ok && x.tuple == y.tuple && r.equalLists(x.Items, y.Items)
	case *Dict:
		y, ok := b.(*Dict)
		return ok && r.equalDicts(x, y)
	}
	if c, ok := compareNumbers(a, b); ok {
		return c == 0
	}
	return identical(a, b)
}

func (r *renderer) equalLists(a, b []any) bool {
	r.enter()
	defer r.leave()
	return slices.EqualFunc(a, b, r.equal)
}

func (r *renderer) equalDicts(a, b *Dict) bool {
	if a.Len() != b.Len() {
		return false
	}
	r.enter()
	defer r.leave()
	for key, v := range a.All() {
		if w, ok := b.Get(key); !ok || !r.equal(v, w) {
			return false
		}
	}
	return true
}

// identical is Python's is: the same object or the same simple value.
func identical(a, b any) bool {
	switch a.(type) {
	case nil, bool, int64, float64, string, safe, *List, *Dict, *namespace, *macro, *loop:
		return a == b
	}
	return false // functions have no identity here
}

// compareNumbers orders two numbers; unordered ones (NaN) are no numbers.
func compareNumbers(a, b any) (int, bool) {
	a, b = asNumber(a), asNumber(b)
	if i, ok := a.(int64); ok {
		if j, ok := b.(int64); ok {
			return cmp.Compare(i, j), true
		}
	}
	x, ok1 := asFloat(a)
	y, ok2 := asFloat(b)
	if !ok1 || !ok2 || x != x || y != y {
		return 0, false
	}
	return cmp.Compare(x, y), true
}

// order is -1, 0 or 1 as a is less than, equal to or greater than b: numbers,
// texts or lists of the like.
func (r *renderer) order(a, b any) int {
	r.spend(1)
	if s, ok := asText(a); ok {
		if t, ok := asText(b); ok {
			r.spendText(min(len(s), len(t)))
			return strings.Compare(s, t)
		}
	}
	if c, ok := compareNumbers(a, b); ok {
		return c
	}
	if x, ok := a.(*List); ok {
		if y, ok := b.(*List); ok && x.tuple == y.tuple {
			r.enter()
			defer r.leave()
			return r.orderLists(x.Items, y.Items)
		}
	}
	r.failUndefined(a)
	r.failUndefined(b)
	r.fail("'%s' and '%s' cannot be ordered", typeName(a), typeName(b))
	return 0
}

// orderLists orders lists by their first elements that are not equal: those
// that are equal need no order.
func (r *renderer) orderLists(a, b []any) int {
	for i := range min(len(a), len(b)) {
		if !r.equal(a[i], b[i]) {
			return r.order(a[i], b[i])
		}
	}
	return cmp.Compare(len(a), len(b))
}

// contains is Python's in.
func (r *renderer) contains(container, v any) bool {
	if s, ok := asText(container); ok {
		part, ok := asText(v)
		if !ok {
			r.failUndefined(v)
			r.fail("'in <string>' needs a string on its left, not '%s'", typeName(v))
		}
		r.spendText(len(s) + len(part))
		return strings.Contains(s, part)
	}
	switch x := container.(type) {
	case *List:
		return slices.ContainsFunc(x.Items, func(item any) bool { return r.equal(item, v) })
	case *Dict:
		if _, ok := dictKey(v); !ok {
			r.fail("'%s' cannot be a key", typeName(v))
		}
		_, ok := x.Get(v)
		return ok
	case undefined:
		return false
	}
	r.fail("'%s' object cannot contain anything", typeName(container))
	return false
}

// compare evaluates one comparison.
func (r *renderer) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		return !r.equal(a, b)
	case "in":
		return r.contains(b, a)
	case "not in":
		return !r.contains(b, a)
	}
	if isNaN(a) || isNaN(b) {
		return false
	}
	c := r.order(a, b)
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0 // ">="
}

func isNaN(v any) bool {
	f, ok := v.(float64)
	return ok && f != f
}
