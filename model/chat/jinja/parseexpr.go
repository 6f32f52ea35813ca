package jinja

import (
	"strconv"
	"strings"
)

// constants are the names that are values.
var constants = map[string]any{"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil}

// tuple reads one expression, or several with commas between as a tuple.
func (p *parser) tuple(element func() expr) expr {
	first := element()
	if !p.isOp(",") {
		return first
	}
	t := &listExpr{items: []expr{first}, tuple: true}
	for p.skipOp(",") {
		if k := p.token().kind; k == tokenPrintEnd || k == tokenBlockEnd || p.isOp(")") || p.isOp("]") {
			break
		}
		t.items = append(t.items, element())
	}
	return t
}

// expression reads an expression: a or b if c else d. The operators from here
// down to unary bind ever tighter, in Jinja2's order.
func (p *parser) expression() expr {
	p.enter()
	defer p.leave()
	e := p.or()
	for p.skipWord("if") {
		c := &condExpr{test: p.or(), then: e}
		if p.skipWord("else") {
			c.otherwise = p.expression()
		}
		e = c
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for p.skipWord("or") {
		e = &orExpr{e, p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.skipWord("and") {
		e = &andExpr{e, p.not()}
	}
	return e
}

func (p *parser) not() expr {
	if p.skipWord("not") {
		p.enter()
		defer p.leave()
		return &notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	c := &compareExpr{first: p.sum()}
	for {
		op := ""
		switch t := p.token(); {
		case t.kind == tokenOperator:
			switch t.text {
			case "==", "!=", "<", "<=", ">", ">=":
				op = t.text
			}
		case p.isWord("in"):
			op = "in"
		case p.isWord("not") && p.ahead().kind == tokenName && p.ahead().text == "in":
			op = "not in"
			p.next()
		}
		if op == "" {
			break
		}
		p.next()
		c.rest = append(c.rest, comparison{op, p.sum()})
	}
	if len(c.rest) == 0 {
		return c.first
	}
	return c
}

func (p *parser) sum() expr { return p.arith(p.concat, "+", "-") }

func (p *parser) concat() expr {
	e := p.product()
	if !p.isOp("~") {
		return e
	}
	c := &concatExpr{[]expr{e}}
	for p.skipOp("~") {
		c.parts = append(c.parts, p.product())
	}
	return c
}

func (p *parser) product() expr { return p.arith(p.power, "*", "/", "//", "%") }

func (p *parser) power() expr { return p.arith(p.unary, "**") }

// arith reads operands with any of some operators between.
func (p *parser) arith(operand func() expr, ops ...string) expr {
	e := operand()
next:
	for _, op := range ops {
		if p.skipOp(op) {
			e = &arithExpr{op, e, operand()}
			goto next
		}
	}
	return e
}

// unary reads an operand with its signs, subscripts, filters and tests. A sign
// binds tighter than a filter, looser than a subscript.
func (p *parser) unary() expr { return p.filters(p.signed()) }

func (p *parser) signed() expr {
	p.enter()
	defer p.leave()
	switch {
	case p.skipOp("-"):
		return &negateExpr{p.signed()}
	case p.skipOp("+"):
		return &signExpr{p.signed()}
	}
	return p.postfix(p.primary())
}

func (p *parser) primary() expr {
	t := p.token()
	switch {
	case t.kind == tokenName:
		p.next()
		if v, ok := constants[t.text]; ok {
			return &literal{v}
		}
		p.names[t.text] = true
		return &nameExpr{t.text}
	case t.kind == tokenString:
		p.next()
		if p.token().kind != tokenString {
			return &literal{t.text}
		}
		var b strings.Builder // strings side by side are one
		b.WriteString(t.text)
		for p.token().kind == tokenString {
			b.WriteString(p.next().text)
		}
		return &literal{b.String()}
	case t.kind == tokenInt:
		return &literal{p.intLiteral()}
	case t.kind == tokenFloat:
		f, err := strconv.ParseFloat(strings.ReplaceAll(t.text, "_", ""), 64)
		if err != nil {
			p.fail("%s is too large", t.text)
		}
		p.next()
		return &literal{f}
	case p.skipOp("("):
		if p.skipOp(")") {
			return &listExpr{tuple: true}
		}
		e := p.tuple(p.expression)
		p.expectOp(")")
		return e
	case p.skipOp("["):
		return p.list()
	case p.skipOp("{"):
		return p.dict()
	}
	p.fail("expected an expression, got %v", t)
	return nil
}

func (p *parser) intLiteral() int64 {
	text := p.token().text
	digits := strings.ReplaceAll(text, "_", "")
	i, err := strconv.ParseInt(digits, 0, 64)
	if err != nil {
		p.fail("%s does not fit into 64 bits", text)
	}
	p.next()
	return i
}

func (p *parser) list() expr {
	l := &listExpr{}
	for !p.isOp("]") {
		l.items = append(l.items, p.expression())
		if !p.skipOp(",") {
			break
		}
	}
	p.expectOp("]")
	return l
}

func (p *parser) dict() expr {
	d := &dictExpr{}
	for !p.isOp("}") {
		d.keys = append(d.keys, p.expression())
		p.expectOp(":")
		d.values = append(d.values, p.expression())
		if !p.skipOp(",") {
			break
		}
	}
	p.expectOp("}")
	return d
}

// postfix reads attributes, subscripts and calls.
func (p *parser) postfix(e expr) expr {
	for {
		switch {
		case p.skipOp("."):
			switch t := p.token(); t.kind {
			case tokenName:
				e = &attrExpr{e, p.next().text}
			case tokenInt:
				e = &indexExpr{e, &literal{p.intLiteral()}}
			default:
				p.fail("expected a name or a number, got %v", t)
			}
		case p.skipOp("["):
			e = p.subscript(e)
		case p.isOp("("):
			e = &callExpr{e, p.args()}
		default:
			return e
		}
	}
}

// subscript reads what is in the brackets after a value: an index or a slice.
func (p *parser) subscript(of expr) expr {
	var from expr
	if !p.isOp(":") {
		from = p.expression()
	}
	if !p.skipOp(":") {
		p.expectOp("]")
		return &indexExpr{of, from}
	}
	s := &sliceExpr{of: of, from: from}
	if !p.isOp(":") && !p.isOp("]") {
		s.to = p.expression()
	}
	if p.skipOp(":") && !p.isOp("]") {
		s.step = p.expression()
	}
	p.expectOp("]")
	return s
}

// args reads the arguments of a call, in their parentheses.
func (p *parser) args() (a argExprs) {
	p.expectOp("(")
	for !p.isOp(")") {
		if p.token().kind == tokenName && p.ahead().kind == tokenOperator && p.ahead().text == "=" {
			a.names = append(a.names, p.next().text)
			p.next()
			a.named = append(a.named, p.expression())
		} else {
			if len(a.named) > 0 {
				p.fail("an argument without a name after one with a name")
			}
			a.pos = append(a.pos, p.expression())
		}
		if !p.skipOp(",") {
			break
		}
	}
	p.expectOp(")")
	return a
}

// filters reads the filters, tests and calls after an operand.
func (p *parser) filters(e expr) expr {
	for {
		switch {
		case p.skipOp("|"):
			e = p.filter(e)
		case p.skipWord("is"):
			e = p.test(e)
		case p.isOp("("):
			e = &callExpr{e, p.args()}
		default:
			return e
		}
	}
}

func (p *parser) filter(of expr) *filterExpr {
	f := &filterExpr{of: of, name: p.dottedName()}
	if p.isOp("(") {
		f.args = p.args()
	}
	return f
}

// filterChain reads the filters of a filter or set block.
func (p *parser) filterChain() *filterExpr {
	f := p.filter(nil)
	for p.skipOp("|") {
		f = p.filter(f)
	}
	return f
}

// test reads a test, whose only argument may stand without parentheses.
func (p *parser) test(of expr) expr {
	t := &testExpr{of: of, negate: p.skipWord("not"), name: p.dottedName()}
	if p.isOp("(") {
		t.args = p.args()
	} else if p.testArgument() {
		t.args.pos = []expr{p.postfix(p.primary())}
	}
	return t
}

func (p *parser) testArgument() bool {
	switch t := p.token(); t.kind {
	case tokenString, tokenInt, tokenFloat:
		return true
	case tokenOperator:
		return t.text == "[" || t.text == "{"
	case tokenName:
		if t.text == "is" {
			p.fail("tests cannot be chained with is")
		}
		return t.text != "else" && t.text != "or" && t.text != "and"
	}
	return false
}

func (p *parser) dottedName() string {
	name := p.expectName()
	for p.skipOp(".") {
		name += "." + p.expectName()
	}
	return name
}
