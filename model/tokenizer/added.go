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

// addedTokens finds added tokens: first those that are matched in the text as it
// is, then, in what lies between them, once it is normalized, the others.
type addedTokens struct {
	all        []addedToken // one for each id
	sought     []soughtText
	raw        tokenTree
	normalized tokenTree
}

// soughtText says that a token, one of all, is looked for.
type soughtText struct {
	token      int
	normalized bool
}

// newAddedTokens takes the tokens as the library adds them, one after the other. A
// text that the vocabulary has keeps its id; others are numbered from next on, the
// end of the vocabulary, whatever the file says. A text that comes again with other flags
// replaces those of the one before: a special one is then looked for as the first
// that was special, another one as each of them.
func newAddedTokens(tokens []addedToken, vocab map[string]int32, next int32) (addedTokens, error) {
	var a addedTokens
	place := make(map[string]int) // in all
	special := make(map[string]bool)
	seen := make(map[addedToken]bool)
	for _, t := range tokens {
		special[t.Content] = special[t.Content] || t.Special
	}
	for _, t := range tokens {
		if t.Content == "" {
			return a, fmt.Errorf("%w: added token %d is empty", ErrCorrupt, t.ID)
		}
		t.ID = 0
		if seen[t] {
			continue
		}
		seen[t] = true
		at, again := place[t.Content]
		if !again {
			at = len(a.all)
			place[t.Content] = at
			id, known := vocab[t.Content]
			if !known {
				id, next = next, next+1
			}
			a.all = append(a.all, addedToken{ID: id})
		}
		if t.Special && !a.all[at].Special || !special[t.Content] {
			a.sought = append(a.sought, soughtText{at, t.Normalized})
		}
		t.ID, t.Special = a.all[at].ID, t.Special || a.all[at].Special
		a.all[at] = t
	}
	return a, nil
}

// plant makes the tokens findable.
func (a *addedTokens) plant(normalize func(string) string) error {
	for _, s := range a.sought {
		t := a.all[s.token]
		tree, text := &a.raw, t.Content
		if s.normalized {
			tree, text = &a.normalized, normalize(t.Content)
		}
		switch {
		case len(text) > maxAdded:
			return fmt.Errorf("%w: added token %d has %d bytes (at most %d)", ErrUnsupported, t.ID, len(text), maxAdded)
		case text == "":
			return fmt.Errorf("%w: nothing is left of added token %q once it is normalized", ErrUnsupported, t.Content)
		}
		tree.add(text, t)
	}
	return nil
}

// tokenTree finds the tokens that a text begins with, byte by byte.
type tokenTree struct {
	first [256]*treeNode
}

type treeNode struct {
	next  map[byte]*treeNode
	token *addedToken // that ends here
}

func (t *tokenTree) add(text string, token addedToken) {
	node := t.first[text[0]]
	if node == nil {
		node = &treeNode{}
		t.first[text[0]] = node
	}
	for i := 1; i < len(text); i++ {
		if node.next == nil {
			node.next = make(map[byte]*treeNode)
		}
		child := node.next[text[i]]
		if child == nil {
			child = &treeNode{}
			node.next[text[i]] = child
		}
		node = child
	}
	// Of those that normalization makes equal, special ones and then the first count.
	if node.token == nil || token.Special && !node.token.Special {
		node.token = &token
	}
}

// match returns the longest token at a place of the text, nil if there is none, and
// where it ends.
func (t *tokenTree) match(text string, at int) (token *addedToken, end int) {
	node := t.first[text[at]]
	for i := at + 1; node != nil; i++ {
		if node.token != nil {
			token, end = node.token, i
		}
		if i == len(text) {
			break
		}
		node = node.next[text[i]]
	}
	return token, end
}

// walk cuts text at added tokens, calling token for each and plain for the
// normalized text between them. Special tokens are text unless special is set.
func (a *addedTokens) walk(text string, special bool, normalize func(string) string, plain func(string), token func(int32)) {
	a.raw.cut(text, special, func(s string) {
		a.normalized.cut(normalize(s), special, plain, token)
	}, token)
}

// cut passes on the tokens in a text and what lies between them. The longest token
// at a place is the one that is there: where it does not count, neither does a
// shorter one inside it.
func (t *tokenTree) cut(text string, special bool, plain func(string), token func(int32)) {
	start := 0
	for i := 0; i < len(text); {
		found, end := t.match(text, i)
		if found == nil {
			i++
			continue
		}
		at := i
		i = end
		if found.Special && !special || found.SingleWord && !wordBoundary(text, at, end) {
			continue
		}
		if found.LStrip {
			at = max(start, len(strings.TrimRightFunc(text[:at], unicode.IsSpace)))
		}
		if found.RStrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
		}
		if start < at {
			plain(text[start:at])
		}
		if at < end { // an earlier token may have swallowed the white space that this one is
			token(found.ID)
		}
		start = end
	}
	if start < len(text) {
		plain(text[start:])
	}
}

func wordBoundary(text string, begin, end int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:begin])
	after, _ := utf8.DecodeRuneInString(text[end:])
	return (begin == 0 || !isWord(before)) && (end == len(text) || !isWord(after))
}

// isWord is \w of Rust's regular expressions: what is alphabetic, marks, digits,
// connectors and joiners.
func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || isLetter(r) || isNumber(r)
	}
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
