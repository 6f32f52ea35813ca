package jinja

import "strings"

// batchFilter makes lists of as many items, the last filled up if that is asked for.
func batchFilter(r *renderer, v any, a []any) any {
	size := r.integer(a[0], "the size of a batch")
	if size < 1 {
		r.fail("a batch of %d", size)
	}
	var out []any
	for items := r.elements(v); len(items) > 0; {
		n := min(size, len(items))
		batch := append([]any(nil), items[:n]...)
		if a[1] != nil {
			r.spend(size - n)
			for len(batch) < size {
				batch = append(batch, a[1])
			}
		}
		out = append(out, r.newList(batch))
		items = items[n:]
	}
	return r.newList(out)
}

// sliceFilter makes so many lists, the first ones longer by one where it does not come
// out even; the others are filled up if that is asked for.
func sliceFilter(r *renderer, v any, a []any) any {
	count := r.integer(a[0], "the number of slices")
	if count < 1 {
		r.fail("%d slices", count)
	}
	r.spend(count)
	items := r.elements(v)
	size, longer := len(items)/count, len(items)%count
	out := make([]any, count)
	for i := range out {
		n := size
		if i < longer {
			n++
		}
		part := append([]any(nil), items[:n]...)
		if a[1] != nil && longer > 0 && i >= longer {
			part = append(part, a[1])
		}
		out[i], items = r.newList(part), items[n:]
	}
	return r.newList(out)
}

// groupbyFilter makes pairs of a value of an attribute and the items that have it, in
// the order of the values.
func groupbyFilter(r *renderer, v any, a []any) any {
	get := r.path(a[0])
	value := func(item any) any {
		got := get(item)
		if _, missing := got.(undefined); missing && a[1] != nil {
			return a[1]
		}
		return got
	}
	key := func(item any) any {
		got := value(item)
		if s, ok := asText(got); ok && !truth(a[2]) {
			r.spendText(len(s))
			return strings.ToLower(s)
		}
		return got
	}
	var out []any
	var group []any
	finish := func() {
		if len(group) > 0 {
			pair := r.newList([]any{value(group[0]), r.newList(group)})
			pair.tuple = true
			out = append(out, pair)
		}
		group = nil
	}
	for _, item := range r.sorted(r.elements(v), key, false).Items {
		if len(group) > 0 && !r.equal(key(group[0]), key(item)) {
			finish()
		}
		group = append(group, item)
	}
	finish()
	return r.newList(out)
}

// truncateFilter cuts a text that is too long, between words unless killwords is set.
func truncateFilter(r *renderer, v any, a []any) any {
	s, end := r.str(v), r.str(a[2])
	length, leeway := r.integer(a[0], "the length"), r.integer(a[3], "the leeway")
	room := length - r.runeCount(end)
	if length < 0 || leeway < 0 || room < 0 {
		r.fail("a text of %d characters that ends in '%s'", length, end)
	}
	if r.runeCount(s) <= length+leeway {
		return s
	}
	s = s[:runeOffset(s, room)]
	if space := strings.LastIndexByte(s, ' '); space >= 0 && !truth(a[1]) {
		s = s[:space]
	}
	return s + end
}
