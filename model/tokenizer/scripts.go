package tokenizer

import "unicode"

// splitScripts cuts where the script changes. Japanese syllables count as Han, as in
// SentencePiece; a space goes with what stands before it, and what stands before the
// first character of a script is dropped, as the library does.
func splitScripts(words []string, first bool) ([]string, bool) {
	var out []string
	for i, word := range words {
		script, begin, seen := "", 0, false
		for at, r := range word {
			if r == ' ' {
				continue
			}
			if s := scriptOf(r, script); s != "" && (!seen || s != script) {
				if seen {
					out = append(out, word[begin:at])
				} else if i == 0 {
					first = first && at == 0
				}
				script, begin, seen = s, at, true
			}
		}
		if seen {
			out = append(out, word[begin:])
		}
	}
	return out, first
}

// scriptOf is the script of a character; last is the one to try first.
func scriptOf(r rune, last string) string {
	const han = "Han"
	switch {
	case r == 0x30fc, unicode.In(r, unicode.Hiragana, unicode.Katakana):
		return han
	case last != "" && unicode.Is(unicode.Scripts[last], r):
		return last
	}
	for _, name := range scriptNames {
		if unicode.Is(unicode.Scripts[name], r) {
			return name
		}
	}
	return ""
}

// scriptNames are all scripts, the most used first.
var scriptNames = func() []string {
	names := []string{"Latin", "Common", "Han", "Cyrillic", "Inherited"}
	for name := range unicode.Scripts {
		names = append(names, name)
	}
	return names
}()
