package jinja

import (
	"context"
	"fmt"
	"strings"
)

// Render runs the template with variables, whose values are those the package
// describes. Its errors are *Error.
func (t *Template) Render(ctx context.Context, vars map[string]any, limits Limits) (text string, err error) {
	defer catch(&err)
	r := &renderer{ctx: ctx, limits: limits.withDefaults(), out: &strings.Builder{}, line: 1}
	r.work = r.limits.Work
	r.nextCheck = r.work
	outer := &scope{vars: vars, up: &scope{vars: globals}}
	r.run(t.body, &scope{up: outer})
	return r.out.String(), nil
}

// renderer is the state of one rendering.
type renderer struct {
	ctx       context.Context
	limits    Limits
	work      int // steps left
	nextCheck int // steps left when the context is looked at next
	depth     int
	line      int              // of the statement that runs
	out       *strings.Builder // of the template or the block that is captured
}

// write adds to the output.
func (r *renderer) write(s string) {
	r.spendText(len(s))
	if r.out.Len()+len(s) > r.limits.Output {
		r.failLimit("more than %d bytes of output", r.limits.Output)
	}
	r.out.WriteString(s)
}

// capture returns what a function writes.
func (r *renderer) capture(f func()) string {
	out, line := r.out, r.line
	r.out = &strings.Builder{}
	f()
	text := r.out.String()
	r.out, r.line = out, line
	return text
}

func (r *renderer) fail(format string, args ...any) {
	panic(&Error{Kind: ErrRender, Line: r.line, Message: fmt.Sprintf(format, args...)})
}

func (r *renderer) failLimit(format string, args ...any) {
	panic(&Error{Kind: ErrLimit, Line: r.line, Message: fmt.Sprintf(format, args...)})
}

// failUndefined fails if the value is undefined.
func (r *renderer) failUndefined(v any) {
	if u, ok := v.(undefined); ok {
		r.fail("%s", u.message)
	}
}

// scope holds the variables of a block inside another one.
type scope struct {
	vars map[string]any
	up   *scope
}

// inside returns a new scope.
func (s *scope) inside() *scope { return &scope{up: s} }

func (r *renderer) lookup(s *scope, name string) any {
	for ; s != nil; s = s.up {
		r.spend(1)
		if v, ok := s.vars[name]; ok {
			return v
		}
	}
	return undefined{"'" + name + "' is undefined"}
}

func (r *renderer) set(s *scope, name string, v any) {
	r.spend(dictEntry)
	if s.vars == nil {
		s.vars = make(map[string]any)
	}
	s.vars[name] = v
}

// assign gives a value to a target.
func (r *renderer) assign(s *scope, t target, v any) {
	switch {
	case t.parts != nil:
		items := r.elements(v)
		if len(items) != len(t.parts) {
			r.fail("expected %d values, got %d", len(t.parts), len(items))
		}
		for i, part := range t.parts {
			r.assign(s, part, items[i])
		}
	case t.attr != "":
		ns, ok := r.lookup(s, t.name).(*namespace)
		if !ok {
			r.fail("'%s' is no namespace, whose attributes could be set", t.name)
		}
		r.spend(dictEntry)
		ns.attrs[t.attr] = v
	default:
		r.set(s, t.name, v)
	}
}
