package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

type normalizer func(string) string

func newNormalizers(c *component) ([]normalizer, error) {
	if c == nil {
		return nil, nil
	}
	one := func(n normalizer) ([]normalizer, error) { return []normalizer{n}, nil }
	switch c.Type {
	case "Sequence":
		var all []normalizer
		for i := range c.Normalizers {
			ns, err := newNormalizers(&c.Normalizers[i])
			if err != nil {
				return nil, err
			}
			all = append(all, ns...)
		}
		return all, nil
	case "NFC":
		return one(norm.NFC.String)
	case "NFD":
		return one(norm.NFD.String)
	case "NFKC":
		return one(norm.NFKC.String)
	case "NFKD":
		return one(norm.NFKD.String)
	case "Lowercase":
		return one(lowercase)
	case "Strip":
		return one(func(s string) string {
			if c.StripLeft {
				s = strings.TrimLeftFunc(s, unicode.IsSpace)
			}
			if c.StripRight {
				s = strings.TrimRightFunc(s, unicode.IsSpace)
			}
			return s
		})
	case "StripAccents":
		return one(func(s string) string { return drop(s, func(r rune) bool { return unicode.Is(unicode.M, r) }) })
	case "Nmt":
		return one(nmt)
	case "BertNormalizer":
		return one(c.bert())
	case "ByteLevel":
		return one(spellBytes)
	case "Prepend":
		return one(func(s string) string {
			if s == "" {
				return s
			}
			return c.Prepend + s
		})
	case "Replace":
		n, err := replacer(c)
		if err != nil {
			return nil, err
		}
		return one(n)
	case "Precompiled":
		n, err := precompiled(c.Charsmap)
		if err != nil {
			return nil, err
		}
		return one(n)
	}
	return nil, fmt.Errorf("%w: normalizer %q", ErrUnsupported, c.Type)
}

// movesStart reports whether, after a normalizer, the first character may come from
// further on in the text.
func (c *component) movesStart() bool {
	switch c.Type {
	case "Strip", "StripAccents", "Nmt", "BertNormalizer":
		return true
	case "Replace":
		return c.Content == "" || c.Pattern.String == nil || utf8.RuneCountInString(*c.Pattern.String) > 1
	}
	return false
}

// lowercase maps each character for itself: the letter İ becomes two.
func lowercase(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "\u0130", "i\u0307"))
}

func drop(s string, is func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if is(r) {
			return -1
		}
		return r
	}, s)
}

// nmt is SentencePiece's normalization for translation: some controls are dropped,
// some characters become spaces.
func nmt(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200b && r <= 0x200f, r == 0x2028, r == 0x2029, r == '▁', r == 0xfeff, r == 0xfffd:
			return ' '
		case r >= 1 && r <= 0x1f, r == 0x7f, r == 0x8f, r == 0x9f:
			return -1
		}
		return r
	}, s)
}

// bert is the normalization of BERT's basic tokenizer. What it does to a run of other
// characters than ASCII's does not depend on what stands around it.
func (c *component) bert() normalizer {
	var ascii [utf8.RuneSelf]string
	for r := range ascii {
		ascii[r] = c.bertRun(string(rune(r)))
	}
	return func(s string) string {
		var b strings.Builder
		b.Grow(len(s))
		for at := 0; at < len(s); {
			if s[at] < utf8.RuneSelf {
				b.WriteString(ascii[s[at]])
				at++
				continue
			}
			begin := at
			for at < len(s) && s[at] >= utf8.RuneSelf {
				at++
			}
			b.WriteString(c.bertRun(s[begin:at]))
		}
		return b.String()
	}
}

// bertRun does the steps one after the other.
func (c *component) bertRun(s string) string {
	if c.CleanText {
		s = strings.Map(func(r rune) rune {
			switch {
			case r == '\t', r == '\n', r == '\r':
				return ' '
			case r == 0xfffd, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co): // the other blanks among them, too
				return -1
			case unicode.IsSpace(r):
				return ' '
			}
			return r
		}, s)
	}
	if c.Ideographs {
		var b strings.Builder
		for _, r := range s {
			if isIdeograph(r) {
				b.WriteString(" " + string(r) + " ")
			} else {
				b.WriteRune(r)
			}
		}
		s = b.String()
	}
	if c.StripAccents == nil && c.Lowercase || c.StripAccents != nil && *c.StripAccents {
		s = drop(norm.NFD.String(s), func(r rune) bool { return unicode.Is(unicode.Mn, r) })
	}
	if c.Lowercase {
		s = lowercase(s)
	}
	return s
}

// isIdeograph reports whether BERT takes a character for a word.
func isIdeograph(r rune) bool {
	return r >= 0x4e00 && r <= 0x9fff || r >= 0x3400 && r <= 0x4dbf || r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2b81f ||
		r >= 0x2b920 && r <= 0x2ceaf || r >= 0xf900 && r <= 0xfaff || r >= 0x2f800 && r <= 0x2fa1f
}

// replacer replaces a literal or a regular expression by a literal.
func replacer(c *component) (func(string) string, error) {
	switch {
	case c.Pattern.String != nil && *c.Pattern.String == "":
		return nil, fmt.Errorf("%w: Replace of nothing", ErrUnsupported)
	case c.Pattern.String != nil:
		return func(s string) string { return strings.ReplaceAll(s, *c.Pattern.String, c.Content) }, nil
	case c.Pattern.Regex != nil:
		re, err := compile(*c.Pattern.Regex)
		if err != nil {
			return nil, err
		}
		return func(s string) string { return re.replace(s, c.Content) }, nil
	}
	return nil, fmt.Errorf("%w: Replace without a pattern", ErrCorrupt)
}
