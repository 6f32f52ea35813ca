package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// visibleSpace stands for a space in pieces.
const visibleSpace = "▁"

// sentencePieceNormalizer is SentencePiece's normalization: the table of characters,
// then what becomes of spaces. Symbols that users defined stay as they are.
type sentencePieceNormalizer struct {
	charsmap  *charsmap // nil: characters stay
	symbols   *trie     // nil: none
	addPrefix bool      // a text begins with a space
	trim      bool      // spaces around a text go, several become one
	space     string    // what a space becomes
}

func (n *sentencePieceNormalizer) normalize(s string) string {
	if n.charsmap == nil && n.symbols == nil && !n.trim {
		s = strings.ReplaceAll(s, " ", n.space)
		if n.addPrefix && s != "" {
			s = n.space + s
		}
		return s
	}
	if n.trim {
		for s != "" {
			char, size := n.next(s)
			if char != " " {
				break
			}
			s = s[size:]
		}
	}
	if s == "" {
		return ""
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/4 + len(n.space))
	if n.addPrefix {
		b.WriteString(n.space)
	}
	for afterSpace := n.trim; s != ""; {
		char, size := n.next(s)
		s = s[size:]
		if afterSpace {
			char = strings.TrimLeft(char, " ")
		}
		b.WriteString(strings.ReplaceAll(char, " ", n.space))
		if char != "" {
			afterSpace = n.trim && strings.HasSuffix(char, " ")
		}
	}
	out := b.String()
	if n.trim {
		for strings.HasSuffix(out, n.space) {
			out = strings.TrimSuffix(out, n.space)
		}
	}
	return out
}

// next returns what the text begins with, normalized, and its length before.
func (n *sentencePieceNormalizer) next(s string) (char string, size int) {
	if n.symbols != nil {
		if _, size := n.symbols.longest(s); size > 0 {
			return s[:size], size
		}
	}
	if n.charsmap != nil {
		if replacement, size := n.charsmap.find(s, true); size > 0 {
			return replacement, size
		}
	}
	_, size = utf8.DecodeRuneInString(s)
	return s[:size], size
}
