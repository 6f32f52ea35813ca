package oniguruma

import "strings"

// group reads a parenthesis and what it holds.
func (p *parser) group() string {
	defer p.enter()()
	start := p.at
	p.at++
	if p.looking("*") {
		p.refuse(start, "the callout (*")
	}
	if !p.take("?") {
		return p.body("(?:")
	}
	switch {
	case p.take("#"):
		for p.more() && p.peek() != ')' {
			if p.peek() == '\\' {
				p.at++
			}
			p.at++
		}
		p.close(start)
		return "(?:)"
	case p.take(":"):
		return p.body("(?:")
	case p.take("="):
		return p.body("(?=")
	case p.take("!"):
		return p.body("(?!")
	case p.take(">"):
		return p.atomic(start, p.body("(?:"))
	case p.take("<="):
		return p.lookBehind("(?<=")
	case p.take("<!"):
		return p.lookBehind("(?<!")
	case p.take("<"):
		p.name(start, '>')
		return p.body("(?:")
	case p.take("'"):
		p.name(start, '\'')
		return p.body("(?:")
	}
	return p.optionGroup(start)
}

// body reads what a group holds, up to its end.
func (p *parser) body(open string) string {
	start, saved := p.at, p.options
	inside := p.alternation()
	p.options = saved
	p.close(start)
	return open + inside + ")"
}

func (p *parser) close(start int) {
	if !p.take(")") {
		p.refuse(start, "a group without an end")
	}
}

func (p *parser) lookBehind(open string) string {
	saved := p.behind
	p.behind = true
	translated := p.body(open)
	p.behind = saved
	return translated
}

// name skips that of a group: nothing refers to it.
func (p *parser) name(start int, end rune) {
	begin := p.at
	for p.more() && p.peek() != end {
		if r := p.peek(); !word().has(r) {
			p.refuse(start, "a group whose name holds %q", r)
		}
		p.at++
	}
	if !p.more() || p.at == begin || p.src[begin] >= '0' && p.src[begin] <= '9' {
		p.refuse(start, "a group without a name")
	}
	p.at++
}

// optionGroup reads (?imx-imx:...) or (?imx-imx), which holds up to the end of the
// group that it stands in, other branches included.
func (p *parser) optionGroup(start int) string {
	o, on := p.options, true
	for ; p.more() && !strings.ContainsRune(":)", p.peek()); p.at++ {
		switch r := p.peek(); r {
		case '-':
			on = false
		case 'i':
			o.ignoreCase = on
		case 'm':
			o.dotAll = on
		case 'x':
			o.extended = on
		default:
			p.refuse(start, "the group (?%c", r)
		}
	}
	saved := p.options
	defer func() { p.options = saved }()
	p.options = o
	if p.take(":") {
		return p.body("(?:")
	}
	p.close(start)
	return "(?:" + p.alternation() + ")"
}
