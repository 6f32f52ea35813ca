package runtime

import (
	"context"
	"errors"
	"fmt"

	"nibble/kernels"
	"nibble/runtime/graph"
)

// ErrContextFull reports that a session has no room for more tokens.
var ErrContextFull = errors.New("context is full")

// Tap receives the activations that enter a matrix: rows of cols, row-major,
// valid during the call. It serves calibration.
type Tap func(module string, x []float32, rows, cols int)

// Session is one text in progress: its tokens, and what the steps keep of them.
type Session struct {
	m      *Model
	tokens []int32
	limit  int // positions allowed
	cache  graph.Cache
	memory *kernels.Arena // of keys and values
	pass   *graph.Pass
	valid  int        // the tokens that the states have seen
	saved  []snapshot // earlier states, the oldest first
	hidden []float32  // the last states of the last call
	tap    Tap
}

// chunkTokens bounds the tokens that go through the layers at once: enough for
// the kernels to reuse weights, few enough for activations to stay in cache.
const chunkTokens = 512

// NewSession starts an empty text of at most ctxLen tokens; 0 and anything
// beyond the model's own limit mean that limit. Memory grows with use. Keys and
// values are kept in F16, as is usual, until a text has some that F16 does not
// hold; see [Session.BeyondF16].
func (m *Model) NewSession(ctxLen int) *Session { return m.newSession(ctxLen, kernels.F16) }

// NewExactSession is NewSession with keys and values in float32 from the start:
// for measuring what the weights lose and nothing else.
func (m *Model) NewExactSession(ctxLen int) *Session { return m.newSession(ctxLen, kernels.F32) }

func (m *Model) newSession(ctxLen int, dt kernels.DType) *Session {
	if ctxLen <= 0 || ctxLen > m.Config.Positions {
		ctxLen = m.Config.Positions
	}
	s := &Session{m: m, limit: ctxLen}
	s.cache.KV, s.cache.States = m.graph.NewKVs(dt), m.graph.NewStates()
	s.pass = m.graph.NewPass(&s.cache)
	s.pass.Length = ctxLen
	return s
}

// SetTap installs a tap, or removes it when nil.
func (s *Session) SetTap(t Tap) {
	s.tap, s.pass.Site = t, nil
	if t != nil {
		s.pass.Site = func(l *graph.Linear, x kernels.Matrix) error {
			t(l.Path, x.Data, x.Rows, x.Cols)
			return nil
		}
	}
}

// Len returns the number of tokens in the cache.
func (s *Session) Len() int { return len(s.tokens) }

// Limit returns the most tokens the session can hold.
func (s *Session) Limit() int { return s.limit }

// Tokens returns the tokens in the cache; the caller must not change them.
func (s *Session) Tokens() []int32 { return s.tokens }

// Truncate forgets every token after the first n.
func (s *Session) Truncate(n int) {
	s.tokens = s.tokens[:max(0, min(n, len(s.tokens)))]
	if len(s.tokens) < s.valid {
		s.rewind(len(s.tokens))
	}
}

// Bytes returns the memory of the caches and states.
func (s *Session) Bytes() int64 {
	n := int64(0)
	for _, kv := range s.cache.KV {
		n += kv.Bytes()
	}
	for _, t := range s.cache.States {
		n += t.Bytes() * int64(1+len(s.saved))
	}
	return n
}

// Forward appends tokens and returns their final hidden states after the last
// normalization, len(tokens) x Hidden, valid until the next call. When ctx ends
// the session is as it was before the call.
func (s *Session) Forward(ctx context.Context, tokens []int32) ([]float32, error) {
	start := len(s.tokens)
	if start+len(tokens) > s.limit {
		return nil, fmt.Errorf("%w: %d tokens and %d more exceed %d", ErrContextFull, start, len(tokens), s.limit)
	}
	if err := s.m.Config.CheckTokens(tokens); err != nil {
		return nil, err
	}
	s.reserve(start + len(tokens))
	h := s.m.Config.Hidden
	if err := s.replay(ctx); err != nil {
		return nil, err
	}
	s.hidden = resize(s.hidden, len(tokens)*h)
	for at := 0; at < len(tokens); at += chunkTokens {
		chunk := tokens[at:min(at+chunkTokens, len(tokens))]
		out := s.hidden[at*h : (at+len(chunk))*h]
		err := s.chunk(ctx, chunk, out)
		if errors.Is(err, graph.ErrBeyondF16) {
			if err = s.widen(ctx, start+len(tokens)); err == nil {
				err = s.chunk(ctx, chunk, out)
			}
		}
		if err != nil {
			s.valid = max(s.valid, start+1) // whatever the states are, they are not those of start
			s.Truncate(start)
			return nil, err
		}
	}
	if len(tokens) > 1 {
		s.save()
	}
	return s.hidden, nil
}

// reserve grows the caches to hold n positions.
func (s *Session) reserve(n int) {
	kvs := s.cache.KV
	if len(kvs) == 0 || n <= kvs[0].Cap() {
		return
	}
	old, room := s.memory, min(max(n, 2*kvs[0].Cap(), 256), s.limit)
	bytes := int64(0)
	for _, kv := range kvs {
		bytes += kv.ReserveBytes(room)
	}
	s.memory = kernels.NewArena(bytes)
	for _, kv := range kvs {
		kv.Reserve(s.memory, room, len(s.tokens))
	}
	if old != nil {
		old.Free()
	}
}

func resize(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// chunk runs the blocks over tokens whose positions follow those in the caches.
func (s *Session) chunk(ctx context.Context, tokens []int32, out []float32) error {
	if err := s.pass.Embed(ctx, tokens, len(s.tokens)); err != nil {
		return err
	}
	for i := range s.m.graph.Blocks {
		if err := s.pass.Block(ctx, i); err != nil {
			return err
		}
	}
	s.pass.Finish(out)
	s.tokens = append(s.tokens, tokens...)
	s.valid = len(s.tokens)
	return nil
}

// Expect says how many positions the text will have at most; without it, as many as
// the session allows. Models with rotations of their own for long texts compute
// others then: what the session holds is forgotten where that changes.
func (s *Session) Expect(length int) {
	if from := s.m.graph.LongFrom(); from > 0 && (s.pass.Length > from) != (length > from) {
		s.Truncate(0)
	}
	s.pass.Length = length
}

// Logits multiplies n hidden states by the output head; dst is n x Vocab.
// Sessions may call it concurrently with a buffer of their own.
func (m *Model) Logits(acts *kernels.Acts, dst, hidden []float32, n int) {
	m.graph.Head.Logits(m.Engine, acts, dst, hidden, n)
}

// Head is what turns hidden states into logits.
func (m *Model) Head() graph.Head { return m.graph.Head }
