package tokenizer

import (
	"fmt"
	"strings"

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
		return one(strings.ToLower)
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
	}
	return nil, fmt.Errorf("%w: normalizer %q", ErrUnsupported, c.Type)
}

// replacer replaces a literal or a regular expression by a literal.
func replacer(c *component) (func(string) string, error) {
	switch {
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
