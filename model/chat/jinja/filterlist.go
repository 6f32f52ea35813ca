package jinja

import (
	"slices"
	"strconv"
	"strings"
)

func firstFilter(r *renderer, v any, _ []any) any {
	if s, ok := asText(v); ok && s != "" {
		return s[:runeOffset(s, 1)]
	}
	if items := r.elements(v); len(items) > 0 {
		return items[0]
	}
	return undefined{"there is no first item, the sequence is empty"}
}

func lastFilter(r *renderer, v any, _ []any) any {
	if items := r.elements(v); len(items) > 0 {
		return items[len(items)-1]
	}
	return undefined{"there is no last item, the sequence is empty"}
}

func reverseFilter(r *renderer, v any, _ []any) any {
	if s, ok := asText(v); ok {
		return like(v, r.sliceText(s, r.runeCount(s)-1, -1, -1))
	}
	items := slices.Clone(r.elements(v))
	slices.Reverse(items)
	return r.newList(items)
}

func itemsFilter(r *renderer, v any, _ []any) any {
	switch x := v.(type) {
	case undefined:
		return &List{}
	case *Dict:
		return r.pairs(x)
	}
	r.fail("'%s' object has no items", typeName(v))
	return nil
}

// path returns a getter of the attribute that filters take, such as "a.0.b";
// none gets the value itself.
func (r *renderer) path(attribute any) func(any) any {
	if attribute == nil {
		return func(v any) any { return v }
	}
	steps := []any{attribute}
	if s, ok := asText(attribute); ok {
		steps = steps[:0]
		for _, part := range strings.Split(s, ".") {
			if i, err := strconv.ParseInt(part, 10, 64); err == nil && i >= 0 {
				steps = append(steps, i)
			} else {
				steps = append(steps, part)
			}
		}
	}
	return func(v any) any {
		for _, step := range steps {
			r.spend(1)
			v = r.index(v, step)
		}
		return v
	}
}

// sortKey returns a getter of what a value is compared by.
func (r *renderer) sortKey(attribute any, caseSensitive any) func(any) any {
	get := r.path(attribute)
	return func(v any) any {
		v = get(v)
		if s, ok := asText(v); ok && !truth(caseSensitive) {
			r.spendText(len(s))
			return strings.ToLower(s)
		}
		return v
	}
}

func joinFilter(r *renderer, v any, a []any) any {
	items, get := r.elements(v), r.path(a[1])
	r.spend(len(items))
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = r.str(get(item))
	}
	return r.joinTexts(parts, r.str(a[0]))
}

// sorted returns items in the order of their keys; equal ones stay in order.
func (r *renderer) sorted(items []any, key func(any) any, reverse bool) *List {
	type keyed struct{ key, item any }
	r.spend(2 * len(items))
	all := make([]keyed, len(items))
	for i, item := range items {
		all[i] = keyed{key(item), item}
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		if reverse {
			return r.order(b.key, a.key)
		}
		return r.order(a.key, b.key)
	})
	out := make([]any, len(all))
	for i, k := range all {
		out[i] = k.item
	}
	return r.newList(out)
}

// sortFilter sorts by an attribute or by several, with commas between.
func sortFilter(r *renderer, v any, a []any) any {
	attributes := []any{a[2]}
	if s, ok := asText(a[2]); ok {
		attributes = attributes[:0]
		for _, attribute := range strings.Split(s, ",") {
			attributes = append(attributes, attribute)
		}
	}
	keys := make([]func(any) any, len(attributes))
	for i, attribute := range attributes {
		keys[i] = r.sortKey(attribute, a[1])
	}
	key := func(v any) any { // a list: what is equal needs no order
		r.spend(len(keys))
		l := &List{Items: make([]any, len(keys))}
		for i, k := range keys {
			l.Items[i] = k(v)
		}
		return l
	}
	return r.sorted(r.elements(v), key, truth(a[0]))
}

