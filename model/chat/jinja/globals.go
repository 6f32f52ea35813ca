package jinja

// globals are the functions every template has.
var globals = map[string]any{
	"range":           function("range", builtin{params: []param{need("start"), opt("stop", nil), opt("step", int64(1))}, run: rangeFunc}),
	"namespace":       function("namespace", builtin{free: namespaceFunc}),
	"dict":            function("dict", builtin{free: dictFunc}),
	"raise_exception": function("raise_exception", builtin{params: []param{need("message")}, run: raiseFunc}),
}

func function(name string, b builtin) *method { return &method{nil, name, b} }

// rangeFunc is Python's range, as a list.
func rangeFunc(r *renderer, _ any, a []any) any {
	start, stop := 0, r.integer(a[0], "the range")
	if a[1] != nil {
		start, stop = stop, r.integer(a[1], "the range's end")
	}
	step := r.integer(a[2], "the range's step")
	n := 0
	switch {
	case step == 0:
		r.fail("the range's step cannot be 0")
	case step > 0 && stop > start:
		n = (stop - start + step - 1) / step
	case step < 0 && stop < start:
		n = (start - stop - step - 1) / -step
	}
	if n > r.limits.Range || max(start, -start) == maxInt {
		r.failLimit("a range of more than %d", r.limits.Range)
	}
	r.spend(n)
	items := make([]any, n)
	for i := range items {
		items[i] = int64(start + i*step)
	}
	return &List{Items: items}
}

// entries makes a dictionary of dictionaries and named arguments.
func (r *renderer) entries(a arguments) *Dict {
	d := NewDict()
	for _, v := range a.pos {
		from, ok := v.(*Dict)
		if !ok {
			r.failUndefined(v)
			r.fail("'%s' object is no dictionary", typeName(v))
		}
		for key, value := range from.All() {
			r.setEntry(d, key, value)
		}
	}
	for i, name := range a.names {
		r.setEntry(d, name, a.named[i])
	}
	return d
}

func dictFunc(r *renderer, _ any, a arguments) any { return r.entries(a) }

func namespaceFunc(r *renderer, _ any, a arguments) any {
	ns := &namespace{make(map[string]any)}
	for key, value := range r.entries(a).All() {
		ns.attrs[r.str(key)] = value
	}
	return ns
}

// raiseFunc is transformers' raise_exception.
func raiseFunc(r *renderer, _ any, a []any) any {
	panic(&Error{Kind: ErrRaised, Line: r.line, Message: r.str(a[0])})
}
