package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Hand-written equivalents of well-known patterns, which split nearly
// every byte-level model's text: an order of magnitude faster than a
// backtracking engine, and safe from its worst cases.
var scanners = map[string]finder{
	gpt2Pattern:   scanGPT2,
	llama3Pattern: func(s string, spans []span) []span { return scanModern(s, 3, isLetter, spans) },
	qwen2Pattern:  func(s string, spans []span) []span { return scanModern(s, 1, isLetter, spans) },
	gpt4oWords:    func(s string, spans []span) []span { return scanCased(s, 3, true, spans) },
	tekkenWords:   func(s string, spans []span) []span { return scanCased(s, 1, false, spans) },
	qwen35Words:   func(s string, spans []span) []span { return scanModern(s, 1, isLetterOrMark, spans) },
	cl100kPattern: scanCL100k,
}

const (
	gpt2Pattern   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	cl100kPattern = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]|\s+(?!\S)|\s`
	qwen2Pattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

func isLetter(r rune) bool {
	if r < utf8.RuneSelf {
		return r|32 >= 'a' && r|32 <= 'z'
	}
	return unicode.IsLetter(r)
}

func isNumber(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= '0' && r <= '9'
	}
	return unicode.IsNumber(r)
}

func isSpace(r rune) bool {
	if r < utf8.RuneSelf {
		return r == ' ' || r >= '\t' && r <= '\r'
	}
	return unicode.IsSpace(r)
}

func isLetterOrMark(r rune) bool {
	return isLetter(r) || r >= utf8.RuneSelf && unicode.Is(unicode.M, r)
}

func isOther(r rune) bool { return !isSpace(r) && !isLetter(r) && !isNumber(r) }

// runeAt decodes the character at i; its size is 0 at the end.
func runeAt(s string, i int) (rune, int) {
	if i >= len(s) {
		return -1, 0
	}
	return utf8.DecodeRuneInString(s[i:])
}

// run returns the end of the run of characters of a class that starts at i, at
// most limit of them.
func run(s string, i int, is func(rune) bool, limit int) int {
	for range limit {
		r, n := runeAt(s, i)
		if n == 0 || !is(r) {
			break
		}
		i += n
	}
	return i
}

const unlimited = int(^uint(0) >> 1)

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at i, or 0.
func contraction(s string, i int, fold bool) int {
	if s[i] != '\'' {
		return 0
	}
	at := func(k int) byte {
		if k >= len(s) {
			return 0
		}
		c := s[k]
		if fold && c >= 'A' && c <= 'Z' {
			c |= 32
		}
		return c
	}
	switch c, d := at(i+1), at(i+2); {
	case c == 's' || c == 't' || c == 'm' || c == 'd':
		return 2
	case c == 'r' && d == 'e' || c == 'v' && d == 'e' || c == 'l' && d == 'l':
		return 3
	case fold && c == 0xC5 && d == 0xBF: // U+017F, the long s, folds to s
		return 3
	}
	return 0
}

// spaceEnd applies \s+(?!\S)|\s+ to the white space from i to end: before text,
// the last space is left to the word that follows.
func spaceEnd(s string, i, end int) int {
	if end < len(s) {
		if _, last := utf8.DecodeLastRuneInString(s[i:end]); end-last > i {
			return end - last
		}
	}
	return end
}

func scanGPT2(s string, spans []span) []span {
	for i := 0; i < len(s); {
		end := i + contraction(s, i, false)
		if end == i {
			end = gpt2Word(s, i)
		}
		spans = append(spans, span{i, end})
		i = end
	}
	return spans
}

func gpt2Word(s string, i int) int {
	start := i
	if s[i] == ' ' {
		start++
	}
	r, n := runeAt(s, start)
	switch {
	case n > 0 && isLetter(r):
		return run(s, start, isLetter, unlimited)
	case n > 0 && isNumber(r):
		return run(s, start, isNumber, unlimited)
	case n > 0 && !isSpace(r):
		return run(s, start, isOther, unlimited)
	}
	return spaceEnd(s, i, run(s, i, isSpace, unlimited))
}

// scanModern is the pattern of Llama 3 (up to three digits together) and of
// Qwen 2 (single digits) and 3.5 (marks are letters).
func scanModern(s string, digits int, letter func(rune) bool, spans []span) []span {
	for i := 0; i < len(s); {
		end := i + contraction(s, i, true)
		if end == i {
			end = modernWord(s, i, digits, letter)
		}
		spans = append(spans, span{i, end})
		i = end
	}
	return spans
}

// scanCL100k is Llama 3's pattern but for the white space at the end of a text, which
// is one word, line breaks or not.
func scanCL100k(s string, spans []span) []span {
	text := strings.TrimRightFunc(s, isSpace)
	for i := 0; i < len(s); {
		end := len(s)
		if i < len(text) {
			if end = i + contraction(s, i, true); end == i {
				end = modernWord(s, i, 3, isLetter)
			}
		}
		spans = append(spans, span{i, end})
		i = end
	}
	return spans
}

func modernWord(s string, i, digits int, letter func(rune) bool) int {
	r, n := runeAt(s, i)
	start := i // [^\r\n\p{L}\p{N}]?\p{L}+
	if r != '\r' && r != '\n' && !isLetter(r) && !isNumber(r) {
		start += n
	}
	if end := run(s, start, letter, unlimited); end > start {
		return end
	}
	if letter(r) { // a mark, with nothing after it that it could stand before
		return i + n
	}
	if isNumber(r) {
		return run(s, i, isNumber, digits)
	}
	start = i //  ?[^\s\p{L}\p{N}]+[\r\n]*
	if r == ' ' {
		start++
	}
	other := func(r rune) bool { return !isSpace(r) && !letter(r) && !isNumber(r) }
	if end := run(s, start, other, unlimited); end > start {
		return run(s, end, func(r rune) bool { return r == '\r' || r == '\n' }, unlimited)
	}
	return spacesEnd(s, i)
}

// spacesEnd applies \s*[\r\n]+|\s+(?!\S)|\s+ to the white space at i.
func spacesEnd(s string, i int) int {
	end := run(s, i, isSpace, unlimited)
	for k := end; k > i; k-- { // \s*[\r\n]+ ends at the last line break
		if s[k-1] == '\r' || s[k-1] == '\n' {
			return k
		}
	}
	return spaceEnd(s, i, end)
}
