// Package oniguruma translates regular expressions from the syntax of Oniguruma
// (https://github.com/kkos/oniguruma/blob/master/doc/RE), which the tokenizers
// library reads, to that of regexp2, which Go has.
//
// The two look alike and differ in what matters: classes nest, intersect and
// have POSIX names, a dot may or may not match a line feed, ^ and $ are about
// lines, \h is a hexadecimal digit. Every class is computed here and spelled as
// ranges, every letter whose case is ignored as the letters it stands for, so
// that nothing depends on options of the other engine. What the package does not
// know is refused with its name and place.
package oniguruma

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrSyntax reports an expression that Oniguruma would not take, or a part of its
// syntax that the package does not have.
var ErrSyntax = errors.New("regular expression not supported")

// Limits of what an expression may ask for.
const (
	maxDepth  = 100     // groups and classes within each other
	maxRepeat = 100_000 // Oniguruma's own
	maxLength = 1 << 20 // bytes of the translation
)

// Translate returns the expression for regexp2, without options, that matches
// what expr matches in Oniguruma. Groups do not capture.
func Translate(expr string) (translated string, err error) {
	p := &parser{src: []rune(expr)}
	defer func() {
		if r := recover(); r != nil {
			refused, ok := r.(refusal)
			if !ok {
				panic(r)
			}
			translated, err = "", fmt.Errorf("%w: %s", ErrSyntax, string(refused))
		}
	}()
	translated = p.alternation()
	if p.at < len(p.src) {
		p.refuse(p.at, "an unmatched )")
	}
	return translated, nil
}

// refusal ends the parsing of an expression.
type refusal string

// parser reads an expression once, from left to right.
type parser struct {
	src   []rune
	at    int
	depth int
	size  int // bytes of the translation so far
	options
	behind bool // inside a look-behind
}

// options are those that (?imx) sets.
type options struct {
	ignoreCase bool // i
	dotAll     bool // m: a dot matches line feeds too
	extended   bool // x: white space and comments are skipped
}

// refuse ends the parsing: what stands at a place is not supported.
func (p *parser) refuse(at int, format string, args ...any) {
	panic(refusal(fmt.Sprintf("%s at character %d", fmt.Sprintf(format, args...), at+1)))
}

// enter goes one level deeper; the function it returns comes back.
func (p *parser) enter() func() {
	if p.depth++; p.depth > maxDepth {
		p.refuse(p.at, "more than %d groups or classes within each other", maxDepth)
	}
	return func() { p.depth-- }
}

// grown counts what was translated.
func (p *parser) grown(s string) string {
	if p.size += len(s); p.size > maxLength {
		p.refuse(p.at, "an expression of more than %d bytes once its classes are spelled out", maxLength)
	}
	return s
}

func (p *parser) more() bool { return p.at < len(p.src) }

// peek returns the next character, -1 at the end.
func (p *parser) peek() rune {
	if p.more() {
		return p.src[p.at]
	}
	return -1
}

// looking reports whether s is what comes next.
func (p *parser) looking(s string) bool {
	for i, r := range []rune(s) {
		if p.at+i >= len(p.src) || p.src[p.at+i] != r {
			return false
		}
	}
	return true
}

// take reads s if it comes next.
func (p *parser) take(s string) bool {
	if !p.looking(s) {
		return false
	}
	p.at += len([]rune(s))
	return true
}

// alternation reads branches up to the end of the group or of the expression.
func (p *parser) alternation() string {
	var b strings.Builder
	for {
		b.WriteString(p.branch())
		if !p.take("|") {
			return b.String()
		}
		b.WriteByte('|')
	}
}

// branch reads a sequence of quantified atoms.
func (p *parser) branch() string {
	var b strings.Builder
	var literals []rune // a run of letters whose case is ignored
	flush := func() {
		if len(literals) > 0 {
			b.WriteString(p.foldedText(literals))
			literals = literals[:0]
		}
	}
	for p.skipBlanks(); p.more() && p.peek() != '|' && p.peek() != ')'; p.skipBlanks() {
		start := p.at
		if p.quantifierAhead() {
			p.refuse(start, "a quantifier without a target")
		}
		atom := p.atom()
		p.skipBlanks()
		if quantified := p.quantifierAhead(); atom.letter && p.ignoreCase {
			if !quantified {
				literals = append(literals, atom.r)
				continue
			}
			flush()
			b.WriteString(p.quantify(p.foldedText([]rune{atom.r})))
			continue
		}
		flush()
		b.WriteString(p.quantify(atom.String()))
	}
	flush()
	return b.String()
}

