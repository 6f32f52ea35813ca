package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// wordPiece cuts a word from the left into the longest pieces there are (Song et al.,
// "Fast WordPiece Tokenization", 2021, describes the algorithm that BERT has). A word
// that cannot be cut is unknown as a whole.
type wordPiece struct {
	first     trie // pieces that begin a word
	following trie // pieces inside one, without their prefix
	unknown   int32
	maxChars  int // a longer word is unknown
	prefix    string
}

// defaultMaxChars is the library's.
const defaultMaxChars = 100

func newWordPiece(f modelFile, vocab vocabulary) (*wordPiece, error) {
	w := &wordPiece{unknown: vocab.unknown(f.Unknown), maxChars: defaultMaxChars, prefix: "##"}
	if f.MaxChars > 0 {
		w.maxChars = f.MaxChars
	}
	if f.Prefix != nil {
		w.prefix = *f.Prefix
	}
	if w.unknown < 0 {
		return nil, fmt.Errorf("%w: WordPiece without an unknown token", ErrCorrupt)
	}
	first, following := make(map[string]int32, len(vocab)), make(map[string]int32, len(vocab))
	for piece, id := range vocab {
		if id < 0 || id >= maxID {
			return nil, fmt.Errorf("%w: token %q has id %d", ErrCorrupt, piece, id)
		}
		if piece != "" {
			first[piece] = id
		}
		if rest, ok := strings.CutPrefix(piece, w.prefix); ok && rest != "" {
			following[rest] = id
		}
	}
	w.first, w.following = newTrie(first), newTrie(following)
	return w, nil
}

func (w *wordPiece) unknownID() int32 { return w.unknown }

func (w *wordPiece) encode(word string) []int32 {
	if len(word) > w.maxChars && utf8.RuneCountInString(word) > w.maxChars {
		return []int32{w.unknown}
	}
	var out []int32
	pieces := &w.first
	for at := 0; at < len(word); pieces = &w.following {
		id, size := pieces.longest(word[at:])
		if size == 0 {
			return []int32{w.unknown}
		}
		out = append(out, id)
		at += size
	}
	return out
}
