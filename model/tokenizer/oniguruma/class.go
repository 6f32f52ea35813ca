package oniguruma

import "strings"

// class is a set of characters as an expression has it.
type class struct {
	set     runeSet
	negated bool   // it is of all other characters
	spelled string // what regexp2 has for the set, by names, between brackets; "" if it has no such
}

// spell writes the class for regexp2. What is negated is so by a bracket: regexp2
// misses some matches of \P where it is one of several branches.
func (c class) spell() string {
	switch {
	case c.spelled != "" && c.negated:
		return "[^" + c.spelled + "]"
	case c.spelled != "":
		return "[" + c.spelled + "]"
	case c.negated:
		return c.set.complement().spell()
	}
	return c.set.spell()
}

// classAtom reads a class and translates it.
func (p *parser) classAtom() string {
	c := p.class()
	if p.ignoreCase {
		return p.foldedClass(c)
	}
	return c.spell()
}

// foldedClass translates a class whose case is ignored.
func (p *parser) foldedClass(c class) string {
	set, texts := foldSet(c.set)
	switch {
	case c.negated:
		return set.complement().spell()
	case len(texts) == 0 || p.behind:
		return set.spell()
	}
	branches := []string{set.spell()}
	for _, t := range texts {
		branches = append(branches, spellLetters(t))
	}
	return "(?:" + strings.Join(branches, "|") + ")"
}

// class reads a class from its bracket on.
func (p *parser) class() class {
	defer p.enter()()
	c := classParser{parser: p, start: p.at, simple: true}
	p.at++
	negated := p.take("^")
	if p.looking("]") { // a letter, if the class ends elsewhere
		if !p.closesLater(p.at + 1) {
			p.refuse(c.start, "an empty class")
		}
		p.at++
		c.value(']')
	}
	for {
		if !p.more() {
			p.refuse(c.start, "a class without an end")
		}
		if p.take("]") {
			return class{c.end(), negated, c.name()}
		}
		c.item()
	}
}

// closesLater reports whether a bracket from a place on ends a class.
func (p *parser) closesLater(at int) bool {
	for ; at < len(p.src); at++ {
		switch p.src[at] {
		case '\\':
			at++
		case ']':
			return true
		}
	}
	return false
}

// classParser reads the inside of one class.
type classParser struct {
	*parser
	start   int
	set     runeSet // since the last &&
	spelled strings.Builder
	simple  bool      // spelled says all of the class
	sides   []runeSet // of &&, before it
	last    rune      // a letter that may begin a range
	pending bool      // there is one
	named   bool      // a class by name came last, which begins no range
}

// value takes a letter that may begin a range.
func (c *classParser) value(r rune) {
	c.settle()
	c.last, c.pending = r, true
}

// settle adds the letter that came last.
func (c *classParser) settle() {
	if c.pending {
		c.letters(c.last, c.last)
	}
	c.pending, c.named = false, false
}

// letters adds a range.
func (c *classParser) letters(low, high rune) {
	r := runeRange{low, high}
	c.set = append(c.set, r)
	c.spelled.WriteString(r.spell())
}

// add takes a class within the class.
func (c *classParser) add(in class, named bool) {
	c.settle()
	if in.negated {
		in.set = in.set.complement()
	}
	c.set = append(c.set, in.set...)
	c.spelled.WriteString(in.spelled)
	c.simple = c.simple && in.spelled != "" && !in.negated
	c.named = named
}

// name returns what the class is by names, "" if it is no mere list of them.
func (c *classParser) name() string {
	if !c.simple {
		return ""
	}
	return c.spelled.String()
}

// end intersects the sides of && and returns the class.
func (c *classParser) end() runeSet {
	c.settle()
	set := tidy(c.set)
	for _, side := range c.sides {
		set = set.intersect(side)
	}
	return set
}

func (c *classParser) item() {
	start := c.at
	switch {
	case c.take("&&"):
		c.settle()
		c.sides = append(c.sides, tidy(c.set))
		c.set, c.simple = nil, false
	case c.looking("[:") && c.bracketEnds():
		c.at += 2
		negated := c.take("^")
		begin := c.at
		for !c.looking(":]") {
			c.at++
		}
		name := string(c.src[begin:c.at])
		c.at += 2
		set := posix(name)
		if set == nil {
			c.refuse(start, "the POSIX class %q", name)
		}
		c.add(class{set: set, negated: negated}, true)
	case c.looking("["):
		in := c.class()
		in.spelled = ""
		c.add(in, false)
	case c.looking("-"):
		c.hyphen(start)
	case c.take(`\`):
		if in, ok := c.shorthand(); ok {
			c.add(in, true)
			return
		}
		c.value(c.escaped(start))
	default:
		c.value(c.src[c.at])
		c.at++
	}
}

// bracketEnds reports whether "[:" begins a POSIX bracket: ":]" follows before
// anything that cannot be a name.
func (c *classParser) bracketEnds() bool {
	for at := c.at + 2; at+1 < len(c.src) && at < c.at+2+20; at++ {
		if c.src[at] == ':' && c.src[at+1] == ']' {
			return true
		}
		if c.src[at] == ']' || c.src[at] == '\\' {
			return false
		}
	}
	return false
}

// escaped reads the rest of an escape that stands for a character.
func (c *classParser) escaped(start int) rune {
	if c.take("b") {
		return '\b'
	}
	return c.character(start)
}

// hyphen reads a hyphen: a letter, or that of a range.
func (c *classParser) hyphen(start int) {
	c.at++
	switch {
	case c.looking("]"), c.looking("&&"), !c.pending && !c.named:
		c.value('-')
		return
	case c.named:
		c.refuse(start, "a range that begins with a class")
	}
	low, high := c.last, rune(0)
	end := c.at
	switch {
	case !c.more():
		c.refuse(c.start, "a class without an end")
	case c.looking("["):
		c.refuse(end, "a range that ends with a class")
	case c.take(`\`):
		if _, ok := c.shorthand(); ok {
			c.refuse(end, "a range that ends with a class")
		}
		high = c.escaped(end)
	default:
		high = c.src[c.at]
		c.at++
	}
	if high < low {
		c.refuse(start, "the range from %q to %q, which is empty", low, high)
	}
	c.pending = false
	c.letters(low, high)
}
