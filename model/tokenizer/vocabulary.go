package tokenizer

import (
	"slices"
	"strconv"
	"strings"
)

// PieceKind says what a piece of a vocabulary is for.
type PieceKind uint8

// The kinds of pieces.
const (
	Normal  PieceKind = iota // text that merges produce
	Unknown                  // stands for what the vocabulary lacks
	Control                  // an added token that is not text, such as the end of a turn
	Added                    // an added token that is text
	Byte                     // one byte, "<0x0A>", of a tokenizer with byte fallback
	Unused                   // an id without a piece
)

// Piece is one entry of a vocabulary as it is spelled there: normal pieces of a
// byte-level tokenizer are in GPT-2's byte alphabet.
type Piece struct {
	Text   string
	Kind   PieceKind
	Greedy bool // an added token that swallows white space around it, or wants to stand alone
}

// Vocabulary is a tokenizer taken apart, for writers of other file formats.
type Vocabulary struct {
	Kind         string // as [Tokenizer.Kind] has it
	ByteLevel    bool
	ByteFallback bool        // every byte has a piece and serves for unknown characters
	IgnoreMerges bool        // a word that is a piece is that token
	Affixes      bool        // pieces inside a word, or at its end, are marked as such
	Pieces       []Piece     // by id
	Merges       [][2]string // by rank
	Normalizers  []string    // the steps before splitting
	Splitters    []string    // the steps that cut a text into words
	Prefix       []int32     // what begins and ends a text
	Suffix       []int32
	BOS, EOS     int32 // -1: none
	Unknown      int32
	Pad          int32
}

// Vocabulary describes the tokenizer.
func (t *Tokenizer) Vocabulary() Vocabulary {
	v := Vocabulary{Kind: t.kind, ByteLevel: t.decode.byteLevel,
		Normalizers: t.normalizers, Splitters: t.splitters, Prefix: slices.Clone(t.prefix), Suffix: slices.Clone(t.suffix),
		BOS: t.bos, EOS: t.eos, Unknown: t.model.unknownID(), Pad: -1}
	if id, ok := t.ID(t.padText); ok {
		v.Pad = id
	}
	v.Pieces = make([]Piece, len(t.pieces))
	for id, text := range t.pieces {
		v.Pieces[id].Text = text
		if text == "" {
			v.Pieces[id].Kind = Unused
		}
	}
	if b, ok := t.model.(*bpe); ok {
		b.describe(&v)
	}
	for _, id := range t.defined {
		v.Pieces[id].Kind = Added
	}
	for _, a := range t.added.all {
		p := &v.Pieces[a.ID]
		p.Kind, p.Greedy = Added, a.LStrip || a.RStrip || a.SingleWord
		if a.Special {
			p.Kind = Control
		}
	}
	if v.Unknown >= 0 {
		v.Pieces[v.Unknown].Kind = Unknown
	}
	return v
}

// describe says what the merges need to be known of.
func (b *bpe) describe(v *Vocabulary) {
	v.IgnoreMerges, v.Affixes, v.ByteFallback = b.ignoreMerges, b.prefix+b.suffix != "", b.byteFallback && b.bytes.whole()
	if v.ByteFallback {
		for _, id := range b.bytes {
			v.Pieces[id].Kind = Byte
		}
	}
	v.Merges = make([][2]string, len(b.rules))
	for i, r := range b.rules {
		v.Merges[i] = [2]string{v.Pieces[r.left].Text, v.Pieces[r.right].Text}
	}
}

// MergesMakeEveryPiece reports whether a word that is a piece becomes that piece
// by merging alone, so that looking whole words up first changes nothing.
func (t *Tokenizer) MergesMakeEveryPiece() bool {
	b, ok := t.model.(*bpe)
	if !ok {
		return false
	}
	byMerging := *b
	byMerging.ignoreMerges = false
	for piece, id := range t.vocab {
		if ids := byMerging.encode(piece); !slices.Equal(ids, []int32{id}) && !t.isAdded(id) {
			return false
		}
	}
	return true
}

func (t *Tokenizer) isAdded(id int32) bool {
	return slices.ContainsFunc(t.added.all, func(a addedToken) bool { return a.ID == id })
}

// describe lists the steps of a component with the parameters that decide what
// it does, sequences flattened: `Split "\d" Isolated`, "ByteLevel prefix regex".
func describe(c *component) []string {
	if c == nil {
		return nil
	}
	words := []string{c.Type}
	add := func(when bool, word string) {
		if when {
			words = append(words, word)
		}
	}
	unsetOrTrue := func(b *bool) bool { return b == nil || *b }
	switch c.Type {
	case "Sequence":
		var all []string
		for _, list := range [][]component{c.Normalizers, c.Pretokenizers} {
			for i := range list {
				all = append(all, describe(&list[i])...)
			}
		}
		return all
	case "Split":
		words = append(words, spellPattern(c.Pattern), c.Behavior)
		add(c.Invert, "inverted")
	case "ByteLevel":
		add(unsetOrTrue(c.AddPrefixSpace), "prefix")
		add(unsetOrTrue(c.UseRegex), "regex")
	case "Metaspace":
		space, scheme := metaspaceScheme(c)
		words = append(words, strconv.Quote(space), scheme)
		add(unsetOrTrue(c.Split), "split")
	case "Digits":
		add(c.IndividualDigits, "single")
	case "Punctuation":
		add(c.Behavior != "", c.Behavior)
	case "Prepend":
		words = append(words, strconv.Quote(c.Prepend))
	case "Replace":
		words = append(words, spellPattern(c.Pattern), strconv.Quote(c.Content))
	}
	return []string{strings.Join(words, " ")}
}

func spellPattern(p pattern) string {
	if p.String != nil {
		return "text " + strconv.Quote(*p.String)
	}
	if p.Regex != nil {
		return *p.Regex
	}
	return ""
}
