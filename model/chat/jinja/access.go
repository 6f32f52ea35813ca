package jinja

import "strings"

// attr is value.name: a method or attribute, else an element.
func (r *renderer) attr(v any, name string) any {
	if u, ok := v.(undefined); ok {
		r.fail("%s", u.message)
	}
	if m, ok := r.member(v, name); ok {
		return m
	}
	if d, ok := v.(*Dict); ok {
		return d.item(name)
	}
	return noAttribute(v, name)
}

// index is value[at]: an element, else, for a name, a method or attribute.
func (r *renderer) index(v, at any) any {
	r.failUndefined(v)
	if d, ok := v.(*Dict); ok {
		if e, ok := d.Get(at); ok {
			return e
		}
	}
	if name, ok := asText(at); ok {
		if m, ok := r.member(v, name); ok {
			return m
		}
		if d, ok := v.(*Dict); ok {
			return d.item(at)
		}
		return noAttribute(v, name)
	}
	if n, ok := asNumber(at).(int64); ok {
		if l, ok := v.(*List); ok {
			if i, ok := elementAt(n, len(l.Items)); ok {
				return l.Items[i]
			}
		}
		if s, ok := asText(v); ok {
			r.spendText(len(s))
			if i, ok := elementAt(n, r.runeCount(s)); ok {
				from := runeOffset(s, i)
				return like(v, s[from:from+runeOffset(s[from:], 1)])
			}
		}
	}
	return undefined{"'" + typeName(v) + " object' has no such element"}
}

// elementAt resolves an index, which counts from the end if it is negative.
func elementAt(i int64, n int) (int, bool) {
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

// member returns a method or attribute. As in Jinja2's sandbox, what would
// change a value is there but undefined.
func (r *renderer) member(v any, name string) (any, bool) {
	var methods map[string]builtin
	switch x := v.(type) {
	case *namespace:
		a, ok := x.attrs[name]
		return a, ok
	case *loop:
		return x.attr(name), true
	case *macro:
		if name == "name" {
			return x.name, true
		}
		return nil, false
	case string, safe:
		methods = stringMethods
	case *Dict:
		methods = dictMethods
	case *List:
		methods = listMethods
	}
	m, ok := methods[name]
	if !ok {
		return nil, false
	}
	if m.run == nil && m.free == nil {
		return undefined{"the method '" + name + "' of '" + typeName(v) + "' changes it, which templates may not"}, true
	}
	return &method{v, name, m}, true
}

func noAttribute(v any, name string) any {
	return undefined{"'" + typeName(v) + " object' has no attribute '" + name + "'"}
}

// slice is value[from:to:step], with Python's rules.
func (r *renderer) slice(v, from, to, step any) any {
	r.failUndefined(v)
	l, isList := v.(*List)
	s, isText := asText(v)
	if !isList && !isText {
		r.fail("'%s' object cannot be sliced", typeName(v))
	}
	n := 0
	if isList {
		n = len(l.Items)
	} else {
		n = r.runeCount(s)
	}
	by := 1
	if step != nil {
		if by = r.integer(step, "a slice's step"); by == 0 {
			r.fail("a slice's step cannot be 0")
		}
	}
	lo, hi := 0, n
	start, stop := lo, hi
	if by < 0 {
		lo, hi = -1, n-1
		start, stop = hi, lo
	}
	bound := func(v any, otherwise int) int {
		if v == nil {
			return otherwise
		}
		i := r.integer(v, "a slice's bound")
		if i < 0 {
			i += n
		}
		return min(max(i, lo), hi)
	}
	start, stop = bound(from, start), bound(to, stop)
	if isText {
		return like(v, r.sliceText(s, start, stop, by))
	}
	if by == 1 { // values never change: both can share the elements
		return &List{Items: l.Items[start:max(start, stop)], tuple: l.tuple}
	}
	var items []any
	for i := start; by > 0 && i < stop || by < 0 && i > stop; i += by {
		r.spend(1)
		items = append(items, l.Items[i])
	}
	return &List{Items: items, tuple: l.tuple}
}

func (r *renderer) sliceText(s string, start, stop, by int) string {
	if by == 1 {
		if stop <= start {
			return ""
		}
		from := runeOffset(s, start)
		return s[from : from+runeOffset(s[from:], stop-start)]
	}
	runes := []rune(s)
	r.spend(len(runes) / 8)
	var b strings.Builder
	for i := start; by > 0 && i < stop || by < 0 && i > stop; i += by {
		b.WriteRune(runes[i])
	}
	return b.String()
}
