package eval

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"nibble/model/tokenizer"
	rt "nibble/runtime"
)

// WorstToken is a position at which model and reference differ much.
type WorstToken struct {
	Window   int     `json:"window"`   // from 0
	Position int     `json:"position"` // of the token in its window
	KLD      float64 `json:"kld"`
	Context  string  `json:"context"` // the end of the text before it
	Token    Guess   `json:"token"`   // the one that follows in the text
	Says     []Guess `json:"says"`    // the model's likeliest, the likeliest first
	BaseSays []Guess `json:"base_says"`
}

// Guess is a token and how likely the two models find it.
type Guess struct {
	ID    int32   `json:"id"`
	Text  string  `json:"text"`
	P     float64 `json:"p"`
	BaseP float64 `json:"base_p"`
}

const (
	contextTokens = 24 // shown before a token
	guesses       = 3  // shown of each model
)

// worst keeps the positions of the largest divergence, with the hidden states
// that say more about them: a few rows, however long the text.
type worst struct {
	n  int
	at []worstPosition // the worst first
}

type worstPosition struct {
	window, position int
	kld              float64
	hidden, base     []float32
}

// add looks through the pairs of a window's scored half, whose hidden states are
// valid during the call.
func (w *worst) add(window, length int, pairs []pair, hidden, base []float32) {
	if w.n == 0 || len(pairs) == 0 {
		return
	}
	h, bh := len(hidden)/len(pairs), len(base)/len(pairs)
	for i, p := range pairs {
		if len(w.at) == w.n && p.kld <= w.at[w.n-1].kld {
			continue
		}
		if len(w.at) == w.n {
			w.at = w.at[:w.n-1]
		}
		// Behind those that are as bad: the first of equals stays first.
		at, _ := slices.BinarySearchFunc(w.at, p.kld, func(x worstPosition, kld float64) int {
			if x.kld >= kld {
				return -1
			}
			return 1
		})
		w.at = slices.Insert(w.at, at, worstPosition{window, length - len(pairs) + i, p.kld, slices.Clone(hidden[i*h : (i+1)*h]), slices.Clone(base[i*bh : (i+1)*bh])})
	}
}

// tokens tells what the two models say at the positions.
func (w *worst) tokens(s *scorer, base *rt.Model, windows [][]int32) []WorstToken {
	var out []WorstToken
	v := s.m.Config.Vocab
	for _, p := range w.at {
		s.logits, s.base = growFloats(s.logits, v), growFloats(s.base, v)
		s.m.Logits(s.acts, s.logits, p.hidden, 1)
		base.Logits(s.acts, s.base, p.base, 1)
		tokens := windows[p.window]
		c := candidates{s.m, s.logits[:v], s.base[:v]}
		out = append(out, WorstToken{Window: p.window, Position: p.position, KLD: p.kld,
			Context: contextText(s.m.Tok, tokens[max(0, p.position-contextTokens):p.position]), Token: c.guess(tokens[p.position]),
			Says: c.likeliest(c.own), BaseSays: c.likeliest(c.base)})
	}
	return out
}

// candidates are the logits of both models at a position.
type candidates struct {
	m         *rt.Model
	own, base []float32
}

func (c candidates) guess(id int32) Guess {
	return Guess{id, pieceText(c.m.Tok, id), math.Exp(logProb(c.m.Engine, c.own, id)), math.Exp(logProb(c.m.Engine, c.base, id))}
}

func (c candidates) likeliest(logits []float32) []Guess {
	ids := make([]int32, 0, guesses+1)
	for id := range logits {
		at, _ := slices.BinarySearchFunc(ids, logits[id], func(x int32, l float32) int {
			if logits[x] >= l {
				return -1
			}
			return 1
		})
		if at < guesses {
			ids = slices.Insert(ids, at, int32(id))
			ids = ids[:min(len(ids), guesses)]
		}
	}
	out := make([]Guess, len(ids))
	for i, id := range ids {
		out[i] = c.guess(id)
	}
	return out
}

// contextText is text from the middle of a text; a character that its beginning
// cuts off is left out.
func contextText(tok *tokenizer.Tokenizer, ids []int32) string {
	s := tok.Continue()
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Push(id))
	}
	b.WriteString(s.Flush())
	return strings.TrimLeft(b.String(), "\uFFFD")
}

// pieceText is a token as people can read it: one that is part of a character as
// its bytes in hexadecimal.
func pieceText(tok *tokenizer.Tokenizer, id int32) string {
	piece := tok.Piece(id)
	if utf8.ValidString(piece) {
		return piece
	}
	return strings.Trim(strconv.QuoteToASCII(piece), `"`)
}

// Clean returns the token with its texts passed through f.
func (t WorstToken) Clean(f func(string) string) WorstToken {
	clean := func(gs []Guess) []Guess {
		out := make([]Guess, len(gs))
		for i, g := range gs {
			g.Text = f(g.Text)
			out[i] = g
		}
		return out
	}
	t.Context, t.Token.Text = f(t.Context), f(t.Token.Text)
	t.Says, t.BaseSays = clean(t.Says), clean(t.BaseSays)
	return t
}
