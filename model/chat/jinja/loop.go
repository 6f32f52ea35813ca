package jinja

// loop is a running for statement: the variable "loop" of its body.
type loop struct {
	stmt  *forStmt
	scope *scope // around the statement
	items []any
	at    int
	depth int   // of recursive loops, from 0
	last  *List // what changed() saw
}

func (f *forStmt) exec(r *renderer, s *scope) flow {
	r.loop(f, s, r.eval(f.in, s), 0)
	return flowNext
}

// loop runs a for statement over a value.
func (r *renderer) loop(f *forStmt, s *scope, over any, depth int) {
	items := r.elements(over)
	if f.where != nil {
		items = r.where(f, s, items)
	}
	if len(items) == 0 {
		r.run(f.otherwise, s.inside())
		return
	}
	l := &loop{stmt: f, scope: s, items: items, depth: depth}
	for i, item := range items {
		l.at = i
		inner := s.inside()
		r.set(inner, "loop", l)
		r.assign(inner, f.target, item)
		if r.run(f.body, inner) == flowBreak {
			return
		}
	}
}

// where returns the items for which the loop's condition holds.
func (r *renderer) where(f *forStmt, s *scope, items []any) []any {
	var kept []any
	for _, item := range items {
		inner := s.inside()
		r.assign(inner, f.target, item)
		if truth(r.eval(f.where, inner)) {
			kept = append(kept, item)
		}
	}
	return kept
}

// attr returns an attribute of the variable "loop".
func (l *loop) attr(name string) any {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.at + 1)
	case "index0":
		return int64(l.at)
	case "revindex":
		return int64(n - l.at)
	case "revindex0":
		return int64(n - l.at - 1)
	case "first":
		return l.at == 0
	case "last":
		return l.at == n-1
	case "length":
		return int64(n)
	case "depth":
		return int64(l.depth + 1)
	case "depth0":
		return int64(l.depth)
	case "previtem":
		if l.at > 0 {
			return l.items[l.at-1]
		}
		return undefined{"there is no previous item"}
	case "nextitem":
		if l.at < n-1 {
			return l.items[l.at+1]
		}
		return undefined{"there is no next item"}
	case "cycle":
		return &method{l, "cycle", builtin{free: (*renderer).cycle}}
	case "changed":
		return &method{l, "changed", builtin{free: (*renderer).changed}}
	}
	return undefined{"'loop' has no attribute '" + name + "'"}
}

// cycle is loop.cycle: its arguments in turn.
func (r *renderer) cycle(self any, a arguments) any {
	if len(a.pos) == 0 {
		r.fail("cycle needs something to cycle through")
	}
	return a.pos[self.(*loop).at%len(a.pos)]
}

// changed is loop.changed: whether the arguments differ from the last ones.
func (r *renderer) changed(self any, a arguments) any {
	l, now := self.(*loop), &List{Items: a.pos}
	if l.last != nil && r.equal(l.last, now) {
		return false
	}
	l.last = now
	return true
}

// recurse is loop(...) in a recursive loop: what the loop writes for other
// items.
func (r *renderer) recurse(l *loop, a arguments) any {
	if !l.stmt.recursive {
		r.fail("the loop is not recursive")
	}
	args := r.bind("loop", []param{need("iterable")}, a)
	return r.capture(func() { r.loop(l.stmt, l.scope, args[0], l.depth+1) })
}
