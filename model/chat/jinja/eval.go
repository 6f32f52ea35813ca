package jinja

import "strings"

// eval returns the value of an expression.
func (r *renderer) eval(e expr, s *scope) any {
	r.spend(1)
	r.enter()
	v := e.eval(r, s)
	r.leave()
	return v
}

func (r *renderer) evalAll(es []expr, s *scope) []any {
	values := make([]any, len(es))
	for i, e := range es {
		values[i] = r.eval(e, s)
	}
	return values
}

func (r *renderer) evalArgs(a argExprs, s *scope) arguments {
	return arguments{pos: r.evalAll(a.pos, s), names: a.names, named: r.evalAll(a.named, s)}
}

func (l *literal) eval(*renderer, *scope) any { return l.value }

func (n *nameExpr) eval(r *renderer, s *scope) any { return r.lookup(s, n.name) }

func (l *listExpr) eval(r *renderer, s *scope) any {
	return &List{Items: r.evalAll(l.items, s), tuple: l.tuple}
}

func (d *dictExpr) eval(r *renderer, s *scope) any {
	r.spend(dictEntry)
	dict := NewDict()
	for i := range d.keys {
		key := r.eval(d.keys[i], s)
		r.setEntry(dict, key, r.eval(d.values[i], s))
	}
	return dict
}

func (a *attrExpr) eval(r *renderer, s *scope) any { return r.attr(r.eval(a.of, s), a.name) }

func (i *indexExpr) eval(r *renderer, s *scope) any {
	of := r.eval(i.of, s)
	return r.index(of, r.eval(i.at, s))
}

func (e *sliceExpr) eval(r *renderer, s *scope) any {
	of := r.eval(e.of, s)
	part := func(e expr) any {
		if e == nil {
			return nil
		}
		return r.eval(e, s)
	}
	return r.slice(of, part(e.from), part(e.to), part(e.step))
}

func (c *callExpr) eval(r *renderer, s *scope) any {
	callee := r.eval(c.callee, s)
	return r.call(callee, r.evalArgs(c.args, s))
}

func (f *filterExpr) eval(r *renderer, s *scope) any {
	of := r.eval(f.of, s)
	return r.filter(f.name, of, r.evalArgs(f.args, s))
}

func (t *testExpr) eval(r *renderer, s *scope) any {
	of := r.eval(t.of, s)
	return r.test(t.name, of, r.evalArgs(t.args, s)) != t.negate
}

func (c *condExpr) eval(r *renderer, s *scope) any {
	if truth(r.eval(c.test, s)) {
		return r.eval(c.then, s)
	}
	if c.otherwise == nil {
		return undefined{"the condition does not hold, and there is no else"}
	}
	return r.eval(c.otherwise, s)
}

func (c *concatExpr) eval(r *renderer, s *scope) any {
	parts := make([]string, len(c.parts))
	size := 0
	for i, p := range c.parts {
		parts[i] = r.str(r.eval(p, s))
		size += len(parts[i])
	}
	r.spendText(size)
	return strings.Join(parts, "")
}

func (e *signExpr) eval(r *renderer, s *scope) any {
	v := r.eval(e.of, s)
	if _, ok := asFloat(v); !ok {
		r.failUndefined(v)
		r.fail("'+' cannot be applied to '%s'", typeName(v))
	}
	return asNumber(v)
}

func (e *negateExpr) eval(r *renderer, s *scope) any { return r.negate(r.eval(e.of, s)) }

func (n *notExpr) eval(r *renderer, s *scope) any { return !truth(r.eval(n.of, s)) }

func (a *andExpr) eval(r *renderer, s *scope) any {
	if v := r.eval(a.left, s); !truth(v) {
		return v
	}
	return r.eval(a.right, s)
}

func (o *orExpr) eval(r *renderer, s *scope) any {
	if v := r.eval(o.left, s); truth(v) {
		return v
	}
	return r.eval(o.right, s)
}

func (c *compareExpr) eval(r *renderer, s *scope) any {
	left := r.eval(c.first, s)
	for _, next := range c.rest {
		right := r.eval(next.to, s)
		if !r.compare(next.op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (e *arithExpr) eval(r *renderer, s *scope) any {
	left := r.eval(e.left, s)
	return r.arith(e.op, left, r.eval(e.right, s))
}
