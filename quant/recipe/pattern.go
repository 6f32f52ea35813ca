package recipe

import (
	"path"
	"strings"
	"unicode/utf8"
)

// Patterns are those of path.Match, in which a star stands for anything. That tries
// every way in which several stars can share a name; matches takes time
// proportional to the lengths of pattern and name.

// maxPattern is the longest pattern, in bytes: names of matrices are shorter.
const maxPattern = 1000

// wellFormed reports whether a rule's pattern can be matched.
func wellFormed(pattern string) bool {
	_, err := path.Match(pattern, "")
	return err == nil && pattern != "" && len(pattern) <= maxPattern
}

// matches reports whether a well-formed pattern matches a name.
func matches(pattern, name string) bool {
	if tail := pattern[strings.LastIndexAny(pattern, "*]?\\")+1:]; !strings.HasSuffix(name, tail) {
		return false // most are told by that
	}
	if plain(pattern) {
		return matchesPlain(pattern, name)
	}
	pieces := splitAtStars(pattern)
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(pieces) == 1 {
		ok, _ := path.Match(pattern, name)
		return ok
	}
	at, ok := after(first, name)
	if !ok {
		return false
	}
	name = name[at:]
	// What fits first leaves most to the pieces that follow.
	for _, piece := range pieces[1 : len(pieces)-1] {
		for {
			if at, ok = after(piece, name); ok {
				name = name[at:]
				break
			}
			_, n := utf8.DecodeRuneInString(name)
			if n == 0 {
				return false
			}
			name = name[n:]
		}
	}
	for i := range name {
		if at, ok = after(last, name[i:]); ok && at == len(name)-i {
			return true
		}
	}
	return last == ""
}

// plain reports whether nothing but stars and sets of ASCII characters is special in a
// pattern, as in those that the program writes.
func plain(pattern string) bool {
	for i := range len(pattern) {
		if c := pattern[i]; c == '?' || c == '\\' || c == '^' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// matchesPlain is matches for plain patterns, fast: hundreds of them are held against
// the names of thousands of experts. Where a piece does not fit, what the star before it
// stands for grows by a character.
func matchesPlain(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0
	for n < len(name) || p < len(pattern) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, from = p, n
				p++
				continue
			}
			if n < len(name) {
				if size, ok := fits(pattern[p:], name[n]); ok {
					p, n = p+size, n+1
					continue
				}
			}
		}
		if star < 0 || from >= len(name) {
			return false
		}
		from++
		p, n = star+1, from
	}
	return true
}

// fits reports whether the first element of a plain pattern matches a byte, and how
// long it is.
func fits(pattern string, c byte) (size int, ok bool) {
	if pattern[0] != '[' {
		return 1, pattern[0] == c
	}
	for i := 1; i < len(pattern); i++ {
		low := pattern[i]
		if low == ']' && i > 1 {
			return i + 1, ok
		}
		if i+2 < len(pattern) && pattern[i+1] == '-' {
			i += 2
		}
		ok = ok || low <= c && c <= pattern[i]
	}
	return len(pattern), false // a set without an end, which only a file that was changed can hold
}

// after returns where a piece without stars ends that matches the beginning of name.
func after(piece, name string) (end int, ok bool) {
	for range length(piece) {
		_, n := utf8.DecodeRuneInString(name[end:])
		end += n
	}
	ok, _ = path.Match(piece, name[:end])
	return end, ok
}

// length is how many characters a piece without stars matches.
func length(piece string) (n int) {
	for i := 0; i < len(piece); n++ {
		i += element(piece[i:])
	}
	return n
}

// element is the length of what matches one character at the beginning of a
// well-formed pattern.
func element(pattern string) int {
	switch pattern[0] {
	case '\\':
		_, n := utf8.DecodeRuneInString(pattern[1:])
		return 1 + n
	case '[':
		for i := 1; i < len(pattern); i++ {
			switch pattern[i] {
			case '\\':
				i++
			case ']':
				return i + 1
			}
		}
	}
	_, n := utf8.DecodeRuneInString(pattern)
	return n
}

// splitAtStars returns the pieces of a pattern around its stars.
func splitAtStars(pattern string) []string {
	var pieces []string
	begin := 0
	for i := 0; i < len(pattern); {
		if pattern[i] == '*' {
			pieces = append(pieces, pattern[begin:i])
			begin = i + 1
			i++
			continue
		}
		i += element(pattern[i:])
	}
	return append(pieces, pattern[begin:])
}
