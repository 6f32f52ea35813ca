package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitter cuts words into smaller ones; first says whether the first of them is
// the beginning of the text, before and after.
type splitter func(words []string, first bool) ([]string, bool)

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
	case "Whitespace":
		return one(behave(scanWords, "Removed", true))
	case "WhitespaceSplit":
		return one(behave(eachRune(unicode.IsSpace), "Removed", false))
	case "BertPreTokenizer":
		return []splitter{splitBERT}, nil
	case "UnicodeScripts":
		return []splitter{splitScripts}, nil
	case "FixedLength":
		if c.Length < 1 {
			return nil, fmt.Errorf("%w: FixedLength of %d", ErrCorrupt, c.Length)
		}
		return one(behave(func(s string, spans []span) []span {
			for at := 0; at < len(s); {
				end := run(s, at, func(rune) bool { return true }, c.Length)
				spans = append(spans, span{at, end})
				at = end
			}
			return spans
		}, "Isolated", false))
	case "CharDelimiterSplit":
		if utf8.RuneCountInString(c.Delimiter) != 1 {
			return nil, fmt.Errorf("%w: CharDelimiterSplit at %q, which is no character", ErrCorrupt, c.Delimiter)
		}
		find, err := newFinder(pattern{String: &c.Delimiter})
		if err != nil {
			return nil, err
		}
		return one(behave(find, "Removed", false))
	}
	return nil, fmt.Errorf("%w: pre-tokenizer %q", ErrUnsupported, c.Type)
}

// isPunctuation is ASCII punctuation or a Unicode P category, as of the version of
// Unicode that the library's table is from.
func isPunctuation(r rune) bool {
	if r < utf8.RuneSelf {
		return r > 32 && r != 127 && !isLetter(r) && !isNumber(r)
	}
	return unicode.IsPunct(r) && !unicode.Is(newPunctuation, r) || r == 0x166d || r == 0x111c9
}

// newPunctuation is what Unicode has added to the P categories after version 8.
var newPunctuation = &unicode.RangeTable{
	R16: []unicode.Range16{{0x61d, 0x61d, 1}, {0x9fd, 0x9fd, 1}, {0xa76, 0xa76, 1}, {0xc77, 0xc77, 1}, {0xc84, 0xc84, 1}, {0x1b7d, 0x1b7e, 1}, {0x2e43, 0x2e4f, 1}, {0x2e52, 0x2e5d, 1}},
	R32: []unicode.Range32{{0x10ead, 0x10ead, 1}, {0x10f55, 0x10f59, 1}, {0x10f86, 0x10f89, 1}, {0x1144b, 0x1144f, 1}, {0x1145a, 0x1145b, 1}, {0x1145d, 0x1145d, 1}, {0x11660, 0x1166c, 1}, {0x116b9, 0x116b9, 1}, {0x1183b, 0x1183b, 1}, {0x11944, 0x11946, 1}, {0x119e2, 0x119e2, 1}, {0x11a3f, 0x11a46, 1}, {0x11a9a, 0x11a9c, 1}, {0x11a9e, 0x11aa2, 1}, {0x11b00, 0x11b09, 1}, {0x11c41, 0x11c45, 1}, {0x11c70, 0x11c71, 1}, {0x11ef7, 0x11ef8, 1}, {0x11f43, 0x11f4f, 1}, {0x11fff, 0x11fff, 1}, {0x12ff1, 0x12ff2, 1}, {0x16e97, 0x16e9a, 1}, {0x16fe2, 0x16fe2, 1}, {0x1e95e, 0x1e95f, 1}},
}

// splitBERT cuts at white space, which goes, and around punctuation.
func splitBERT(words []string, first bool) ([]string, bool) {
	var out []string
	for i, word := range words {
		begin := 0 // of what was not cut yet
		cut := func(at int) {
			if begin < at {
				first = first && (len(out) > 0 || i == 0 && begin == 0)
				out = append(out, word[begin:at])
			}
			begin = at
		}
		for at, r := range word {
			switch {
			case unicode.IsSpace(r):
				cut(at)
				begin = at + utf8.RuneLen(r)
			case isPunctuation(r):
				cut(at)
				cut(at + utf8.RuneLen(r))
			}
		}
		cut(len(word))
	}
	return out, first
}

// scanWords finds runs of characters of words and of what is neither that nor white
// space: \w+|[^\w\s]+
func scanWords(s string, spans []span) []span {
	other := func(r rune) bool { return !isSpace(r) && !isWord(r) }
	for i := 0; i < len(s); {
		end := run(s, i, isWord, unlimited)
		if end == i {
			end = run(s, i, other, unlimited)
		}
		if end > i {
			spans = append(spans, span{i, end})
			i = end
			continue
		}
		_, n := runeAt(s, i)
		i += n
	}
	return spans
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
	var join func(parts []part) []part
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
	return func(words []string, first bool) ([]string, bool) {
		out := make([]string, 0, 4*len(words))
		var spans []span
		var parts []part
		for i, s := range words {
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
			for _, p := range join(parts) {
				if p.end > p.begin { // a match may be empty, a word may not
					first = first && (len(out) > 0 || i == 0 && p.begin == 0)
					out = append(out, s[p.begin:p.end])
				}
			}
		}
		return out, first
	}, nil
}

