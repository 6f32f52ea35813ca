package oniguruma

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/cases"
)

// letters returns all characters that a letter equals when case is ignored.
func letters(r rune) runeSet {
	set := runeSet{{r, r}}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		set = append(set, runeRange{f, f})
	}
	return tidy(set)
}

// spellLetters writes a text whose case is ignored letter by letter.
func spellLetters(text []rune) string {
	var b strings.Builder
	for _, r := range text {
		b.WriteString(letters(r).spell())
	}
	return b.String()
}

// foldings are the characters that equal several letters when case is ignored,
// such as ß and ss (status F of Unicode's CaseFolding.txt).
var foldings = sync.OnceValue(func() map[rune][]rune {
	all := make(map[rune][]rune)
	fold := cases.Fold()
	for _, r := range []runeRange{{0x80, 0x1fff}, {0xfb00, 0xfb17}} {
		for c := r.low; c <= r.high; c++ {
			if text := []rune(fold.String(string(c))); len(text) > 1 {
				all[c] = text
			}
		}
	}
	return all
})

// cased are the characters that have another case.
var cased = sync.OnceValue(func() []rune {
	var all []rune
	for c := range rune(0x20000) {
		if unicode.SimpleFold(c) != c {
			all = append(all, c)
		}
	}
	return all
})

// foldSet adds to a set what equals one of its characters when case is ignored,
// and returns the texts that do so too.
func foldSet(set runeSet) (folded runeSet, texts [][]rune) {
	more := slices.Clone(set)
	for _, c := range cased() {
		if set.has(c) {
			more = append(more, letters(c)...)
		}
	}
	folded = tidy(more)
	for c, text := range foldings() {
		if set.has(c) {
			texts = append(texts, text)
		}
	}
	slices.SortFunc(texts, slices.Compare)
	return folded, slices.CompactFunc(texts, slices.Equal)
}

// foldedText translates letters whose case is ignored: each stands for what it
// equals, several may stand for one.
func (p *parser) foldedText(text []rune) string {
	if p.behind {
		return p.grown(spellLetters(text))
	}
	var long []rune
	for _, r := range text {
		if several, ok := foldings()[r]; ok {
			long = append(long, several...)
		} else {
			long = append(long, r)
		}
	}
	translated := p.foldedTail(long)
	if len(text) == 1 && len(long) > 1 {
		translated = "(?:" + translated + ")"
	}
	return translated
}

func (p *parser) foldedTail(text []rune) string {
	if len(text) == 0 {
		return ""
	}
	for n := min(3, len(text)); n > 1; n-- {
		if one := standsFor(text[:n]); len(one) > 0 {
			return p.grown("(?:" + one.spell() + p.foldedTail(text[n:]) + "|" + letters(text[0]).spell() + p.foldedTail(text[1:]) + ")")
		}
	}
	return p.grown(letters(text[0]).spell()) + p.foldedTail(text[1:])
}

// standsFor returns the characters that equal a text of several letters.
func standsFor(text []rune) runeSet {
	var set runeSet
	for c, several := range foldings() {
		if slices.EqualFunc(several, text, func(a, b rune) bool { return letters(a).has(b) }) {
			set = append(set, runeRange{c, c})
		}
	}
	return tidy(set)
}
