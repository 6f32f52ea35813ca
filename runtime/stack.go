package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"nibble/kernels"
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
	h := m.Config.Hidden
	s := &Stack{texts: texts}
	for i, text := range texts {
		if len(text) == 0 || len(text) > m.Config.Positions {
			return nil, fmt.Errorf("text %d has %d tokens; 1 to %d fit the model", i, len(text), m.Config.Positions)
		}
		if err := m.Config.CheckTokens(text); err != nil {
			return nil, err
		}
		x := make([]float32, len(text)*h)
		for j, t := range text {
			m.embedRow(x[j*h:(j+1)*h], t, j)
		}
		s.x, s.kept = append(s.x, x), append(s.kept, map[int]*kernels.KVCache{})
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
		if s.done == len(m.graph.blocks) {
			t.normalize(n, m.graph.norm, t.buf.norm, false)
			return f(t.buf.norm[:n*m.Config.Hidden], n, m.Config.Hidden)
		}
		t.probe = &probe{input, f}
		defer func() { t.probe = nil }()
		_, err := t.block(ctx, &m.graph.blocks[s.done], n, false)
		if errors.Is(err, errProbed) {
			return nil
		}
		return err
	})
}

// probe stops a block where a matrix is about to read an input.
type probe struct {
	input string
	f     func(x []float32, rows, cols int) error
}

// errProbed ends a block when a probe has what it wants.
var errProbed = errors.New("the input is reached")

func (p *probe) take(x []float32, rows, cols int) error {
	if err := p.f(x, rows, cols); err != nil {
		return err
	}
	return errProbed
}

// Advance passes a layer. When ctx ends the stack must not be used any more.
func (s *Stack) Advance(ctx context.Context, m *Model) error {
	h := m.Config.Hidden
	err := s.each(ctx, m, func(t *Session, i, n int) error {
		pending, err := t.block(ctx, &m.graph.blocks[s.done], n, false)
		if err != nil {
			return err
		}
		t.normalize(n, nil, nil, pending)
		copy(s.x[i], t.buf.x[:n*h])
		for _, c := range m.graph.blocks[s.done].shared {
			s.kept[i][c] = t.kv[c]
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
	t.buf.x, t.buf.norm = resize(t.buf.x, len(x)), resize(t.buf.norm, len(x))
	if m.graph.embed.perLayer != nil {
		h := m.Config.Hidden
		t.rows(n, func(r int) { m.embedRow(t.buf.x[r*h:(r+1)*h], s.texts[i][r], r) })
		if err := t.embedLayers(ctx, s.texts[i], t.buf.x[:len(x)]); err != nil {
			return err
		}
	}
	copy(t.buf.x, x)
	if s.done == len(m.graph.blocks) {
		return nil
	}
	b := &m.graph.blocks[s.done]
	for _, c := range b.caches {
		if kv := s.kept[i][c]; kv != nil {
			t.kv[c] = kv
			continue
		}
		if slices.Contains(b.shared, c) {
			t.kv[c] = m.graph.caches[c].start(kernels.F32) // that of the text before is kept
		}
		t.kv[c].Reserve(nil, n, 0)
	}
	t.restart()
	return nil
}

// Borrowed returns, text by text, the keys and values of another layer that the layer
// after those passed uses, tokens x elements; they are nil where it has its own.
func (s *Stack) Borrowed(m *Model) (keys, values [][]float32) {
	for _, c := range m.graph.blocks[s.done].caches {
		shape := m.graph.caches[c]
		width := shape.heads * shape.dim
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
	p := m.graph.embed.perLayer
	if p == nil {
		return nil, nil
	}
	all := p.width * len(m.graph.blocks)
	err = s.each(ctx, m, func(t *Session, i, n int) error {
		own := make([]float32, n*p.width)
		for r := range n {
			copy(own[r*p.width:(r+1)*p.width], t.buf.perLayer[r*all+s.done*p.width:])
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
