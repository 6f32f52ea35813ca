package jinja

import (
	"slices"
	"strings"
)

// split is Python's str.split: at most so many cuts at a separator, or at runs of
// whitespace without one.
func (r *renderer) split(self any, sep any, cuts int) *List {
	s := selfText(self)
	if sep == nil {
		return r.texts(self, r.splitSpace(s, cuts))
	}
	between := r.separator(sep)
	if cuts >= 0 {
		cuts++ // strings counts the parts
	}
	r.spend(2 * strings.Count(s, between))
	return r.texts(self, strings.SplitN(s, between, cuts))
}

// splitRight is Python's str.rsplit, which cuts from the end.
func (r *renderer) splitRight(self any, sep any, cuts int) *List {
	s := selfText(self)
	if cuts < 0 {
		return r.split(self, sep, cuts)
	}
	if sep == nil {
		return r.texts(self, r.splitSpaceRight(s, cuts))
	}
	between := r.separator(sep)
	var parts []string
	for ; cuts > 0; cuts-- {
		r.spend(1)
		i := strings.LastIndex(s, between)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(between):])
		s = s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return r.texts(self, parts)
}

func (r *renderer) separator(v any) string {
	sep := r.text(v, "the separator")
	if sep == "" {
		r.fail("the separator is empty")
	}
	return sep
}

func (r *renderer) splitSpace(s string, cuts int) []string {
	var parts []string
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		r.spend(2)
		end := strings.IndexFunc(s, isSpace)
		if end < 0 || cuts >= 0 && len(parts) == cuts {
			return append(parts, s)
		}
		parts = append(parts, s[:end])
		s = s[end:]
	}
	return parts
}

func (r *renderer) splitSpaceRight(s string, cuts int) []string {
	var parts []string
	for s = strings.TrimRightFunc(s, isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
		r.spend(2)
		word := strings.TrimRightFunc(s, func(c rune) bool { return !isSpace(c) })
		if word == "" || len(parts) == cuts {
			parts = append(parts, s)
			break
		}
		parts = append(parts, s[len(word):])
		s = word
	}
	slices.Reverse(parts)
	return parts
}

// partition is Python's str.partition, or rpartition for a separator's last
// place.
func (r *renderer) partition(self, sep any, last bool) *List {
	s := selfText(self)
	between := r.separator(sep)
	i := strings.Index(s, between)
	if last {
		i = strings.LastIndex(s, between)
	}
	parts := []string{s, "", ""}
	switch {
	case i >= 0:
		parts = []string{s[:i], between, s[i+len(between):]}
	case last:
		parts = []string{"", "", s}
	}
	l := r.texts(self, parts)
	l.tuple = true
	return l
}
