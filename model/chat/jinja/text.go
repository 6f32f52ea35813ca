package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// text returns a text's characters; what names it in the message.
func (r *renderer) text(v any, what string) string {
	s, ok := asText(v)
	if !ok {
		r.failUndefined(v)
		r.fail("%s must be a string, not '%s'", what, typeName(v))
	}
	return s
}

func (r *renderer) runeCount(s string) int {
	r.spendText(len(s))
	return utf8.RuneCountInString(s)
}

// runeOffset returns where the n-th character begins, at most the end.
func runeOffset(s string, n int) int {
	at := 0
	for ; n > 0 && at < len(s); n-- {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return at
}

func (r *renderer) repeatText(s string, n int) string {
	r.spendTimes(n, len(s))
	return strings.Repeat(s, max(n, 0))
}

// replaceText is strings.Replace, paid for.
func (r *renderer) replaceText(s, old, with string, count int) string {
	if grow := len(with) - len(old); grow > 0 {
		found := strings.Count(s, old)
		if count >= 0 {
			found = min(found, count)
		}
		r.spendTimes(found, grow)
	}
	return strings.Replace(s, old, with, count)
}

// joinTexts is strings.Join, paid for.
func (r *renderer) joinTexts(parts []string, between string) string {
	r.spendTimes(len(parts), len(between))
	for _, p := range parts {
		r.spendText(len(p))
	}
	return strings.Join(parts, between)
}

func isSafe(v any) bool {
	_, ok := v.(safe)
	return ok
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// escape returns a value's text for HTML, which safe text is already.
func (r *renderer) escape(v any) string {
	s := r.str(v)
	if isSafe(v) {
		return s
	}
	r.spendText(5 * len(s)) // at most
	return htmlEscapes.Replace(s)
}

// texts turns strings into a list of texts like a model.
func (r *renderer) texts(model any, parts []string) *List {
	items := make([]any, len(parts))
	for i, p := range parts {
		items[i] = like(model, p)
	}
	return r.newList(items)
}

// trimmer tells what strip takes away: whitespace, or given characters.
func (r *renderer) trimmer(chars any) func(rune) bool {
	if chars == nil {
		return isSpace
	}
	set := make(map[rune]bool)
	for _, c := range r.text(chars, "the characters to strip") {
		set[c] = true
	}
	return func(c rune) bool { return set[c] }
}

// splitLines cuts a text where Python's splitlines does.
func (r *renderer) splitLines(s string, keepEnds bool) []string {
	var lines []string
	for s != "" {
		r.spend(1)
		end := strings.IndexFunc(s, isLineEnd)
		if end < 0 {
			return append(lines, s)
		}
		_, size := utf8.DecodeRuneInString(s[end:])
		if strings.HasPrefix(s[end:], "\r\n") {
			size = 2
		}
		line := s[:end]
		if keepEnds {
			line = s[:end+size]
		}
		lines = append(lines, line)
		s = s[end+size:]
	}
	return lines
}

func isLineEnd(c rune) bool {
	return c >= '\n' && c <= '\r' || c >= 0x1c && c <= 0x1e || c == 0x85 || c == 0x2028 || c == 0x2029
}

// capitalized is Python's str.capitalize.
func capitalized(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return strings.ToTitle(s[:size]) + strings.ToLower(s[size:])
}

// titled is Python's str.title: a capital after everything that is no letter.
func titled(s string) string {
	inWord := false
	return strings.Map(func(c rune) rune {
		first := !inWord
		inWord = unicode.IsLetter(c)
		if first {
			return unicode.ToTitle(c)
		}
		return unicode.ToLower(c)
	}, s)
}

// isCase reports whether a text has letters of one case and none of the other.
func isCase(s string, is, other func(rune) bool) bool {
	return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, other) < 0
}

// isAll reports whether a text has characters and all are of a kind.
func isAll(s string, is func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return !is(c) }) < 0
}
