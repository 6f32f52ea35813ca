package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder is how pieces become text. The decoders of BPE models are all
// combinations of these steps.
type decoder struct {
	byteLevel    bool // pieces are spelled in GPT-2's byte alphabet
	byteFallback bool // "<0x0A>" is a byte
	replace      []func(string) string
	stripLeft    int // spaces to take from the start of a text
}

func newDecoder(c *component) (decoder, error) {
	var d decoder
	return d, d.add(c)
}

func (d *decoder) add(c *component) error {
	if c == nil {
		return nil
	}
	switch c.Type {
	case "Sequence":
		for i := range c.Decoders {
			if err := d.add(&c.Decoders[i]); err != nil {
				return err
			}
		}
	case "ByteLevel":
		d.byteLevel = true
	case "ByteFallback":
		d.byteFallback = true
	case "Fuse": // pieces are concatenated anyway
	case "Replace":
		r, err := replacer(c)
		if err != nil {
			return err
		}
		d.replace = append(d.replace, r)
	case "Metaspace":
		space := c.Replacement
		if space == "" {
			space = "▁"
		}
		d.replace = append(d.replace, func(s string) string { return strings.ReplaceAll(s, space, " ") })
		if c.PrependScheme != "never" && (c.AddPrefixSpace == nil || *c.AddPrefixSpace) {
			d.stripLeft = 1
		}
	case "Strip":
		if c.Content != " " || c.Stop != 0 || c.Start < 0 || c.Start > 1 {
			return fmt.Errorf("%w: Strip of %q, %d and %d", ErrUnsupported, c.Content, c.Start, c.Stop)
		}
		d.stripLeft = c.Start
	default:
		return fmt.Errorf("%w: decoder %q", ErrUnsupported, c.Type)
	}
	return nil
}

// piece returns the bytes a token stands for.
func (d *decoder) piece(p string) string {
	if d.byteFallback && len(p) == 6 && strings.HasPrefix(p, "<0x") && p[5] == '>' {
		if b, err := strconv.ParseUint(p[3:5], 16, 8); err == nil {
			return string([]byte{byte(b)})
		}
	}
	for _, r := range d.replace {
		p = r(p)
	}
	if d.byteLevel {
		p = unspellBytes(p)
	}
	return p
}

// Piece returns the bytes of a token, which may be part of a character. An id
// outside the vocabulary has none.
func (t *Tokenizer) Piece(id int32) string {
	if id < 0 || int(id) >= len(t.pieces) {
		return ""
	}
	if _, inVocab := t.model.vocab[t.pieces[id]]; !inVocab || t.special[id] {
		return t.pieces[id] // added tokens are spelled as they are
	}
	return t.decode.piece(t.pieces[id])
}

// Decode returns the text of ids without special tokens. Bytes that are no
// UTF-8 become U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	s := t.NewStream()
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Push(id))
	}
	b.WriteString(s.Flush())
	return b.String()
}

// Stream decodes a text token by token, holding back incomplete characters.
type Stream struct {
	t       *Tokenizer
	pending string
	started bool
}

// NewStream starts at the beginning of a text.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Continue starts a stream in the middle of a text, where a leading space is
// kept.
func (t *Tokenizer) Continue() *Stream { return &Stream{t: t, started: true} }

// Push adds a token and returns the text that is complete. Special tokens add
// nothing.
func (s *Stream) Push(id int32) string {
	if s.t.special[id] {
		return ""
	}
	piece := s.t.Piece(id)
	if !s.started && piece != "" {
		for range s.t.decode.stripLeft {
			piece = strings.TrimPrefix(piece, " ")
		}
		s.started = true
	}
	s.pending += piece
	n := completeUTF8(s.pending)
	out := s.pending[:n]
	s.pending = s.pending[n:]
	return strings.ToValidUTF8(out, "\uFFFD")
}

// Flush returns what was held back.
func (s *Stream) Flush() string {
	out := strings.ToValidUTF8(s.pending, "\uFFFD")
	s.pending = ""
	return out
}

// completeUTF8 returns the length of s without a character that its end cuts
// off.
func completeUTF8(s string) int {
	for back := 1; back <= min(utf8.UTFMax-1, len(s)); back++ {
		c := s[len(s)-back]
		if utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRuneInString(s[len(s)-back:]) {
				return len(s) - back
			}
			break
		}
	}
	return len(s)
}