// skipBlanks skips what (?x) makes a comment.
func (p *parser) skipBlanks() {
	for p.extended && p.more() {
		switch p.peek() {
		case ' ', '\t', '\n', '\r', '\f', '\v':
			p.at++
		case '#':
			for p.more() && p.peek() != '\n' {
				p.at++
			}
		default:
			return
		}
	}
}

// atom is a literal character or a translated part of an expression that a
// quantifier may follow.
type atom struct {
	letter     bool
	r          rune
	translated string
}

func (a atom) String() string {
	if a.letter {
		return spell(a.r)
	}
	return a.translated
}

func part(translated string) atom { return atom{translated: translated} }

func (p *parser) atom() atom {
	start := p.at
	switch r := p.src[p.at]; r {
	case '(':
		return part(p.grown(p.group()))
	case '[':
		return part(p.grown(p.classAtom()))
	case '\\':
		return p.escape()
	case '.':
		p.at++
		if p.dotAll {
			return part(anyChar)
		}
		return part(notLineFeed)
	case '^': // not after the line feed that ends the text
		p.at++
		return part(`(?:\A|(?<=\n)(?!\z))`)
	case '$':
		p.at++
		return part(`(?=\n|\z)`)
	default:
		p.at = start + 1
		return atom{letter: true, r: r}
	}
}

const (
	anyChar     = `[\s\S]`
	notLineFeed = `[^\n]`
)

// quantifierAhead reports whether a quantifier comes next. A brace that is none
// is a letter.
func (p *parser) quantifierAhead() bool {
	switch p.peek() {
	case '*', '+', '?':
		return true
	case '{':
		_, _, end := p.interval()
		return end > 0
	}
	return false
}

// interval reads {n}, {n,}, {,m} or {n,m} without moving on; high is -1 where
// there is no upper end. Its own end is 0 if it is none.
func (p *parser) interval() (low, high, end int) {
	at := p.at + 1
	number := func() (n int, ok bool) {
		begin := at
		for at < len(p.src) && p.src[at] >= '0' && p.src[at] <= '9' {
			at++
		}
		n, err := strconv.Atoi(string(p.src[begin:at]))
		if err != nil && at > begin || n > maxRepeat {
			p.refuse(begin, "a repeat of more than %d times", maxRepeat)
		}
		return n, at > begin
	}
	closed := func() int {
		if at < len(p.src) && p.src[at] == '}' {
			return at + 1
		}
		return 0
	}
	low, given := number()
	if at >= len(p.src) || p.src[at] != ',' {
		if !given {
			return 0, 0, 0
		}
		return low, low, closed()
	}
	at++
	high, bounded := number()
	if !bounded {
		high = -1
	}
	if !given && !bounded {
		return 0, 0, 0
	}
	return low, high, closed()
}

// quantify applies the quantifiers that follow to an atom.
func (p *parser) quantify(atom string) string {
	for times := 0; p.quantifierAhead(); times++ {
		if times > 0 {
			atom = "(?:" + atom + ")"
		}
		if times > maxDepth {
			p.refuse(p.at, "more than %d quantifiers in a row", maxDepth)
		}
		if r := p.peek(); r != '{' {
			p.at++
			switch atom += string(r); {
			case p.take("?"):
				atom += "?"
			case p.take("+"):
				atom = p.atomic(p.at-1, atom)
			}
		} else {
			atom = p.repeat(atom)
		}
		p.skipBlanks()
	}
	return atom
}

// repeat applies an interval. {n}? is an optional {n}, {m,n} with m above n does
// not backtrack.
func (p *parser) repeat(atom string) string {
	start := p.at
	low, high, end := p.interval()
	p.at = end
	possessive := high >= 0 && low > high
	if possessive {
		low, high = high, low
	}
	switch {
	case low == high:
		return fmt.Sprintf("%s{%d}", atom, low)
	case high < 0:
		atom = fmt.Sprintf("%s{%d,}", atom, low)
	default:
		atom = fmt.Sprintf("%s{%d,%d}", atom, low, high)
	}
	if p.take("?") {
		atom += "?"
	}
	if possessive {
		return p.atomic(start, atom)
	}
	return atom
}

// atomic makes a group that does not backtrack. regexp2 looks behind from the right
// to the left, and would not backtrack over something else.
func (p *parser) atomic(start int, inside string) string {
	if p.behind {
		p.refuse(start, "a possessive quantifier or an atomic group inside a look-behind")
	}
	return "(?>" + inside + ")"
}

// spell writes one character so that it means itself, in a class as well.
func spell(r rune) string {
	if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
		return string(r)
	}
	return fmt.Sprintf(`\x{%X}`, r)
}
