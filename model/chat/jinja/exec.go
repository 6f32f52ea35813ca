package jinja

// run executes statements until one leaves the loop they are in.
func (r *renderer) run(b block, s *scope) flow {
	r.enter()
	defer r.leave()
	for _, l := range b {
		r.spend(1)
		r.line = l.line
		if f := l.stmt.exec(r, s); f != flowNext {
			return f
		}
	}
	return flowNext
}

// captureBlock returns what a block writes, in a scope of its own.
func (r *renderer) captureBlock(b block, s *scope) string {
	return r.capture(func() { r.run(b, s.inside()) })
}

func (t *textStmt) exec(r *renderer, _ *scope) flow {
	r.write(t.text)
	return flowNext
}

func (p *printStmt) exec(r *renderer, s *scope) flow {
	r.write(r.str(r.eval(p.value, s)))
	return flowNext
}

func (i *ifStmt) exec(r *renderer, s *scope) flow {
	for _, b := range i.branches {
		if b.test == nil || truth(r.eval(b.test, s)) {
			return r.run(b.body, s)
		}
	}
	return flowNext
}

func (st *setStmt) exec(r *renderer, s *scope) flow {
	r.assign(s, st.target, r.eval(st.value, s))
	return flowNext
}

func (st *setBlockStmt) exec(r *renderer, s *scope) flow {
	r.assign(s, st.target, r.filtered(st.filter, r.captureBlock(st.body, s), s))
	return flowNext
}

func (f *filterStmt) exec(r *renderer, s *scope) flow {
	r.write(r.str(r.filtered(f.filter, r.captureBlock(f.body, s), s)))
	return flowNext
}

// filtered puts a block's text through its filters.
func (r *renderer) filtered(f *filterExpr, text any, s *scope) any {
	if f == nil {
		return text
	}
	if inner, ok := f.of.(*filterExpr); ok {
		r.enter()
		defer r.leave()
		text = r.filtered(inner, text, s)
	}
	return r.filter(f.name, text, r.evalArgs(f.args, s))
}

func (m *macroStmt) exec(r *renderer, s *scope) flow {
	r.set(s, m.name, &macro{m, s})
	return flowNext
}

func (c *callStmt) exec(r *renderer, s *scope) flow {
	callee := r.eval(c.call.callee, s)
	args := r.evalArgs(c.call.args, s)
	args.caller = &macro{c.caller, s}
	r.write(r.str(r.call(callee, args)))
	return flowNext
}

func (w *withStmt) exec(r *renderer, s *scope) flow {
	inner := s.inside()
	for i, t := range w.targets {
		r.assign(inner, t, r.eval(w.values[i], s))
	}
	return r.run(w.body, inner)
}

func (*breakStmt) exec(*renderer, *scope) flow    { return flowBreak }
func (*continueStmt) exec(*renderer, *scope) flow { return flowContinue }
