package oniguruma

import "strings"

// classAtom reads a class and translates it.
func (p *parser) classAtom() string {
	set, negated := p.class()
	if !p.ignoreCase {
		if negated {
			set = set.complement()
		}
		return set.spell()
	}
	set, texts := foldSet(set)
	switch {
	case negated:
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

// class reads a class from its bracket on; negated says that it is of all other
// characters.
func (p *parser) class() (set runeSet, negated bool) {
	defer p.enter()()
	c := classParser{parser: p, start: p.at}
	p.at++
	negated = p.take("^")
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
			return c.end(), negated
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
	set     runeSet   // since the last &&
	sides   []runeSet // of &&, before it
	last    rune      // a letter that may begin a range
	pending bool      // there is one
	named   bool      // a class by name came last, which begins no range
	begun   bool      // something came since the beginning or the last &&
}

// value takes a letter that may begin a range.
func (c *classParser) value(r rune) {
	c.settle()
	c.last, c.pending, c.begun = r, true, true
}

// settle adds the letter that came last.
func (c *classParser) settle() {
	if c.pending {
		c.set = append(c.set, runeRange{c.last, c.last})
	}
	c.pending, c.named = false, false
}

// add takes a class within the class.
func (c *classParser) add(set runeSet, negated, named bool) {
	c.settle()
	if negated {
		set = set.complement()
	}
	c.set = append(c.set, set...)
	c.named, c.begun = named, true
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
		c.set, c.begun = nil, false
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
		c.add(set, negated, true)
	case c.looking("["):
		set, negated := c.class()
		c.add(set, negated, false)
	case c.looking("-"):
		c.hyphen(start)
	case c.take(`\`):
		if set, negated, ok := c.shorthand(); ok {
			c.add(set, negated, true)
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
	case c.looking("]"), c.looking("&&"), !c.begun, !c.pending && !c.named:
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
		if _, _, ok := c.shorthand(); ok {
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
	c.set = append(c.set, runeRange{low, high})
}
