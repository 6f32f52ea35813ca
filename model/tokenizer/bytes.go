package tokenizer

import "strings"

// GPT-2's byte alphabet: printable Latin-1 bytes stand for themselves, the
// others for the characters from U+0100 on.
var (
	byteToRune [256]rune
	runeToByte = make(map[rune]byte, 256)
)

func init() {
	next := rune(256)
	for b := range byteToRune {
		r := rune(b)
		if !(b >= 33 && b <= 126 || b >= 161 && b <= 172 || b >= 174) {
			r = next
			next++
		}
		byteToRune[b] = r
		runeToByte[r] = byte(b)
	}
}

func spellBytes(s string) string {
	var b strings.Builder
	b.Grow(2 * len(s))
	for i := range len(s) {
		b.WriteRune(byteToRune[s[i]])
	}
	return b.String()
}

// unspellBytes is the inverse; a text with characters outside the alphabet stays.
func unspellBytes(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		c, ok := runeToByte[r]
		if !ok {
			return s
		}
		b.WriteByte(c)
	}
	return b.String()
}
