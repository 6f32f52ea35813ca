package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitter cuts words into smaller ones; first is true for the first piece of a
// text.
type splitter func(words []string, first bool) []string

// span is a match from begin to end.
type span struct{ begin, end int }

// finder appends the matches in s.
type finder func(s string, spans []span) []span

func newSplitters(c *component) ([]splitter, error) {
	if c == nil {
		return nil, nil
	}
	one := func(s splitter, err error) ([]splitter, error) { return []splitter{s}, err }
	switch c.Type {
	case "Sequence":
		var all []splitter
		for i := range c.Pretokenizers {
			ss, err := newSplitters(&c.Pretokenizers[i])
			if err != nil {
				return nil, err
			}
			all = append(all, ss...)
		}
		return all, nil
	case "Split":
		find, err := newFinder(c.Pattern)
		if err != nil {
			return nil, err
		}
		return one(behave(find, c.Behavior, c.Invert))
	case "ByteLevel":
		return one(byteLevel(c))
	case "Metaspace":
		return one(metaspace(c))
	case "Digits":
		behavior := "Contiguous"
		if c.IndividualDigits {
			behavior = "Isolated"
		}
		return one(behave(eachRune(unicode.IsNumber), behavior, false))
	case "Punctuation":
		behavior := c.Behavior
		if behavior == "" {
			behavior = "Isolated"
		}
		return one(behave(eachRune(isPunctuation), behavior, false))
	case "WhitespaceSplit":
		return one(behave(eachRune(unicode.IsSpace), "Removed", false))
	}
	return nil, fmt.Errorf("%w: pre-tokenizer %q", ErrUnsupported, c.Type)
}

// isPunctuation is ASCII punctuation or a Unicode P category.
func isPunctuation(r rune) bool {
	return r < 128 && r > 32 && r != 127 && !isLetter(r) && !isNumber(r) || unicode.IsPunct(r)
}

func eachRune(is func(rune) bool) finder {
	return func(s string, spans []span) []span {
		for i, r := range s {
			if is(r) {
				spans = append(spans, span{i, i + utf8.RuneLen(r)})
			}
		}
		return spans
	}
}

// newFinder returns a hand-written scanner for the patterns that nearly every
// model uses, and the regular expression for the others.
func newFinder(p pattern) (finder, error) {
	switch {
	case p.String != nil && *p.String != "":
		return func(s string, spans []span) []span {
			for at := 0; ; {
				i := strings.Index(s[at:], *p.String)
				if i < 0 {
					return spans
				}
				spans = append(spans, span{at + i, at + i + len(*p.String)})
				at += i + len(*p.String)
			}
		}, nil
	case p.Regex == nil:
		return nil, fmt.Errorf("%w: Split without a pattern", ErrCorrupt)
	}
	if scan, ok := scanners[*p.Regex]; ok {
		return scan, nil
	}
	re, err := compile(*p.Regex)
	if err != nil {
		return nil, err
	}
	return re.find, nil
}

// behave cuts at the matches of find in one of the ways that tokenizers has.
func behave(find finder, behavior string, invert bool) (splitter, error) {
	var join func(parts []part, s string, out []string) []string
	switch behavior {
	case "Isolated":
		join = isolated
	case "Removed":
		join = removed
	case "Contiguous":
		join = contiguous
	case "MergedWithPrevious":
		join = mergedWithPrevious
	case "MergedWithNext":
		join = mergedWithNext
	default:
		return nil, fmt.Errorf("%w: split behavior %q", ErrUnsupported, behavior)
	}
	return func(words []string, _ bool) []string {
		out := make([]string, 0, 4*len(words))
		var spans []span
		var parts []part
		for _, s := range words {
			spans, parts = find(s, spans[:0]), parts[:0]
			at := 0
			for _, m := range spans {
				if m.begin > at {
					parts = append(parts, part{span{at, m.begin}, invert})
				}
				parts = append(parts, part{m, !invert})
				at = m.end
			}
			if at < len(s) {
				parts = append(parts, part{span{at, len(s)}, invert})
			}
			out = join(parts, s, out)
		}
		return out
	}, nil
}

// part is a stretch of text that is a match or lies between matches.
type part struct {
	span
	match bool
}

func isolated(parts []part, s string, out []string) []string {
	for _, p := range parts {
		out = append(out, s[p.begin:p.end])
	}
	return out
}

func removed(parts []part, s string, out []string) []string {
	for _, p := range parts {
		if !p.match {
			out = append(out, s[p.begin:p.end])
		}
	}
	return out
}

func contiguous(parts []part, s string, out []string) []string {
	for i := 0; i < len(parts); {
		j := i + 1
		for j < len(parts) && parts[j].match == parts[i].match {
			j++
		}
		out = append(out, s[parts[i].begin:parts[j-1].end])
		i = j
	}
	return out
}

func mergedWithPrevious(parts []part, s string, out []string) []string {
	for i := 0; i < len(parts); i++ {
		begin := parts[i].begin
		if !parts[i].match && i+1 < len(parts) && parts[i+1].match {
			i++
		}
		out = append(out, s[begin:parts[i].end])
	}
	return out
}

func mergedWithNext(parts []part, s string, out []string) []string {
	for i := 0; i < len(parts); i++ {
		begin := parts[i].begin
		if parts[i].match && i+1 < len(parts) && !parts[i+1].match {
			i++
		}
		out = append(out, s[begin:parts[i].end])
	}
	return out
}

// byteLevel spells every byte as a printable character (GPT-2's alphabet) after
// an optional split.
func byteLevel(c *component) (splitter, error) {
	split := func(words []string, _ bool) []string { return words }
	if c.UseRegex == nil || *c.UseRegex {
		var err error
		if split, err = behave(scanGPT2, "Isolated", false); err != nil {
			return nil, err
		}
	}
	prefix := c.AddPrefixSpace == nil || *c.AddPrefixSpace
	return func(words []string, first bool) []string {
		if prefix {
			for i, w := range words {
				if !strings.HasPrefix(w, " ") {
					words[i] = " " + w
				}
			}
		}
		words = split(words, first)
		for i, w := range words {
			words[i] = spellBytes(w)
		}
		return words
	}, nil
}

// metaspace replaces spaces by a visible character, as SentencePiece does, and
// cuts before each.
func metaspace(c *component) (splitter, error) {
	space, scheme := metaspaceScheme(c)
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return nil, fmt.Errorf("%w: Metaspace prepend scheme %q", ErrUnsupported, scheme)
	}
	find, err := newFinder(pattern{String: &space})
	if err != nil {
		return nil, err
	}
	split, err := behave(find, "MergedWithNext", false)
	if err != nil {
		return nil, err
	}
	return func(words []string, first bool) []string {
		for i, w := range words {
			w = strings.ReplaceAll(w, " ", space)
			if (scheme == "always" || scheme == "first" && first && i == 0) && !strings.HasPrefix(w, space) {
				w = space + w
			}
			words[i] = w
		}
		if c.Split == nil || *c.Split {
			words = split(words, first)
		}
		return words
	}, nil
}

// metaspaceScheme returns the visible space and when one is put before a text.
func metaspaceScheme(c *component) (space, scheme string) {
	space, scheme = c.Replacement, c.PrependScheme
	if space == "" {
		space = "▁"
	}
	if scheme == "" {
		scheme = "always"
		if c.AddPrefixSpace != nil && !*c.AddPrefixSpace {
			scheme = "never"
		}
	}
	return space, scheme
}
