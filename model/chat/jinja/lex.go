package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// lexer cuts a template into tokens. Whitespace around tags is gone afterwards:
// a newline after a block or comment (trim_blocks), blanks before one on its
// line (lstrip_blocks), and what "-" removes and "+" keeps.
type lexer struct {
	src    string
	pos    int
	line   int
	tokens []token
}

func lex(src string) []token {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1}
	for l.next() {
	}
	l.add(tokenEnd, "")
	return l.tokens
}

// next reads the text up to a tag, and the tag.
func (l *lexer) next() bool {
	at := tagStart(l.src[l.pos:])
	if at < 0 {
		l.addText(l.src[l.pos:])
		return false
	}
	kind := l.src[l.pos+at+1]
	sign, size := l.sign(l.pos + at + 2)
	text := l.textBefore(at, sign, kind != '{')
	l.addText(text)
	l.advance(at + 2 + size)
	switch {
	case kind == '#':
		l.comment()
	case kind == '{':
		l.add(tokenPrintBegin, "")
		l.tag("}}", tokenPrintEnd)
	case l.rawBegin():
		l.raw()
	default:
		l.add(tokenBlockBegin, "")
		l.tag("%}", tokenBlockEnd)
	}
	return true
}

// tagStart finds the first "{{", "{%" or "{#".
func tagStart(s string) int {
	for i := 0; ; i++ {
		j := strings.IndexByte(s[i:], '{')
		if j < 0 || i+j+1 >= len(s) {
			return -1
		}
		i += j
		if c := s[i+1]; c == '{' || c == '%' || c == '#' {
			return i
		}
	}
}

// sign returns the "-" or "+" at a position, or 0.
func (l *lexer) sign(at int) (sign byte, size int) {
	if at < len(l.src) && (l.src[at] == '-' || l.src[at] == '+') {
		return l.src[at], 1
	}
	return 0, 0
}

// textBefore returns the n bytes before a tag, without the whitespace that the
// tag's sign or, if it is a block, lstrip_blocks takes away.
func (l *lexer) textBefore(n int, sign byte, block bool) string {
	text := l.src[l.pos : l.pos+n]
	if sign == '-' {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == '+' || !block {
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	onLine := start > 0 || l.pos == 0 || l.src[l.pos-1] == '\n'
	if onLine && strings.TrimLeftFunc(text[start:], isSpace) == "" {
		return text[:start]
	}
	return text
}

// comment skips a comment, whose begin has been read.
func (l *lexer) comment() {
	n := strings.Index(l.src[l.pos:], "#}")
	if n < 0 {
		l.fail("a comment is not closed by #}")
	}
	body := l.src[l.pos : l.pos+n]
	l.advance(n + 2)
	sign := byte(0)
	if n > 0 {
		sign = body[n-1]
	}
	l.trimAfter(sign, true)
}

// trimAfter skips the whitespace after a tag that ended with a sign.
func (l *lexer) trimAfter(sign byte, block bool) {
	switch {
	case sign == '-':
		l.skipSpace()
	case sign != '+' && block && strings.HasPrefix(l.src[l.pos:], "\n"):
		l.advance(1)
	}
}

// rawBegin reads the rest of "{% raw %}" if that is what follows.
func (l *lexer) rawBegin() bool {
	n := matchWord(l.src[l.pos:], "raw")
	if n < 0 {
		return false
	}
	switch rest := l.src[l.pos+n:]; {
	case strings.HasPrefix(rest, "%}"):
		l.advance(n + 2) // Jinja2 keeps the newline here
	case strings.HasPrefix(rest, "-%}"):
		l.advance(n + 3)
		l.skipSpace()
	default:
		return false
	}
	return true
}

// raw reads text up to "{% endraw %}".
func (l *lexer) raw() {
	for from := l.pos; ; from += 2 {
		n := strings.Index(l.src[from:], "{%")
		if n < 0 {
			l.fail("a raw block is not closed by {%% endraw %%}")
		}
		from += n
		sign, size := l.sign(from + 2)
		word := matchWord(l.src[from+2+size:], "endraw")
		if word < 0 {
			continue
		}
		end := from + 2 + size + word
		endSign, endSize := l.sign(end)
		if !strings.HasPrefix(l.src[end+endSize:], "%}") {
			continue
		}
		l.addText(l.textBefore(from-l.pos, sign, true))
		l.advance(end + endSize + 2 - l.pos)
		l.trimAfter(endSign, true)
		return
	}
}

// matchWord returns the length of a word between whitespace at the start of s,
// or -1.
func matchWord(s, word string) int {
	rest := strings.TrimLeftFunc(s, isSpace)
	if !strings.HasPrefix(rest, word) {
		return -1
	}
	return len(s) - len(strings.TrimLeftFunc(rest[len(word):], isSpace))
}

// advance moves over n bytes, counting lines.
func (l *lexer) advance(n int) {
	l.line += strings.Count(l.src[l.pos:l.pos+n], "\n")
	l.pos += n
}

func (l *lexer) skipSpace() {
	rest := l.src[l.pos:]
	l.advance(len(rest) - len(strings.TrimLeftFunc(rest, isSpace)))
}

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, int32(l.line), text})
}

func (l *lexer) addText(text string) {
	if text != "" {
		l.add(tokenText, text)
	}
}

func (l *lexer) fail(format string, args ...any) {
	panic(&Error{Kind: ErrSyntax, Line: l.line, Message: fmt.Sprintf(format, args...)})
}

// isSpace reports what Python calls whitespace: what Go does, and four
// separators.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func isNameStart(r rune) bool { return r == '_' || unicode.IsLetter(r) }

func isNamePart(r rune) bool { return isNameStart(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

// firstRune returns the first character of a text that is not empty.
func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}
