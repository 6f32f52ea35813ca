package jinja

import (
	"fmt"
	"strings"
)

// Template is a parsed template. It is immutable and safe for concurrent use.
type Template struct {
	body  block
	names map[string]bool // of variables that are read
}

// Uses reports whether the template reads a variable of this name.
func (t *Template) Uses(name string) bool { return t.names[name] }

// Parse reads a template. Its errors are *Error, of kind ErrSyntax or, for a
// template that is too large or too deeply nested, ErrLimit.
func Parse(src string) (t *Template, err error) {
	defer catch(&err)
	if len(src) > maxSource {
		return nil, &Error{Kind: ErrLimit, Line: 1, Message: fmt.Sprintf("a template of more than %d bytes", maxSource)}
	}
	p := &parser{tokens: lex(src), names: make(map[string]bool)}
	body, _ := p.body()
	return &Template{body, p.names}, nil
}

// parser is a recursive descent over the tokens, the last of which is tokenEnd.
type parser struct {
	tokens []token
	at     int
	depth  int
	loops  int // that a break could leave
	names  map[string]bool
}

func (p *parser) fail(format string, args ...any) {
	panic(&Error{Kind: ErrSyntax, Line: p.line(), Message: fmt.Sprintf(format, args...)})
}

// enter goes into a block or bracket; leave comes out.
func (p *parser) enter() {
	if p.depth++; p.depth > maxNesting {
		panic(&Error{Kind: ErrLimit, Line: p.line(), Message: fmt.Sprintf("nested deeper than %d", maxNesting)})
	}
}

func (p *parser) leave() { p.depth-- }

func (p *parser) token() token { return p.tokens[p.at] }
func (p *parser) line() int    { return int(p.token().line) }

// ahead returns the token after the current one.
func (p *parser) ahead() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

// next returns the current token and moves on, but not past the end.
func (p *parser) next() token {
	t := p.token()
	p.at = min(p.at+1, len(p.tokens)-1)
	return t
}

func (p *parser) isOp(op string) bool {
	return p.token().kind == tokenOperator && p.token().text == op
}

func (p *parser) isWord(word string) bool {
	return p.token().kind == tokenName && p.token().text == word
}

// skipOp moves over an operator if it is there.
func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.next()
		return true
	}
	return false
}

func (p *parser) skipWord(word string) bool {
	if p.isWord(word) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		p.fail("expected '%s', got %v", op, p.token())
	}
}

func (p *parser) expectWord(word string) {
	if !p.skipWord(word) {
		p.fail("expected '%s', got %v", word, p.token())
	}
}

func (p *parser) expectName() string {
	if p.token().kind != tokenName {
		p.fail("expected a name, got %v", p.token())
	}
	return p.next().text
}

func (p *parser) expectBlockEnd() {
	if p.token().kind != tokenBlockEnd {
		p.fail("expected %%}, got %v", p.token())
	}
	p.next()
}

// body reads statements up to one of the tags that end it, whose name it reads
// and returns; without ends, up to the end of the template.
func (p *parser) body(ends ...string) (body block, end string) {
	p.enter()
	defer p.leave()
	for {
		line := p.line()
		switch t := p.next(); t.kind {
		case tokenEnd:
			if len(ends) > 0 {
				p.fail("the template ends where %s was expected", strings.Join(ends, " or "))
			}
			return body, ""
		case tokenText:
			body = append(body, located{line, &textStmt{t.text}})
		case tokenPrintBegin:
			value := p.tuple(p.expression)
			if p.token().kind != tokenPrintEnd {
				p.fail("expected }}, got %v", p.token())
			}
			p.next()
			body = append(body, located{line, &printStmt{value}})
		case tokenBlockBegin:
			tag := p.expectName()
			for _, e := range ends {
				if e == tag {
					return body, tag
				}
			}
			if tag == "generation" { // transformers marks the model's own turns by it
				body = append(body, located{line, &withStmt{body: p.simpleBody("endgeneration")}})
				continue
			}
			body = append(body, located{line, p.statement(tag)})
		}
	}
}

// captured reads the body of a tag whose text is not written where it stands:
// no break or continue leads out of it.
func (p *parser) captured(end string) block {
	loops := p.loops
	p.loops = 0
	defer func() { p.loops = loops }()
	return p.simpleBody(end)
}

// simpleBody reads the end of a tag and the body up to another tag, with it.
func (p *parser) simpleBody(end string) block {
	p.expectBlockEnd()
	body, _ := p.body(end)
	p.expectBlockEnd()
	return body
}

