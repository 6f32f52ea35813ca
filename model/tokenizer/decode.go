package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// decoder is how pieces become text: steps on each piece, then the pieces that are
// bytes become characters, then steps on what there is, then it is joined.
type decoder struct {
	pieces       []decodeStep
	byteFallback bool         // "<0x0A>" is a byte
	texts        []decodeStep // after that
	byteLevel    bool         // pieces are spelled in GPT-2's byte alphabet
	joined       bool         // what comes next is about the whole text
	strip        string       // a character to take from the start of a text
	stripCount   int          // so many times
	wordEnd      string       // stands for a space, or for nothing at the end of a text
	none         bool         // there is no decoder: spaces between pieces
	eachByte     bool         // a byte that is no UTF-8 is replaced alone, not with all that follow each other
	untilText    bool         // pieces begin the text until one of them has some
}

// decodeStep changes a piece; first says that it begins the text.
type decodeStep func(piece string, first bool) string

func newDecoder(c *component) (decoder, error) {
	d := decoder{none: c == nil}
	if c == nil {
		return d, nil
	}
	return d, d.add(c)
}

func (d *decoder) add(c *component) error {
	if d.wordEnd != "" {
		return fmt.Errorf("%w: decoder %q after BPEDecoder", ErrUnsupported, c.Type)
	}
	switch c.Type {
	case "Sequence":
		for i := range c.Decoders {
			if err := d.add(&c.Decoders[i]); err != nil {
				return err
			}
		}
	case "ByteLevel":
		if d.byteFallback || d.joined {
			return fmt.Errorf("%w: decoder ByteLevel after others that make bytes or whole texts", ErrUnsupported)
		}
		d.byteLevel, d.joined = true, true
	case "ByteFallback":
		if d.byteFallback || d.joined {
			return fmt.Errorf("%w: decoder ByteFallback after others that make bytes or whole texts", ErrUnsupported)
		}
		d.byteFallback = true
	case "Fuse":
		d.joined = true
	case "Replace":
		r, err := replacer(c)
		if err != nil {
			return err
		}
		// Only what replaces single characters is the same on pieces and on whole texts.
		if d.joined && (d.byteLevel || d.stripCount > 0 || c.Pattern.String == nil || utf8.RuneCountInString(*c.Pattern.String) != 1) {
			return fmt.Errorf("%w: decoder Replace of %q on whole texts", ErrUnsupported, spellPattern(c.Pattern))
		}
		d.step(func(s string, _ bool) string { return r(s) })
	case "Metaspace":
		if d.joined {
			return fmt.Errorf("%w: decoder Metaspace on whole texts", ErrUnsupported)
		}
		space, scheme := metaspaceScheme(c)
		d.step(func(s string, first bool) string {
			if first && scheme != "never" {
				return strings.ReplaceAll(s, space, "")
			}
			return strings.ReplaceAll(s, space, " ")
		})
	case "WordPiece":
		if d.joined {
			return fmt.Errorf("%w: decoder WordPiece on whole texts", ErrUnsupported)
		}
		d.step(c.joinWordPieces)
	case "Strip":
		return d.addStrip(c)
	case "BPEDecoder":
		if c.Suffix == "" || d.byteFallback || d.joined || len(d.pieces) > 0 {
			return fmt.Errorf("%w: decoder BPEDecoder with other decoders or without a suffix", ErrUnsupported)
		}
		d.wordEnd = c.Suffix
	default:
		return fmt.Errorf("%w: decoder %q", ErrUnsupported, c.Type)
	}
	return nil
}

// joinWordPieces puts a space before a piece that begins a word.
func (c *component) joinWordPieces(piece string, first bool) string {
	if !first {
		if rest, inside := strings.CutPrefix(piece, c.Prefix); inside {
			piece = rest
		} else {
			piece = " " + piece
		}
	}
	if c.Cleanup == nil || *c.Cleanup {
		piece = cleanup(piece)
	}
	return piece
}

// cleanup takes away the spaces before punctuation and contractions of English, one
// rule after the other.
func cleanup(s string) string {
	if !strings.Contains(s, " ") {
		return s
	}
	for _, rule := range [][2]string{{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"},
		{" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}} {
		s = strings.ReplaceAll(s, rule[0], rule[1])
	}
	return s
}

func (d *decoder) step(s decodeStep) {
	if d.byteFallback {
		d.texts = append(d.texts, s)
	} else {
		d.pieces = append(d.pieces, s)
	}
}

// addStrip reads Strip, which is about each piece or, once they are joined, about
// the whole text.
func (d *decoder) addStrip(c *component) error {
	if utf8.RuneCountInString(c.Content) != 1 || c.Start < 0 || c.Stop < 0 || d.joined && (c.Stop > 0 || d.stripCount > 0) {
		return fmt.Errorf("%w: Strip of %q, %d and %d", ErrUnsupported, c.Content, c.Start, c.Stop)
	}
	if d.joined {
		d.strip, d.stripCount = c.Content, c.Start
		return nil
	}
	d.step(func(s string, _ bool) string {
		for i := 0; i < c.Start && strings.HasPrefix(s, c.Content); i++ {
			s = s[len(c.Content):]
		}
		for i := 0; i < c.Stop && strings.HasSuffix(s, c.Content); i++ {
			s = s[:len(s)-len(c.Content)]
		}
		return s
	})
	return nil
}

// asByte returns the byte that a piece such as "<0x0A>" stands for.
func (d *decoder) asByte(piece string) (b byte, ok bool) {
	if !d.byteFallback || len(piece) != len("<0x0A>") || !strings.HasPrefix(piece, "<0x") || piece[5] != '>' {
		return 0, false
	}
	n, err := strconv.ParseUint(piece[3:5], 16, 8)
	return byte(n), err == nil
}

// Piece returns the bytes of a token in the middle of a text, which may be part of a
// character. An id outside the vocabulary has none.
func (t *Tokenizer) Piece(id int32) string {
	if id < 0 || int(id) >= len(t.pieces) || t.special[id] {
		return t.spelling(id)
	}
	piece := apply(t.decode.pieces, t.pieces[id], false)
	if b, ok := t.decode.asByte(piece); ok {
		return string([]byte{b})
	}
	piece = apply(t.decode.texts, piece, false)
	switch d := t.decode; {
	case d.byteLevel:
		return unspellBytes(piece)
	case d.wordEnd != "":
		return strings.ReplaceAll(piece, d.wordEnd, " ")
	}
	return piece
}

// spelling returns a piece as the vocabulary has it.
func (t *Tokenizer) spelling(id int32) string {
	if id < 0 || int(id) >= len(t.pieces) {
		return ""
	}
	return t.pieces[id]
}

// Decode returns the text of ids without special tokens. Bytes that are no
// UTF-8 become U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	s := t.NewStream()
	s.whole = true
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Push(id))
	}
	b.WriteString(s.Flush())
	return b.String()
}

