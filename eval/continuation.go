package eval

import (
	"context"
	"fmt"
	"math"
	"strings"

	rt "nibble/runtime"
)

// Continuation is what both models make of the same beginning, each time taking
// the token they find likeliest.
type Continuation struct {
	Window     int     `json:"window"` // that the beginning is taken from
	Prompt     string  `json:"prompt"`
	Same       string  `json:"same"` // what both say, up to where they part
	SameTokens int     `json:"same_tokens"`
	Says       string  `json:"says"`      // how the model goes on from there
	BaseSays   string  `json:"base_says"` // and the reference
	Part       *Parted `json:"parted,omitempty"`
}

// Parted tells how close the two were where they parted.
type Parted struct {
	Says     Guess `json:"says"`
	BaseSays Guess `json:"base_says"`
}

// promptTokens is how much of a text is given to continue.
const promptTokens = 32

// Continuations lets both models continue n beginnings, spread over the text, by
// so many tokens.
func (ref *Reference) Continuations(ctx context.Context, m *rt.Model, n, tokens int, l Listener) ([]Continuation, error) {
	if err := ref.accepts(m); err != nil {
		return nil, err
	}
	n = min(n, len(ref.windows))
	steps := NewSteps(l, "continuations", 2*n)
	var out []Continuation
	for i := range n {
		window := i * len(ref.windows) / n
		prompt := beginning(m, ref.windows[window])
		if len(prompt) == 0 {
			continue
		}
		base, err := newContinued(ctx, ref.Model, prompt, tokens)
		if err != nil {
			return nil, err
		}
		steps.Add(1)
		own, err := newContinued(ctx, m, prompt, tokens)
		if err != nil {
			return nil, err
		}
		steps.Add(1)
		c, err := compareContinued(ctx, own, base, prompt)
		if err != nil {
			return nil, err
		}
		c.Window = window
		out = append(out, c)
	}
	return out, nil
}

// beginning picks where in a window to begin: after a line break in its first
// half, if there is one.
func beginning(m *rt.Model, window []int32) []int32 {
	prefix := 0
	for prefix < len(window) && m.Tok.Special(window[prefix]) {
		prefix++
	}
	at := prefix
	for i := prefix; i < len(window)/2; i++ {
		if strings.HasSuffix(m.Tok.Piece(window[i]), "\n") {
			at = i + 1
			break
		}
	}
	n := min(promptTokens, len(window)-at, m.Config.Positions/2)
	return append(window[:prefix:prefix], window[at:at+n]...)
}

// continued is a session after a model went on from a prompt.
type continued struct {
	m      *rt.Model
	s      *rt.Session
	tokens []int32 // after the prompt
}

func newContinued(ctx context.Context, m *rt.Model, prompt []int32, tokens int) (*continued, error) {
	s := m.NewSession(0)
	_, err := m.Generate(ctx, s, prompt, rt.GenOptions{MaxTokens: tokens}, nil)
	if err == nil {
		err = ctx.Err() // which ends a generation without an error
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return &continued{m, s, append([]int32(nil), s.Tokens()[len(prompt):]...)}, nil
}

// logits are those that follow n of the continuation's tokens.
func (c *continued) logits(ctx context.Context, prompt []int32, n int) ([]float32, error) {
	text := append(prompt[:len(prompt):len(prompt)], c.tokens[:n]...)
	c.s.Truncate(len(text) - 1)
	hidden, err := c.s.Forward(ctx, text[len(text)-1:])
	if err != nil {
		return nil, err
	}
	out := make([]float32, c.m.Config.Vocab)
	c.m.Logits(c.m.Engine.NewActs(), out, hidden, 1)
	return out, nil
}

func compareContinued(ctx context.Context, own, base *continued, prompt []int32) (Continuation, error) {
	tok := own.m.Tok
	n := 0
	for n < len(own.tokens) && n < len(base.tokens) && own.tokens[n] == base.tokens[n] {
		n++
	}
	c := Continuation{Prompt: contextText(tok, prompt), SameTokens: n, Same: contextText(tok, own.tokens[:n]),
		Says: contextText(tok, own.tokens[n:]), BaseSays: contextText(tok, base.tokens[n:])}
	if n == len(own.tokens) && n == len(base.tokens) {
		return c, nil
	}
	a, err := own.logits(ctx, prompt, n)
	if err != nil {
		return c, err
	}
	b, err := base.logits(ctx, prompt, n)
	if err != nil {
		return c, err
	}
	at := candidates{own.m, a, b}
	c.Part = &Parted{at.guess(int32(argMax(a))), at.guess(int32(argMax(b)))}
	if math.IsNaN(c.Part.Says.P) || math.IsNaN(c.Part.BaseSays.P) {
		return c, fmt.Errorf("%s: %w", own.m.Name, ErrNotFinite)
	}
	return c, nil
}
