package oniguruma

import (
	"slices"
	"strconv"
)

// escape reads a backslash and what follows, outside of classes.
func (p *parser) escape() atom {
	start := p.at
	p.at++
	r := p.peek()
	if c, ok := p.shorthand(); ok {
		if slices.Equal(c.set, word()) { // \w or \p{Word}
			c.set = looseWord()
		}
		return part(p.grown(c.spell()))
	}
	simple := map[rune]string{'A': `\A`, 'z': `\z`, 'Z': `(?=\n?\z)`, 'G': `\G`, 'N': notLineFeed, 'O': anyChar}
	if s, ok := simple[r]; ok {
		p.at++
		return part(s)
	}
	switch r {
	case 'b', 'B':
		p.at++
		w := looseWord().spell()
		if r == 'b' {
			return part(p.grown("(?:(?<=" + w + ")(?!" + w + ")|(?<!" + w + ")(?=" + w + "))"))
		}
		return part(p.grown("(?:(?<=" + w + ")(?=" + w + ")|(?<!" + w + ")(?!" + w + "))"))
	case 'k', 'g', 'K', 'y', 'Y':
		p.refuse(start, `\%c`, r)
	case 'R', 'X':
		p.at++
		return part(p.atomic(start, `\`+string(r)))
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		p.refuse(start, "a reference back to a group")
	}
	return atom{letter: true, r: p.character(start)}
}

// looseWord is what \w matches outside of classes: there Oniguruma looks into its
// table of Latin-1 first, which has ², ³, ¹, ¼, ½ and ¾ as parts of words.
func looseWord() runeSet { return word().union(runeSet{{0xb2, 0xb3}, {0xb9, 0xb9}, {0xbc, 0xbe}}) }

// shorthand reads the rest of an escape that is a class: \w, \d, \s, \h, \p{name}
// and their opposites. The parser stands after the backslash.
func (p *parser) shorthand() (c class, ok bool) {
	start := p.at - 1
	r := p.peek()
	c.negated = r < 'a'
	name := ""
	switch r {
	case 'w', 'W':
		name = "word"
	case 'd', 'D':
		name = "digit"
	case 's', 'S':
		name = "space"
	case 'h', 'H':
		name = "xdigit"
	case 'p', 'P':
		if p.at+1 >= len(p.src) || p.src[p.at+1] != '{' {
			return c, false
		}
		p.at += 2
		c.negated = p.take("^") != c.negated
		begin := p.at
		for p.more() && p.peek() != '}' {
			p.at++
		}
		name = string(p.src[begin:p.at])
		if !p.more() {
			p.refuse(start, `\%c{ without an end`, r)
		}
	default:
		return c, false
	}
	p.at++
	if c.set = named(name); c.set == nil {
		p.refuse(start, "the property %q", name)
	}
	if property := properties()[plain(name)]; property != "" {
		c.spelled = `\p{` + property + "}"
	}
	return c, true
}

// character reads the rest of an escape that stands for one character, in a class
// or outside.
func (p *parser) character(start int) rune {
	if !p.more() {
		p.refuse(start, "a backslash at the end")
	}
	r := p.peek()
	p.at++
	switch r {
	case 't':
		return '\t'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 'f':
		return '\f'
	case 'v':
		return '\v'
	case 'a':
		return '\a'
	case 'e':
		return 0x1b
	case 'c', 'C', 'M':
		p.refuse(start, `the control character \%c`, r)
	case 'o':
		if p.looking("{") {
			p.refuse(start, `\o{`)
		}
	case '0', '1', '2', '3', '4', '5', '6', '7':
		p.at--
		return p.oneByte(start, p.digits(8, 3))
	case 'x':
		if p.take("{") {
			code := p.digits(16, 8)
			if !p.take("}") {
				p.refuse(start, `a sequence of characters in \x{}`)
			}
			return p.valid(start, code)
		}
		return p.oneByte(start, p.digits(16, 2))
	case 'u':
		begin := p.at
		code := p.digits(16, 4)
		if p.at-begin < 4 {
			p.refuse(start, `\u with less than four digits`)
		}
		return p.valid(start, code)
	}
	return r
}

// digits reads a number of at most so many digits, 0 if there is none.
func (p *parser) digits(base, most int) uint64 {
	n := uint64(0)
	for range most {
		d, err := strconv.ParseUint(string(max(p.peek(), 0)), base, 8)
		if err != nil {
			break
		}
		n = n*uint64(base) + d
		p.at++
	}
	return n
}

// oneByte is a character given as a byte of its encoding.
func (p *parser) oneByte(start int, code uint64) rune {
	if code > 0x7f {
		p.refuse(start, "the byte %#x, which is no character in UTF-8", code)
	}
	return rune(code)
}

func (p *parser) valid(start int, code uint64) rune {
	if code > 0x10ffff || code >= 0xd800 && code <= 0xdfff {
		p.refuse(start, "the character %#x", code)
	}
	return rune(code)
}