// Stream decodes a text token by token, holding back incomplete characters.
type Stream struct {
	t     *Tokenizer
	whole bool // nobody waits: a run of bytes is judged as one
	begun bool // a piece came
	shown bool // so did a text, once bytes were characters
	strip int  // characters still to take from the start
	run   []byte
	text  string // of a byte-level tokenizer, the end of a character missing
	word  string // held back: its end may be that of the text
}

// NewStream starts at the beginning of a text.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t, strip: t.decode.stripCount} }

// Continue starts a stream in the middle of a text, where a leading space is
// kept.
func (t *Tokenizer) Continue() *Stream { return &Stream{t: t, begun: true, shown: true} }

// Push adds a token and returns the text that is complete. Special tokens add
// nothing.
func (s *Stream) Push(id int32) string {
	d := &s.t.decode
	if s.t.special[id] || s.t.spelling(id) == "" {
		return ""
	}
	first := !s.begun
	s.begun = true
	piece := apply(d.pieces, s.t.pieces[id], first)
	if b, ok := d.asByte(piece); ok {
		s.run = append(s.run, b)
		return s.bytes()
	}
	switch {
	case d.byteLevel:
		return s.spelled(piece)
	case d.wordEnd != "":
		return s.hold(piece)
	case d.none && !first:
		piece = " " + piece
	}
	if d.untilText && first && piece == "" {
		s.begun = false
	}
	return s.endRun() + s.show(piece)
}

// Flush returns what was held back.
func (s *Stream) Flush() string {
	out := s.endRun() + s.start(replaceInvalid(s.text)) + strings.ReplaceAll(s.word, s.t.decode.wordEnd, "")
	s.text, s.word = "", ""
	return out
}

func apply(steps []decodeStep, piece string, first bool) string {
	for _, step := range steps {
		piece = step(piece, first)
	}
	return piece
}

// show passes a text on that needs no more bytes.
func (s *Stream) show(text string) string {
	text = apply(s.t.decode.texts, text, !s.shown)
	s.shown = true
	return s.start(text)
}

// start takes from the beginning of a text what Strip takes.
func (s *Stream) start(text string) string {
	for s.strip > 0 && text != "" {
		rest, found := strings.CutPrefix(text, s.t.decode.strip)
		if !found {
			s.strip = 0
			break
		}
		text = rest
		s.strip--
	}
	return text
}

// bytes returns the characters that a run of bytes has made.
func (s *Stream) bytes() string {
	if s.whole {
		return ""
	}
	n := len(s.run) - incomplete(string(s.run))
	complete := s.run[:n]
	s.run = s.run[n:]
	if n == 0 {
		return ""
	}
	return s.show(s.byteRun(complete))
}

// endRun ends a run of bytes.
func (s *Stream) endRun() string {
	if len(s.run) == 0 {
		return ""
	}
	text := s.byteRun(s.run)
	s.run = nil
	return s.show(text)
}

// byteRun is the text of a run of bytes: a replacement character for each if the
// run is no UTF-8.
func (s *Stream) byteRun(run []byte) string {
	if utf8.Valid(run) {
		return string(run)
	}
	if s.t.decode.eachByte {
		return string([]rune(string(run)))
	}
	return strings.Repeat(string(utf8.RuneError), len(run))
}

// spelled adds a piece of a byte-level tokenizer.
func (s *Stream) spelled(piece string) string {
	s.text += unspellBytes(piece)
	n := len(s.text) - incomplete(s.text)
	out := s.text[:n]
	s.text = s.text[n:]
	return s.start(replaceInvalid(out))
}

// hold returns the word before, which is not the last one.
func (s *Stream) hold(word string) string {
	out := strings.ReplaceAll(s.word, s.t.decode.wordEnd, " ")
	s.word = word
	return out
}

// incomplete returns how many bytes at the end of s begin a character that is cut
// off.
func incomplete(s string) int {
	for back := 1; back <= min(utf8.UTFMax-1, len(s)); back++ {
		c := s[len(s)-back]
		if utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRuneInString(s[len(s)-back:]) {
				return back
			}
			break
		}
	}
	return 0
}

// replaceInvalid puts a replacement character in the place of bytes that are no
// UTF-8: one for as many as could have begun a character.
func replaceInvalid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == unicode.ReplacementChar && n == 1 {
			for n < min(utf8.UTFMax-1, len(s)) && !utf8.FullRuneInString(s[:n+1]) {
				n++
			}
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}
