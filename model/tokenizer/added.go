package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token matched in the text before BPE sees it.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"` // swallows white space before it
	RStrip     bool   `json:"rstrip"` // and after it
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// maxAdded bounds the text of an added token, and so the work of looking for
// them at every byte of a text.
const maxAdded = 256

// addedTokens finds added tokens, the longest first.
type addedTokens struct {
	all        []addedToken
	raw        tokenTree // matched in the text as given
	normalized tokenTree // matched after normalization
}

func newAddedTokens(tokens []addedToken, normalize func(string) string) (addedTokens, error) {
	a := addedTokens{all: tokens}
	for _, t := range tokens {
		tree := &a.raw
		if t.Normalized {
			// Tokenizers that prepend a space do so to texts, not to added tokens.
			if n := strings.TrimPrefix(normalize(t.Content), "▁"); n != "" {
				t.Content = n
			}
			tree = &a.normalized
		}
		if len(t.Content) > maxAdded {
			return a, fmt.Errorf("%w: added token %d has %d bytes (at most %d)", ErrUnsupported, t.ID, len(t.Content), maxAdded)
		}
		tree.add(t)
	}
	return a, nil
}

// tokenTree finds the tokens that a text begins with, byte by byte.
type tokenTree struct {
	next   map[byte]*tokenTree
	tokens []addedToken // that end here
}

func (n *tokenTree) add(t addedToken) {
	for i := range len(t.Content) {
		if n.next == nil {
			n.next = make(map[byte]*tokenTree)
		}
		child := n.next[t.Content[i]]
		if child == nil {
			child = &tokenTree{}
			n.next[t.Content[i]] = child
		}
		n = child
	}
	n.tokens = append(n.tokens, t)
}

// match returns the longest token at a place of the text.
func (n *tokenTree) match(text string, at int, special bool) (found addedToken, ok bool) {
	for i := at; ; i++ {
		for _, t := range n.tokens {
			if (special || !t.Special) && (!t.SingleWord || wordBoundary(text, at, i)) {
				found, ok = t, true
				break
			}
		}
		if i == len(text) {
			return found, ok
		}
		if n = n.next[text[i]]; n == nil {
			return found, ok
		}
	}
}

// walk cuts text at added tokens, calling token for each and plain for the
// normalized text between them.
func (a *addedTokens) walk(text string, special bool, normalize func(string) string, plain func(string), token func(int32)) {
	cut(text, &a.raw, special, func(s string) {
		if s != "" {
			cut(normalize(s), &a.normalized, special, plain, token)
		}
	}, token)
}

func cut(text string, tree *tokenTree, special bool, plain func(string), token func(int32)) {
	if tree.next == nil {
		plain(text)
		return
	}
	start := 0
	for i := 0; i < len(text); {
		t, ok := tree.match(text, i, special)
		if !ok {
			i++
			continue
		}
		before, end := text[start:i], i+len(t.Content)
		if t.LStrip {
			before = strings.TrimRightFunc(before, unicode.IsSpace)
		}
		plain(before)
		token(t.ID)
		if t.RStrip {
			end += len(text[end:]) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
		}
		start, i = end, end
	}
	plain(text[start:])
}

func wordBoundary(text string, begin, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:begin])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return (begin == 0 || !isWord(before)) && (end == len(text) || !isWord(after))
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }
