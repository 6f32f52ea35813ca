package runtime

import (
	"context"
	"fmt"
	"slices"

	"nibble/kernels"
)

// Stack takes several texts through a model layer by layer: only the hidden
// states of the texts exist, whatever the depth, and the model may change on the
// way. Calibration works so: a layer is quantized for the inputs it gets from
// the quantized layers before it.
type Stack struct {
	texts [][]int32
	x     [][]float32 // the residual stream of every text, len x hidden
	done  int         // layers passed
}

// NewStack embeds the texts.
func (m *Model) NewStack(texts [][]int32) (*Stack, error) {
	h := m.Config.Hidden
	s := &Stack{texts: texts}
	for i, text := range texts {
		if len(text) == 0 || len(text) > m.Config.MaxPositions {
			return nil, fmt.Errorf("text %d has %d tokens; 1 to %d fit the model", i, len(text), m.Config.MaxPositions)
		}
		if err := m.Config.CheckTokens(text); err != nil {
			return nil, err
		}
		x := make([]float32, len(text)*h)
		for j, t := range text {
			m.embed.Row(x[j*h:(j+1)*h], int(t))
		}
		s.x = append(s.x, x)
	}
	return s, nil
}

// Layer returns the number of layers passed.
func (s *Stack) Layer() int { return s.done }

// Texts returns the tokens of the texts.
func (s *Stack) Texts() [][]int32 { return s.texts }

// States returns the hidden states after the layers passed, by text, tokens x
// hidden; the caller must not change them, and Advance does.
func (s *Stack) States() [][]float32 { return s.x }

// Bytes returns the memory of the hidden states.
func (s *Stack) Bytes() int64 {
	n := int64(0)
	for _, x := range s.x {
		n += 4 * int64(len(x))
	}
	return n
}

// Input gives f, text by text, what enters the matrices of a kind ("q" stands
// for "k" and "v", "gate" for "up") in the layer after those passed; "head",
// when all are, is what enters the output head. x is valid during the call.
func (s *Stack) Input(ctx context.Context, m *Model, kind string, f func(x []float32, rows, cols int) error) error {
	c := m.Config
	return s.each(ctx, m, func(t *Session, i, n int) error {
		b, e := &t.buf, m.Engine
		if kind == "head" {
			t.normalize(n, m.norm, b.norm, false)
			return f(b.norm[:n*c.Hidden], n, c.Hidden)
		}
		l := &m.layers[s.done]
		t.normalize(n, l.attnNorm, b.norm, false)
		if kind == "q" {
			return f(b.norm[:n*c.Hidden], n, c.Hidden)
		}
		if err := t.attend(ctx, s.done, n); err != nil {
			return err
		}
		if kind == "o" {
			return f(b.attn[:n*c.Heads*c.HeadDim], n, c.Heads*c.HeadDim)
		}
		if err := t.mul(ctx, b.attn, n, c.Heads*c.HeadDim, output{&l.o, b.norm}); err != nil {
			return err
		}
		e.Add(b.x[:n*c.Hidden], b.norm[:n*c.Hidden])
		t.normalize(n, l.mlpNorm, b.norm, false)
		if kind == "gate" {
			return f(b.norm[:n*c.Hidden], n, c.Hidden)
		}
		if err := t.gate(ctx, s.done, n); err != nil {
			return err
		}
		return f(b.gate[:n*c.Intermediate], n, c.Intermediate)
	})
}

// Advance passes a layer. When ctx ends the stack must not be used any more.
func (s *Stack) Advance(ctx context.Context, m *Model) error {
	h := m.Config.Hidden
	err := s.each(ctx, m, func(t *Session, i, n int) error {
		l, b := &m.layers[s.done], &t.buf
		t.normalize(n, l.attnNorm, b.norm, false)
		if err := t.attention(ctx, s.done, n); err != nil {
			return err
		}
		t.normalize(n, l.mlpNorm, b.norm, true)
		if err := t.feedForward(ctx, s.done, n); err != nil {
			return err
		}
		m.Engine.Add(b.x[:n*h], b.norm[:n*h])
		copy(s.x[i], b.x[:n*h])
		return nil
	})
	s.done++
	return err
}

// each runs f on every text, its hidden states in the session's buffer.
func (s *Stack) each(ctx context.Context, m *Model, f func(t *Session, i, n int) error) error {
	t := m.newSession(0, kernels.F32)
	for i, x := range s.x {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := len(s.texts[i])
		t.resize(n)
		copy(t.buf.x, x)
		if s.done < len(t.kv) {
			t.kv[s.done].Reserve(nil, n, 0)
		}
		if err := f(t, i, n); err != nil {
			return err
		}
	}
	return nil
}

// Clone returns a stack that goes its own way from here.
func (s *Stack) Clone() *Stack {
	c := &Stack{texts: s.texts, done: s.done}
	for _, x := range s.x {
		c.x = append(c.x, slices.Clone(x))
	}
	return c
}
