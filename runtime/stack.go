package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"nibble/kernels"
	"nibble/runtime/graph"
)

// Stack takes several texts through a model layer by layer: only the hidden
// states of the texts exist, whatever the depth, and the model may change on the
// way. Calibration works so: a layer is quantized for the inputs it gets from
// the quantized layers before it.
type Stack struct {
	texts [][]int32
	x     [][]float32                // the residual stream of every text, len x hidden
	kept  []map[int]*kernels.KVCache // of every text, keys and values that later layers share
	done  int                        // layers passed
}

// NewStack embeds the texts.
func (m *Model) NewStack(texts [][]int32) (*Stack, error) {
	s := &Stack{texts: texts}
	longest := 1
	for i, text := range texts {
		if len(text) == 0 || len(text) > m.Config.Positions {
			return nil, fmt.Errorf("text %d has %d tokens; 1 to %d fit the model", i, len(text), m.Config.Positions)
		}
		if err := m.Config.CheckTokens(text); err != nil {
			return nil, err
		}
		longest = max(longest, len(text))
	}
	t := m.newSession(longest, kernels.F32)
	for _, text := range texts {
		if err := t.pass.Embed(context.Background(), text, 0); err != nil {
			return nil, err
		}
		s.x, s.kept = append(s.x, slices.Clone(t.pass.Stream().Data)), append(s.kept, map[int]*kernels.KVCache{})
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

// Input gives f, text by text, what enters the matrices that read an input (see
// arch.Linear) of the layer after those passed, or of the head when all are. A
// text of which no token reaches them, because it chose other experts, is left
// out. x is valid during the call.
func (s *Stack) Input(ctx context.Context, m *Model, input string, f func(x []float32, rows, cols int) error) error {
	return s.each(ctx, m, func(t *Session, i, n int) error {
		if s.done == len(m.graph.Blocks) {
			states := kernels.NewMatrix(n, m.Config.Hidden)
			t.pass.Finish(states.Data)
			x, err := m.graph.Head.Enter(ctx, m.Engine, states)
			if err != nil {
				return err
			}
			return f(x.Data, n, x.Cols)
		}
		t.pass.Site = func(l *graph.Linear, x kernels.Matrix) error {
			if l.Input != input {
				return nil
			}
			if err := f(x.Data, x.Rows, x.Cols); err != nil {
				return err
			}
			return errReached
		}
		defer func() { t.pass.Site = nil }()
		err := t.pass.Block(ctx, s.done)
		if errors.Is(err, errReached) {
			return nil
		}
		return err
	})
}

// errReached ends a block when what was asked for is there.
var errReached = errors.New("the input is reached")

// Advance passes a layer. When ctx ends the stack must not be used any more.
func (s *Stack) Advance(ctx context.Context, m *Model) error {
	err := s.each(ctx, m, func(t *Session, i, n int) error {
		if err := t.pass.Block(ctx, s.done); err != nil {
			return err
		}
		copy(s.x[i], t.pass.Stream().Data)
		for _, c := range m.graph.Blocks[s.done].Shared {
			s.kept[i][c] = t.cache.KV[c]
		}
		return nil
	})
	s.done++
	return err
}

// each runs f on every text, its hidden states in the session's buffer.
func (s *Stack) each(ctx context.Context, m *Model, f func(t *Session, i, n int) error) error {
	longest := 1
	for _, text := range s.texts {
		longest = max(longest, len(text))
	}
	t := m.newSession(longest, kernels.F32)
	for i, x := range s.x {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := len(s.texts[i])
		if err := s.prepare(ctx, t, i, x); err != nil {
			return err
		}
		if err := f(t, i, n); err != nil {
			return err
		}
	}
	return nil
}

// prepare puts a text into a session: its hidden states, room for keys and values,
// and the inputs of layers that do not depend on those.
func (s *Stack) prepare(ctx context.Context, t *Session, i int, x []float32) error {
	m, n := t.m, len(s.texts[i])
	if m.Config.Embed.PerLayer != nil {
		if err := t.pass.Embed(ctx, s.texts[i], 0); err != nil {
			return err
		}
		copy(t.pass.Stream().Data, x)
	} else {
		copy(t.pass.Begin(n, 0).Data, x)
	}
	if s.done == len(m.graph.Blocks) {
		return nil
	}
	b := &m.graph.Blocks[s.done]
	for _, c := range b.Caches {
		if kv := s.kept[i][c]; kv != nil {
			t.cache.KV[c] = kv
			continue
		}
		if slices.Contains(b.Shared, c) {
			t.cache.KV[c] = m.graph.NewKV(c, kernels.F32) // that of the text before is kept
		}
		t.cache.KV[c].Reserve(nil, n, 0)
	}
	t.restart()
	return nil
}

// Borrowed returns, text by text, the keys and values of another layer that the layer
// after those passed uses, tokens x elements; they are nil where it has its own.
func (s *Stack) Borrowed(m *Model) (keys, values [][]float32) {
	for _, c := range m.graph.Blocks[s.done].Caches {
		width := m.graph.Width(c)
		for i, kept := range s.kept {
			kv := kept[c]
			if kv == nil {
				break // it is the layer's own
			}
			k, v := make([]float32, len(s.texts[i])*width), make([]float32, len(s.texts[i])*width)
			for p := range s.texts[i] {
				kv.Load(p, k[p*width:(p+1)*width], v[p*width:(p+1)*width])
			}
			keys, values = append(keys, k), append(values, v)
		}
	}
	return keys, values
}

// LayerInputs returns, text by text, what the layer after those passed gets besides
// the stream (see arch.PerLayer), tokens x width; it is nil for nothing.
func (s *Stack) LayerInputs(ctx context.Context, m *Model) (inputs [][]float32, err error) {
	p := m.Config.Embed.PerLayer
	if p == nil {
		return nil, nil
	}
	err = s.each(ctx, m, func(t *Session, i, n int) error {
		own, all := make([]float32, 0, n*p.Width), t.pass.PerLayer()
		for r := range n {
			own = append(own, all.Row(r)[s.done*p.Width:][:p.Width]...)
		}
		inputs = append(inputs, own)
		return nil
	})
	return inputs, err
}

// Clone returns a stack that goes its own way from here.
func (s *Stack) Clone() *Stack {
	c := &Stack{texts: s.texts, done: s.done}
	for _, x := range s.x {
		c.x = append(c.x, slices.Clone(x))
	}
	for _, kept := range s.kept {
		c.kept = append(c.kept, maps.Clone(kept))
	}
	return c
}
