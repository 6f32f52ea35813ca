package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// The classes of patterns that cut where the case changes: letters of no case, and
// marks, belong to both.
func isUpperWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'A' && r <= 'Z'
	}
	return unicode.In(r, unicode.Lu, unicode.Lt, unicode.Lm, unicode.Lo, unicode.M)
}

func isLowerWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z'
	}
	return unicode.In(r, unicode.Ll, unicode.Lm, unicode.Lo, unicode.M)
}

// scanCased is the pattern of GPT-4o, whose words take endings such as 's, and of
// Tekken, whose words do not.
func scanCased(s string, digits int, endings bool, spans []span) []span {
	for i := 0; i < len(s); {
		end := casedWord(s, i)
		switch {
		case end == i:
			end = casedRestWord(s, i, digits)
		case endings && end < len(s):
			end += contraction(s, end, true)
		}
		spans = append(spans, span{i, end})
		i = end
	}
	return spans
}

// casedWord returns the end of [^\r\n\p{L}\p{N}]?U*L+|[^\r\n\p{L}\p{N}]?U+L* at i, or
// i: the first of these that a backtracking engine finds.
func casedWord(s string, i int) int {
	r, n := runeAt(s, i)
	starts := [2]int{i, i} // with the character before, then without
	if r != '\r' && r != '\n' && !isLetter(r) && !isNumber(r) {
		starts[0] += n
	}
	for _, start := range starts {
		upper := run(s, start, isUpperWord, unlimited)
		if end := run(s, upper, isLowerWord, unlimited); end > upper {
			return end
		}
		for at := upper; at > start; { // the last of them that can be lower
			r, n := utf8.DecodeLastRuneInString(s[:at])
			if isLowerWord(r) {
				return at
			}
			at -= n
		}
	}
	for _, start := range starts {
		if upper := run(s, start, isUpperWord, unlimited); upper > start {
			return upper
		}
	}
	return i
}

// casedRestWord is the rest: \p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
func casedRestWord(s string, i, digits int) int {
	r, _ := runeAt(s, i)
	if isNumber(r) {
		return run(s, i, isNumber, digits)
	}
	start := i
	if r == ' ' {
		start++
	}
	if end := run(s, start, isOther, unlimited); end > start {
		return run(s, end, func(r rune) bool { return r == '\r' || r == '\n' || r == '/' }, unlimited)
	}
	return spacesEnd(s, i)
}
