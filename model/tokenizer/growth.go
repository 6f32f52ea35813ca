package tokenizer

import "fmt"

// maxGrowth bounds how many times longer its steps may make a text, if each of them
// met its worst case. Real tokenizers with several normalizations come to some
// thousands; a hostile file could ask for anything.
const maxGrowth = 1 << 13

// checkGrowth refuses components that could blow a text up.
func checkGrowth(components ...*component) error {
	total := 1.0
	for _, c := range components {
		if c != nil {
			total *= c.growth()
		}
	}
	if total > maxGrowth {
		return fmt.Errorf("%w: its steps could make a text %.3g times longer (at most %d)", ErrUnsupported, total, maxGrowth)
	}
	return nil
}

// growth returns a bound on how many times longer a component makes a text, in
// bytes: its worst case is a text of one character.
func (c *component) growth() float64 {
	switch c.Type {
	case "Sequence":
		product := 1.0
		for _, list := range [][]component{c.Normalizers, c.Pretokenizers, c.Decoders} {
			for i := range list {
				product *= list[i].growth()
			}
		}
		return product
	case "NFC", "NFD": // https://unicode.org/faq/normalization.html
		return 3
	case "NFKC", "NFKD":
		return 11
	case "BertNormalizer": // spaces around a character, and its accents apart
		return 3 * 3
	case "Precompiled":
		return maxCharGrowth
	case "Lowercase":
		return 2
	case "Prepend":
		return float64(1 + len(c.Prepend))
	case "Replace":
		if p := c.Pattern.String; p != nil && *p != "" {
			return max(1, float64(len(c.Content))/float64(len(*p)))
		}
		return float64(2 + len(c.Content)) // between all characters and at the end
	case "ByteLevel": // two bytes for each, and for a space
		return 4
	case "Metaspace":
		return float64(1 + 2*max(len(c.Replacement), len("▁")))
	}
	return 1
}