func (p *parser) statement(tag string) stmt {
	switch tag {
	case "if":
		return p.ifStatement()
	case "for":
		return p.forStatement()
	case "set":
		return p.setStatement()
	case "macro":
		return p.macroStatement()
	case "call":
		return p.callStatement()
	case "filter":
		filter := p.filterChain()
		return &filterStmt{filter, p.captured("endfilter")}
	case "with":
		return p.withStatement()
	case "break", "continue":
		if p.loops == 0 {
			p.fail("'%s' outside of a loop", tag)
		}
		p.expectBlockEnd()
		if tag == "break" {
			return &breakStmt{}
		}
		return &continueStmt{}
	}
	p.fail("unknown tag '%s'", tag)
	return nil
}

func (p *parser) ifStatement() stmt {
	s := &ifStmt{}
	test := p.tuple(p.or)
	for {
		p.expectBlockEnd()
		if test == nil { // after else
			body, _ := p.body("endif")
			p.expectBlockEnd()
			s.branches = append(s.branches, branch{nil, body})
			return s
		}
		body, end := p.body("elif", "else", "endif")
		s.branches = append(s.branches, branch{test, body})
		switch end {
		case "endif":
			p.expectBlockEnd()
			return s
		case "elif":
			test = p.tuple(p.or)
		case "else":
			test = nil
		}
	}
}

func (p *parser) forStatement() stmt {
	s := &forStmt{target: p.target(false)}
	p.expectWord("in")
	s.in = p.tuple(p.or)
	if p.skipWord("if") {
		s.where = p.expression()
	}
	s.recursive = p.skipWord("recursive")
	p.expectBlockEnd()
	p.loops++
	body, end := p.body("else", "endfor")
	p.loops--
	s.body = body
	if end == "else" {
		p.expectBlockEnd()
		s.otherwise, _ = p.body("endfor")
	}
	p.expectBlockEnd()
	return s
}

func (p *parser) setStatement() stmt {
	t := p.target(true)
	if p.skipOp("=") {
		s := &setStmt{t, p.tuple(p.expression)}
		p.expectBlockEnd()
		return s
	}
	s := &setBlockStmt{target: t}
	if p.skipOp("|") {
		s.filter = p.filterChain()
	}
	s.body = p.captured("endset")
	return s
}

func (p *parser) macroStatement() stmt {
	m := &macroStmt{name: p.expectName()}
	p.signature(m)
	m.body = p.captured("endmacro")
	return m
}

// signature reads a macro's parameters.
func (p *parser) signature(m *macroStmt) {
	p.expectOp("(")
	defaults := false
	for !p.isOp(")") {
		name, otherwise := p.expectName(), expr(nil)
		if p.skipOp("=") {
			otherwise, defaults = p.expression(), true
		} else if defaults {
			p.fail("parameter '%s' needs a default, as the one before has", name)
		}
		m.params = append(m.params, opt(name, notGiven{otherwise}))
		if !p.skipOp(",") {
			break
		}
	}
	p.expectOp(")")
}

func (p *parser) callStatement() stmt {
	caller := &macroStmt{name: "caller"}
	if p.isOp("(") {
		p.signature(caller)
	}
	call, ok := p.expression().(*callExpr)
	if !ok {
		p.fail("expected a call")
	}
	caller.body = p.captured("endcall")
	return &callStmt{call, caller}
}

func (p *parser) withStatement() stmt {
	s := &withStmt{}
	for p.token().kind != tokenBlockEnd {
		if len(s.targets) > 0 {
			p.expectOp(",")
		}
		s.targets = append(s.targets, p.oneTarget(false))
		p.expectOp("=")
		s.values = append(s.values, p.expression())
	}
	s.body = p.simpleBody("endwith")
	return s
}

// target reads what a set or for assigns to: one target or several.
func (p *parser) target(attributes bool) target {
	first := p.oneTarget(attributes)
	if !p.isOp(",") {
		return first
	}
	parts := []target{first}
	for p.skipOp(",") && p.token().kind != tokenBlockEnd && !p.isOp("=") && !p.isOp(")") && !p.isWord("in") {
		parts = append(parts, p.oneTarget(attributes))
	}
	return target{parts: parts}
}

func (p *parser) oneTarget(attributes bool) target {
	if p.skipOp("(") {
		p.enter()
		t := p.target(attributes)
		p.leave()
		p.expectOp(")")
		return t
	}
	name := p.expectName()
	if _, constant := constants[name]; constant {
		p.fail("cannot assign to '%s'", name)
	}
	if attributes && p.skipOp(".") {
		return target{name: name, attr: p.expectName()}
	}
	return target{name: name}
}
