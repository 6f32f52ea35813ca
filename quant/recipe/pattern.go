package recipe

import (
	"path"
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