func dictsortFilter(r *renderer, v any, a []any) any {
	d, ok := v.(*Dict)
	if !ok {
		r.failUndefined(v)
		r.fail("'%s' object is no dictionary to sort", typeName(v))
	}
	var by int64
	switch s, _ := asText(a[1]); s {
	case "key":
	case "value":
		by = 1
	default:
		r.fail("a dictionary is sorted by 'key' or 'value'")
	}
	return r.sorted(r.pairs(d).Items, r.sortKey(by, a[0]), truth(a[2]))
}

func uniqueFilter(r *renderer, v any, a []any) any {
	key := r.sortKey(a[1], a[0])
	seen := NewDict()
	var out []any
	for _, item := range r.elements(v) {
		k := key(item)
		if _, dup := seen.Get(k); !dup {
			r.setEntry(seen, k, true)
			out = append(out, item)
		}
	}
	return r.newList(out)
}

// extremeFilter makes min (-1) and max (1).
func extremeFilter(sign int) builtin {
	return builtin{params: []param{opt("case_sensitive", false), opt("attribute", nil)}, run: func(r *renderer, v any, a []any) any {
		items := r.elements(v)
		if len(items) == 0 {
			return undefined{"there is no smallest or largest item, the sequence is empty"}
		}
		key := r.sortKey(a[1], a[0])
		best, bestKey := items[0], key(items[0])
		for _, item := range items[1:] {
			if k := key(item); r.order(k, bestKey) == sign {
				best, bestKey = item, k
			}
		}
		return best
	}}
}

func sumFilter(r *renderer, v any, a []any) any {
	get := r.path(a[0])
	total := a[1]
	for _, item := range r.elements(v) {
		if _, ok := asText(total); ok {
			r.fail("texts cannot be summed, they can be joined")
		}
		r.spend(1)
		total = r.arith("+", total, get(item))
	}
	return total
}

// mapFilter gets an attribute of every item, or applies a filter to it.
func mapFilter(r *renderer, v any, a arguments) any {
	if !truth(v) {
		return &List{}
	}
	items := r.elements(v)
	out := make([]any, 0, len(items))
	if attribute, ok := a.get("attribute"); ok && len(a.pos) == 0 {
		args := r.bind("the filter 'map'", []param{need("attribute"), opt("default", nil)}, a)
		get := r.path(attribute)
		for _, item := range items {
			got := get(item)
			if _, missing := got.(undefined); missing && args[1] != nil {
				got = args[1]
			}
			out = append(out, got)
		}
		return r.newList(out)
	}
	if len(a.pos) == 0 {
		r.fail("the filter 'map' needs the name of a filter or attribute=")
	}
	name := r.text(a.pos[0], "the name of a filter")
	a.pos = a.pos[1:]
	r.enter()
	defer r.leave()
	for _, item := range items {
		out = append(out, r.filter(name, item, a))
	}
	return r.newList(out)
}

// selectFilter makes select and reject, which keep or drop the items that pass
// a test (by default, those that are true), and their forms for an attribute.
func selectFilter(keep, byAttribute bool) builtin {
	return builtin{free: func(r *renderer, v any, a arguments) any {
		if !truth(v) {
			return &List{}
		}
		get := r.path(nil)
		if byAttribute {
			if len(a.pos) == 0 {
				r.fail("the filter needs the name of an attribute")
			}
			get = r.path(a.pos[0])
			a.pos = a.pos[1:]
		}
		passes := func(item any) bool { return truth(get(item)) }
		if len(a.pos) > 0 {
			name := r.text(a.pos[0], "the name of a test")
			a.pos = a.pos[1:]
			passes = func(item any) bool { return r.test(name, get(item), a) }
		}
		var out []any
		for _, item := range r.elements(v) {
			r.spend(1)
			if passes(item) == keep {
				out = append(out, item)
			}
		}
		return r.newList(out)
	}}
}
