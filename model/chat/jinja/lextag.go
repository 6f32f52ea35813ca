package jinja

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// tag reads the tokens of a tag up to its end, which does not count inside
// brackets.
func (l *lexer) tag(end string, endKind tokenKind) {
	var open []byte // the brackets that are to be closed
	for {
		l.skipSpace()
		rest := l.src[l.pos:]
		if rest == "" {
			l.fail("a tag is not closed by %s", end)
		}
		if sign, size := l.sign(l.pos); len(open) == 0 && strings.HasPrefix(rest[size:], end) && (sign != '+' || endKind == tokenBlockEnd) {
			l.add(endKind, "")
			l.advance(size + 2)
			l.trimAfter(sign, endKind == tokenBlockEnd)
			return
		}
		switch c := firstRune(rest); {
		case c == '"' || c == '\'':
			l.stringLiteral()
		case c >= '0' && c <= '9':
			l.number()
		case isNameStart(c):
			n := strings.IndexFunc(rest, func(r rune) bool { return !isNamePart(r) })
			if n < 0 {
				n = len(rest)
			}
			l.take(tokenName, n)
		default:
			op := operatorAt(rest)
			if op == "" {
				l.fail("unexpected character %q", c)
			}
			open = l.bracket(open, op[0])
			l.take(tokenOperator, len(op))
		}
	}
}

func (l *lexer) take(kind tokenKind, n int) {
	l.add(kind, l.src[l.pos:l.pos+n])
	l.advance(n)
}

// operatorAt returns the operator at the start of s, or "".
func operatorAt(s string) string {
	if len(s) >= 2 {
		switch s[:2] {
		case "**", "//", "==", "!=", "<=", ">=":
			return s[:2]
		}
	}
	if strings.IndexByte("+-*/%~<>=()[]{},.:|", s[0]) >= 0 {
		return s[:1]
	}
	return ""
}

// bracket keeps track of open brackets.
func (l *lexer) bracket(open []byte, c byte) []byte {
	switch c {
	case '(':
		return append(open, ')')
	case '[':
		return append(open, ']')
	case '{':
		return append(open, '}')
	case ')', ']', '}':
		if len(open) == 0 {
			l.fail("unexpected '%c'", c)
		}
		if want := open[len(open)-1]; c != want {
			l.fail("unexpected '%c', expected '%c'", c, want)
		}
		return open[:len(open)-1]
	}
	return open
}

// number reads a number. After a dot it is an index, as in "x.0.1".
func (l *lexer) number() {
	rest := l.src[l.pos:]
	if n := floatLength(rest); n > 0 && (l.pos == 0 || l.src[l.pos-1] != '.') {
		l.take(tokenFloat, n)
		return
	}
	l.take(tokenInt, intLength(rest))
}

// floatLength returns the length of a number with a fraction or an exponent,
// or 0.
func floatLength(s string) int {
	whole := digitsLength(s, "0123456789")
	n := whole
	if strings.HasPrefix(s[n:], ".") {
		if frac := digitsLength(s[n+1:], "0123456789"); frac > 0 {
			n += 1 + frac
		}
	}
	if n < len(s) && s[n]|32 == 'e' {
		at := n + 1
		if at < len(s) && (s[at] == '-' || s[at] == '+') {
			at++
		}
		if exp := digitsLength(s[at:], "0123456789"); exp > 0 {
			n = at + exp
		}
	}
	if n == whole {
		return 0
	}
	return n
}

// intLength returns the length of an integer, which may be binary, octal or
// hexadecimal and does not begin with a zero otherwise.
func intLength(s string) int {
	if s[0] != '0' {
		return digitsLength(s, "0123456789")
	}
	if len(s) > 2 {
		digits := map[byte]string{'b': "01", 'o': "01234567", 'x': "0123456789abcdefABCDEF"}[s[1]|32]
		if n := digitsLength(strings.TrimPrefix(s[2:], "_"), digits); n > 0 {
			return len(s) - len(strings.TrimPrefix(s[2:], "_")) + n
		}
	}
	return digitsLength(s, "0")
}

// digitsLength returns the length of a run of digits, with single underscores
// between them.
func digitsLength(s, digits string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(digits, s[i]) >= 0 {
			n = i + 1
		} else if s[i] != '_' || n != i || n == 0 {
			break
		}
	}
	return n
}

// stringLiteral reads a string between quotes and resolves Python's escapes.
func (l *lexer) stringLiteral() {
	quote := l.src[l.pos]
	start := l.pos + 1
	end := start
	for end < len(l.src) && l.src[end] != quote {
		if l.src[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(l.src) {
		l.fail("a string is not closed by %c", quote)
	}
	l.add(tokenString, l.unescape(l.src[start:end]))
	l.advance(end + 1 - l.pos)
}

var simpleEscapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 'b': "\b", 'f': "\f", 'v': "\v", 'a': "\a",
	'\\': `\`, '\'': "'", '"': `"`, '\n': ""}

func (l *lexer) unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		text, size := l.escape(s[i+1:])
		b.WriteString(text)
		i += 1 + size
	}
	return b.String()
}

// escape returns what the escape after a backslash stands for, and its size.
func (l *lexer) escape(s string) (text string, size int) {
	if text, ok := simpleEscapes[s[0]]; ok {
		return text, 1
	}
	digits := 0
	switch s[0] {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n := 1
		for n < min(3, len(s)) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		code, _ := strconv.ParseUint(s[:n], 8, 32) // at most three octal digits
		return string(rune(code)), n
	default:
		return `\`, 0 // not an escape: the backslash stays
	}
	if len(s) <= digits {
		l.fail(`\%c needs %d hexadecimal digits`, s[0], digits)
	}
	code, err := strconv.ParseUint(s[1:1+digits], 16, 32)
	if err != nil || code > utf8.MaxRune {
		l.fail(`\%s is no character`, s[:1+digits])
	}
	return string(rune(code)), 1 + digits
}
