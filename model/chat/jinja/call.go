package jinja

import "errors"

// arguments are the evaluated arguments of a call.
type arguments struct {
	pos    []any
	names  []string // of named
	named  []any
	caller *macro // the body of a call block
}

// get returns a named argument.
func (a arguments) get(name string) (any, bool) {
	for i, n := range a.names {
		if n == name {
			return a.named[i], true
		}
	}
	return nil, false
}

// param is a parameter of a filter, test, method or function.
type param struct {
	name     string
	value    any // if it is not given
	required bool
}

func need(name string) param           { return param{name: name, required: true} }
func opt(name string, value any) param { return param{name: name, value: value} }

// builtin is a filter, test, method or function. One with parameters has run,
// and gets a value for each of them; one that takes any arguments has free. Self
// is what a filter, test or method applies to.
type builtin struct {
	params []param
	run    func(r *renderer, self any, a []any) any
	free   func(r *renderer, self any, a arguments) any
}

// method is a builtin bound to its value.
type method struct {
	self any
	name string
	builtin
}

// macro is a macro with the scope it was defined in.
type macro struct {
	*macroStmt
	scope *scope
}

// bind puts arguments in the order of the parameters.
func (r *renderer) bind(name string, params []param, a arguments) []any {
	if len(a.pos) > len(params) {
		r.fail("%s takes at most %d argument(s), not %d", name, len(params), len(a.pos))
	}
	values := make([]any, len(params))
	copy(values, a.pos)
	used := 0
	for i, p := range params {
		v, named := a.get(p.name)
		switch {
		case named && i < len(a.pos):
			r.fail("%s got two values for '%s'", name, p.name)
		case named:
			values[i] = v
			used++
		case i >= len(a.pos) && p.required:
			r.fail("%s needs the argument '%s'", name, p.name)
		case i >= len(a.pos):
			values[i] = p.value
		}
	}
	if used != len(a.names) {
		r.fail("%s does not take all of the named arguments %v", name, a.names)
	}
	return values
}

// apply runs a builtin.
func (r *renderer) apply(name string, b builtin, self any, a arguments) any {
	r.spendOn(self)
	for _, v := range a.pos {
		r.spendOn(v)
	}
	for _, v := range a.named {
		r.spendOn(v)
	}
	if b.free != nil {
		return b.free(r, self, a)
	}
	return b.run(r, self, r.bind(name, b.params, a))
}

// spendOn pays for looking through a value once.
func (r *renderer) spendOn(v any) {
	switch x := v.(type) {
	case string:
		r.spendText(len(x))
	case safe:
		r.spendText(len(x))
	case *List:
		r.spend(1 + len(x.Items))
	case *Dict:
		r.spend(1 + x.Len())
	}
}

// call calls a value.
func (r *renderer) call(callee any, a arguments) any {
	r.spend(1)
	r.enter()
	defer r.leave()
	switch f := callee.(type) {
	case *method:
		return r.apply(f.name, f.builtin, f.self, a)
	case *macro:
		return r.callMacro(f, a)
	case *loop:
		return r.recurse(f, a)
	case Func:
		if len(a.named) > 0 {
			r.fail("the function takes no named arguments")
		}
		v, err := f(a.pos)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				e = &Error{Kind: ErrRender, Line: r.line, Message: err.Error()}
			}
			panic(e)
		}
		return v
	}
	r.failUndefined(callee)
	r.fail("'%s' object cannot be called", typeName(callee))
	return nil
}

// callMacro returns the text that a macro writes.
func (r *renderer) callMacro(m *macro, a arguments) any {
	s := m.scope.inside()
	for i, v := range r.bind("macro '"+m.name+"'", m.params, a) {
		name := m.params[i].name
		if missing, ok := v.(notGiven); ok {
			v = undefined{"parameter '" + name + "' was not provided"}
			if missing.otherwise != nil {
				v = r.eval(missing.otherwise, s)
			}
		}
		r.set(s, name, v)
	}
	if a.caller != nil {
		r.set(s, "caller", a.caller)
	}
	return r.capture(func() { r.run(m.body, s) })
}

// notGiven stands for an argument that a macro's call leaves out.
type notGiven struct{ otherwise expr } // nil: undefined
