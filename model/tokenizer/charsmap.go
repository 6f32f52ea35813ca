package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// charsmap is SentencePiece's table of what characters are normalized to: a double
// array of darts-clone (https://github.com/s-yata/darts-clone), whose values are
// places in a block of texts that end with a zero byte.
type charsmap struct {
	units []uint32
	texts string
}

// maxCharGrowth bounds how many times longer a text may become. Real tables hold
// Unicode's compatibility decompositions, whose bound is 11.
const maxCharGrowth = 12

// newCharsmap reads the table: the size of the array in bytes, the array, the texts.
func newCharsmap(blob []byte) (*charsmap, error) {
	if len(blob) < 4 {
		return nil, fmt.Errorf("%w: a table of characters of %d bytes", ErrCorrupt, len(blob))
	}
	size := binary.LittleEndian.Uint32(blob)
	if uint64(size) > uint64(len(blob)-4) || size%4 != 0 || size == 0 {
		return nil, fmt.Errorf("%w: a table of characters of %d bytes with an array of %d", ErrCorrupt, len(blob), size)
	}
	m := &charsmap{units: make([]uint32, size/4), texts: string(blob[4+size:])}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(blob[4+4*i:])
	}
	return m, m.checkGrowth()
}

// checkGrowth refuses a table that could blow a text up: a key of three bytes or more
// may become the longest text.
func (m *charsmap) checkGrowth() error {
	check := func(length, bytes int) error {
		if length > maxCharGrowth*bytes {
			return fmt.Errorf("%w: a table of characters that makes %d bytes of %d", ErrUnsupported, length, bytes)
		}
		return nil
	}
	longest := 0
	for text := range strings.SplitSeq(m.texts, "\x00") {
		longest = max(longest, len(text))
	}
	err := check(longest, 3)
	for key := 1; key < 1<<16 && err == nil; key++ {
		text := string([]byte{byte(key), byte(key >> 8)})
		replacement, n := m.find(text, true)
		err = check(len(replacement), max(n, 1))
	}
	return err
}

// unit is a cell of the array; one outside of it has no label that a byte could be.
func (m *charsmap) unit(at uint32) uint32 {
	if at >= uint32(len(m.units)) {
		return 1 << 31
	}
	return m.units[at]
}

// offset is what leads from a cell to its children.
func offset(unit uint32) uint32 { return unit >> 10 << (unit >> 9 & 1 << 3) }

// find returns what the longest key that a text begins with is replaced by, or what
// the shortest is, and the length of the key; 0 if there is none.
func (m *charsmap) find(text string, longest bool) (replacement string, length int) {
	at := offset(m.unit(0))
	place := uint32(0)
	for i := range len(text) {
		c := uint32(text[i])
		at ^= c
		unit := m.unit(at)
		if unit&(1<<31|0xff) != c || c == 0 {
			break
		}
		at ^= offset(unit)
		if unit>>8&1 == 1 { // a key ends here
			place, length = m.unit(at)&(1<<31-1), i+1
			if !longest {
				break
			}
		}
	}
	if length == 0 || place >= uint32(len(m.texts)) {
		return "", length
	}
	replacement, _, _ = strings.Cut(m.texts[place:], "\x00")
	return replacement, length
}

// precompiled is the library's normalizer with such a table. Unlike SentencePiece it
// looks at what people take for one character, and at its parts if that is long or
// nothing is found, each time at the shortest key.
func precompiled(encoded string) (normalizer, error) {
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: precompiled_charsmap: %v", ErrCorrupt, err)
	}
	m, err := newCharsmap(blob)
	if err != nil {
		return nil, err
	}
	const longCluster = 6
	var ascii [utf8.RuneSelf]string
	for c := range ascii {
		ascii[c] = m.single(string(rune(c)))
	}
	return func(s string) string {
		var b strings.Builder
		b.Grow(len(s) + len(s)/8)
		for len(s) > 0 {
			if s[0] < utf8.RuneSelf && s[0] != '\r' && (len(s) == 1 || s[1] < utf8.RuneSelf) {
				b.WriteString(ascii[s[0]])
				s = s[1:]
				continue
			}
			cluster, rest, _, _ := uniseg.FirstGraphemeClusterInString(s, -1)
			s = rest
			if len(cluster) < longCluster {
				if replacement, n := m.find(cluster, false); n > 0 {
					b.WriteString(replacement)
					continue
				}
			}
			for _, r := range cluster {
				b.WriteString(m.single(string(r)))
			}
		}
		return b.String()
	}, nil
}

// single is what one character becomes.
func (m *charsmap) single(char string) string {
	if replacement, n := m.find(char, false); n > 0 {
		return replacement
	}
	return char
}
