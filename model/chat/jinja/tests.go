package jinja

// test applies a test by its name.
func (r *renderer) test(name string, v any, a arguments) bool {
	t, ok := tests[name]
	if !ok {
		r.fail("there is no test '%s'", name)
	}
	return truth(r.apply("the test '"+name+"'", t, v, a))
}

// tests are Jinja2's.
var tests = map[string]builtin{
	"defined":     is(func(v any) bool { _, u := v.(undefined); return !u }),
	"undefined":   is(func(v any) bool { _, u := v.(undefined); return u }),
	"none":        is(func(v any) bool { return v == nil }),
	"true":        is(func(v any) bool { return v == true }),
	"false":       is(func(v any) bool { return v == false }),
	"boolean":     is(func(v any) bool { _, ok := v.(bool); return ok }),
	"integer":     is(func(v any) bool { _, ok := v.(int64); return ok }),
	"float":       is(func(v any) bool { _, ok := v.(float64); return ok }),
	"number":      is(func(v any) bool { _, ok := asFloat(v); return ok }),
	"string":      is(func(v any) bool { _, ok := asText(v); return ok }),
	"escaped":     is(isSafe),
	"mapping":     is(func(v any) bool { _, ok := v.(*Dict); return ok }),
	"sequence":    is(isSequence),
	"iterable":    is(isSequence),
	"callable":    is(isCallable),
	"lower":       {run: func(r *renderer, v any, _ []any) any { return isLowerText(r.str(v)) }},
	"upper":       {run: func(r *renderer, v any, _ []any) any { return isUpperText(r.str(v)) }},
	"odd":         {run: func(r *renderer, v any, _ []any) any { return r.equal(r.arith("%", v, int64(2)), int64(1)) }},
	"even":        {run: func(r *renderer, v any, _ []any) any { return r.equal(r.arith("%", v, int64(2)), int64(0)) }},
	"divisibleby": {params: []param{need("num")}, run: func(r *renderer, v any, a []any) any { return r.equal(r.arith("%", v, a[0]), int64(0)) }},
	"sameas":      {params: []param{need("other")}, run: func(_ *renderer, v any, a []any) any { return identical(v, a[0]) }},
	"in":          comparing("in"),
	"eq":          comparing("=="), "==": comparing("=="), "equalto": comparing("=="),
	"ne": comparing("!="), "!=": comparing("!="),
	"lt": comparing("<"), "<": comparing("<"), "lessthan": comparing("<"),
	"le": comparing("<="), "<=": comparing("<="),
	"gt": comparing(">"), ">": comparing(">"), "greaterthan": comparing(">"),
	"ge": comparing(">="), ">=": comparing(">="),
}

func is(f func(any) bool) builtin {
	return builtin{run: func(_ *renderer, v any, _ []any) any { return f(v) }}
}

func comparing(op string) builtin {
	return builtin{params: []param{need("other")}, run: func(r *renderer, v any, a []any) any { return r.compare(op, v, a[0]) }}
}

func isSequence(v any) bool {
	switch v.(type) {
	case string, safe, *List, *Dict, undefined:
		return true
	}
	return false
}

func isCallable(v any) bool {
	switch v.(type) {
	case Func, *method, *macro, *loop:
		return true
	}
	return false
}
