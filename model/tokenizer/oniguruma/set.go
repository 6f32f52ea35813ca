package oniguruma

import (
	"slices"
	"strings"
	"unicode"
)

// runeRange is a range of characters, both ends included.
type runeRange struct{ low, high rune }

// spell writes the range as part of a class of regexp2.
func (r runeRange) spell() string {
	if r.low == r.high {
		return spell(r.low)
	}
	return spell(r.low) + "-" + spell(r.high)
}

// runeSet is a set of characters: ranges in order, without gaps between them that
// are empty.
type runeSet []runeRange

// tidy sorts ranges and joins those that touch.
func tidy(ranges runeSet) runeSet {
	slices.SortFunc(ranges, func(a, b runeRange) int { return int(a.low - b.low) })
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && r.low <= out[n-1].high+1 {
			out[n-1].high = max(out[n-1].high, r.high)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// fromTables is the union of tables of the standard library.
func fromTables(tables ...*unicode.RangeTable) runeSet {
	var s runeSet
	add := func(low, high, stride rune) {
		if stride == 1 {
			s = append(s, runeRange{low, high})
			return
		}
		for r := low; r <= high; r += stride {
			s = append(s, runeRange{r, r})
		}
	}
	for _, t := range tables {
		for _, r := range t.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range t.R32 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
	}
	return tidy(s)
}

func (s runeSet) has(r rune) bool {
	i, found := slices.BinarySearchFunc(s, r, func(e runeRange, r rune) int { return int(e.low - r) })
	return found || i > 0 && r <= s[i-1].high
}

func (s runeSet) union(others ...runeSet) runeSet {
	return tidy(slices.Concat(append([]runeSet{s}, others...)...))
}

func (s runeSet) complement() runeSet {
	var out runeSet
	next := rune(0)
	for _, r := range s {
		if r.low > next {
			out = append(out, runeRange{next, r.low - 1})
		}
		next = r.high + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, runeRange{next, unicode.MaxRune})
	}
	return out
}

func (s runeSet) intersect(t runeSet) runeSet {
	return s.complement().union(t.complement()).complement()
}

func (s runeSet) without(t runeSet) runeSet { return s.intersect(t.complement()) }

// spell writes the set as a class of regexp2.
func (s runeSet) spell() string {
	switch {
	case len(s) == 0:
		return "(?!)" // nothing
	case len(s) == 1 && s[0].low == s[0].high:
		return spell(s[0].low)
	}
	var b strings.Builder
	b.WriteByte('[')
	for _, r := range s {
		b.WriteString(r.spell())
	}
	b.WriteByte(']')
	return b.String()
}