// part is a stretch of text that is a match or lies between matches.
type part struct {
	span
	match bool
}

func isolated(parts []part) []part { return parts }

func removed(parts []part) []part {
	return slices.DeleteFunc(parts, func(p part) bool { return p.match })
}

// joinParts joins each part to what came before it where joins says so, of whether the
// two are matches.
func joinParts(parts []part, joins func(before, is bool) bool) []part {
	out := parts[:0]
	before := false
	for _, p := range parts {
		if n := len(out); n > 0 && joins(before, p.match) {
			out[n-1].end = p.end
		} else {
			out = append(out, p)
		}
		before = p.match
	}
	return out
}

func contiguous(parts []part) []part {
	return joinParts(parts, func(before, is bool) bool { return before == is })
}

func mergedWithPrevious(parts []part) []part {
	return joinParts(parts, func(before, is bool) bool { return is && !before })
}

// mergedWithNext takes the parts from the last one on, where the first of matches
// in a row is the one nearest to what follows.
func mergedWithNext(parts []part) []part {
	out := len(parts)
	after := false
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		if p.match && !after && out < len(parts) {
			parts[out].begin = p.begin
		} else {
			out--
			parts[out] = p
		}
		after = p.match
	}
	return parts[out:]
}

// byteLevel spells every byte as a printable character (GPT-2's alphabet) after
// an optional split.
func byteLevel(c *component) (splitter, error) {
	split := func(words []string, first bool) ([]string, bool) { return words, first }
	if c.UseRegex == nil || *c.UseRegex {
		var err error
		if split, err = behave(scanGPT2, "Isolated", false); err != nil {
			return nil, err
		}
	}
	prefix := c.AddPrefixSpace == nil || *c.AddPrefixSpace
	return func(words []string, first bool) ([]string, bool) {
		if prefix {
			for i, w := range words {
				if !strings.HasPrefix(w, " ") {
					words[i] = " " + w
				}
			}
		}
		words, first = split(words, first)
		for i, w := range words {
			words[i] = spellBytes(w)
		}
		return words, first
	}, nil
}

// metaspace replaces spaces by a visible character, as SentencePiece does, and
// cuts before each.
func metaspace(c *component) (splitter, error) {
	space, scheme := metaspaceScheme(c)
	switch {
	case scheme != "always" && scheme != "first" && scheme != "never":
		return nil, fmt.Errorf("%w: Metaspace prepend scheme %q", ErrUnsupported, scheme)
	case c.AddPrefixSpace != nil && !*c.AddPrefixSpace && scheme != "never":
		return nil, fmt.Errorf("%w: Metaspace without a prefix space and with prepend scheme %q", ErrCorrupt, scheme)
	case utf8.RuneCountInString(space) != 1:
		return nil, fmt.Errorf("%w: Metaspace with the replacement %q, which is no character", ErrCorrupt, space)
	}
	find, err := newFinder(pattern{String: &space})
	if err != nil {
		return nil, err
	}
	split, err := behave(find, "MergedWithNext", false)
	if err != nil {
		return nil, err
	}
	return func(words []string, first bool) ([]string, bool) {
		for i, w := range words {
			w = strings.ReplaceAll(w, " ", space)
			if (scheme == "always" || scheme == "first" && first && i == 0) && !strings.HasPrefix(w, space) {
				w = space + w
			}
			words[i] = w
		}
		if c.Split == nil || *c.Split {
			return split(words, first)
		}
		return words, first
	}, nil
}

// checkFirst refuses what marks the first word of a text where it would take a map
// from the normalized text back to the original to know which that is.
func checkFirst(normalizer, splitter *component) error {
	if normalizer == nil || !splitter.has((*component).marksFirst) || splitter.leads((*component).marksFirst) && !normalizer.has((*component).movesStart) {
		return nil
	}
	return fmt.Errorf(`%w: Metaspace with prepend_scheme "first" behind %s`, ErrUnsupported, strings.Join(append(describe(normalizer), describe(splitter)...), ", "))
}

// leads reports whether a component, or the first in a sequence, is of a kind.
func (c *component) leads(is func(*component) bool) bool {
	if c.Type == "Sequence" {
		return len(c.Pretokenizers) > 0 && c.Pretokenizers[0].leads(is)
	}
	return is(c)
}

// marksFirst reports whether a pre-tokenizer does something to the first word of a
// text alone.
func (c *component) marksFirst() bool {
	if c.Type != "Metaspace" {
		return false
	}
	_, scheme := metaspaceScheme(c)
	return scheme == "first"
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
