package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"nibble/kernels"
)

// ErrContextFull reports that a session has no room for more tokens.
var ErrContextFull = errors.New("context is full")

// Tap receives the activations that enter a matrix: rows of cols, row-major,
// valid during the call. It serves calibration.
type Tap func(module string, x []float32, rows, cols int)

// Session is one text in progress: its tokens and their keys and values.
type Session struct {
	m      *Model
	tokens []int32
	limit  int                // positions allowed
	kv     []*kernels.KVCache // by layer
	cache  *kernels.Arena     // their memory
	buf    buffers
	tap    Tap
	beyond atomic.Bool // F16 does not hold some keys or values
}

// buffers are the activations of one chunk.
type buffers struct {
	x, norm, q, k, v, attn, gate, up, hidden []float32
	acts                                     *kernels.Acts
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
	c := m.Config
	if ctxLen <= 0 || ctxLen > c.MaxPositions {
		ctxLen = c.MaxPositions
	}
	s := &Session{m: m, limit: ctxLen, kv: m.newCaches(dt)}
	s.buf.acts = m.Engine.NewActs()
	return s
}

// newCaches returns empty caches for all layers.
func (m *Model) newCaches(dt kernels.DType) []*kernels.KVCache {
	kvs := make([]*kernels.KVCache, m.Config.Layers)
	for i := range kvs {
		kv, err := kernels.NewKVCache(m.Config.KVHeads, m.Config.HeadDim, dt)
		if err != nil {
			panic(err) // a Config is validated
		}
		kvs[i] = kv
	}
	return kvs
}

// SetTap installs a tap, or removes it when nil.
func (s *Session) SetTap(t Tap) { s.tap = t }

// Len returns the number of tokens in the cache.
func (s *Session) Len() int { return len(s.tokens) }

// Limit returns the most tokens the session can hold.
func (s *Session) Limit() int { return s.limit }

// Tokens returns the tokens in the cache; the caller must not change them.
func (s *Session) Tokens() []int32 { return s.tokens }

// Truncate forgets every token after the first n.
func (s *Session) Truncate(n int) {
	s.tokens = s.tokens[:max(0, min(n, len(s.tokens)))]
}

// Bytes returns the memory of the KV cache.
func (s *Session) Bytes() int64 {
	n := int64(0)
	for _, kv := range s.kv {
		n += kv.Bytes()
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
	s.buf.hidden = resize(s.buf.hidden, len(tokens)*h)
	for at := 0; at < len(tokens); at += chunkTokens {
		chunk := tokens[at:min(at+chunkTokens, len(tokens))]
		out := s.buf.hidden[at*h : (at+len(chunk))*h]
		err := s.chunk(ctx, chunk, out)
		if errors.Is(err, errBeyondF16) {
			if err = s.widen(ctx, start+len(tokens)); err == nil {
				err = s.chunk(ctx, chunk, out)
			}
		}
		if err != nil {
			s.Truncate(start)
			return nil, err
		}
	}
	return s.buf.hidden, nil
}

// reserve grows the cache to hold n positions.
func (s *Session) reserve(n int) {
	first := s.kv[0]
	if n <= first.Cap() {
		return
	}
	old, room := s.cache, min(max(n, 2*first.Cap(), 256), s.limit)
	s.cache = kernels.NewArena(int64(len(s.kv)) * first.ReserveBytes(room))
	for _, kv := range s.kv {
		kv.Reserve(s.cache, room, len(s.tokens))
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

// chunk runs the layers over tokens whose positions follow those in the cache.
func (s *Session) chunk(ctx context.Context, tokens []int32, out []float32) error {
	m, b := s.m, &s.buf
	n, h := len(tokens), m.Config.Hidden
	s.resize(n)
	s.rows(n, func(r int) { m.embed.Row(b.x[r*h:(r+1)*h], int(tokens[r])) })
	for i := range m.layers {
		l := &m.layers[i]
		s.normalize(n, l.attnNorm, b.norm, i > 0)
		if err := s.attention(ctx, i, n); err != nil {
			return err
		}
		s.normalize(n, l.mlpNorm, b.norm, true)
		if err := s.feedForward(ctx, i, n); err != nil {
			return err
		}
	}
	s.normalize(n, m.norm, out, true)
	s.tokens = append(s.tokens, tokens...)
	return nil
}

// resize prepares the buffers for n rows.
func (s *Session) resize(n int) {
	c, b := s.m.Config, &s.buf
	b.x = resize(b.x, n*c.Hidden)
	b.norm = resize(b.norm, n*c.Hidden)
	b.q = resize(b.q, n*c.Heads*c.HeadDim)
	b.k = resize(b.k, n*c.KVHeads*c.HeadDim)
	b.v = resize(b.v, n*c.KVHeads*c.HeadDim)
	b.attn = resize(b.attn, n*c.Heads*c.HeadDim)
	b.gate = resize(b.gate, n*c.Intermediate)
	b.up = resize(b.up, n*c.Intermediate)
}

// normalize adds what the last half of a layer left in b.norm to the residual
// stream, if there is any, and writes the stream's normalized rows to out.
func (s *Session) normalize(n int, w, out []float32, add bool) {
	e, b, h := s.m.Engine, &s.buf, s.m.Config.Hidden
	s.rows(n, func(r int) {
		x := b.x[r*h : (r+1)*h]
		if add {
			e.Add(x, b.norm[r*h:(r+1)*h])
		}
		e.RMSNorm(out[r*h:(r+1)*h], x, w, s.m.Config.RMSEps)
	})
}

// rows runs f for each of n rows, in parallel when there are several.
func (s *Session) rows(n int, f func(r int)) {
	if n == 1 {
		f(0)
		return
	}
	s.m.Engine.For(n, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			f(r)
		}
	})
}

// attention turns the normalized rows into the attention's part of the residual
// stream, in b.norm.
func (s *Session) attention(ctx context.Context, i, n int) error {
	if err := s.attend(ctx, i, n); err != nil {
		return err
	}
	return s.mul(ctx, s.buf.attn, n, s.m.Config.Heads*s.m.Config.HeadDim, output{&s.m.layers[i].o, s.buf.norm})
}

// attend does so up to the output matrix, whose input it leaves in b.attn.
func (s *Session) attend(ctx context.Context, i, n int) error {
	c, b, l := s.m.Config, &s.buf, &s.m.layers[i]
	if err := s.mul(ctx, b.norm, n, c.Hidden, output{&l.q, b.q}, output{&l.k, b.k}, output{&l.v, b.v}); err != nil {
		return err
	}
	pos := len(s.tokens)
	if s.store(i, n, pos); s.beyond.Load() && s.kv[i].DType() == kernels.F16 {
		return errBeyondF16
	}
	return s.m.Engine.Attention(ctx, b.attn[:n*c.Heads*c.HeadDim], b.q, s.kv[i], c.Heads, n, pos, kernels.AttentionRule{})
}

// store rotates the chunk's queries and keys and puts keys and values into the
// cache.
func (s *Session) store(i, n, pos int) {
	c, b, e := s.m.Config, &s.buf, s.m.Engine
	d, half := c.HeadDim, c.HeadDim/2
	cos, sin := s.m.rope.tables(pos + n)
	s.rows(n, func(r int) {
		p := pos + r
		pc, ps := cos[p*half:(p+1)*half], sin[p*half:(p+1)*half]
		keys, values := b.k[r*c.KVHeads*d:][:c.KVHeads*d], b.v[r*c.KVHeads*d:][:c.KVHeads*d]
		for q := b.q[r*c.Heads*d:][:c.Heads*d]; len(q) > 0; q = q[d:] {
			e.Rotate(q[:half], q[half:d], pc, ps)
		}
		for k := keys; len(k) > 0; k = k[d:] {
			e.Rotate(k[:half], k[half:d], pc, ps)
		}
		if !e.Store(s.kv[i], p, keys, values) {
			s.beyond.Store(true)
		}
	})
}

// feedForward does the same for the second half of a layer.
func (s *Session) feedForward(ctx context.Context, i, n int) error {
	if err := s.gate(ctx, i, n); err != nil {
		return err
	}
	return s.mul(ctx, s.buf.gate, n, s.m.Config.Intermediate, output{&s.m.layers[i].down, s.buf.norm})
}

// gate does so up to the down projection, whose input it leaves in b.gate.
func (s *Session) gate(ctx context.Context, i, n int) error {
	c, b, l := s.m.Config, &s.buf, &s.m.layers[i]
	if err := s.mul(ctx, b.norm, n, c.Hidden, output{&l.gate, b.gate}, output{&l.up, b.up}); err != nil {
		return err
	}
	f := c.Intermediate
	s.rows(n, func(r int) {
		s.m.Engine.SwiGLU(b.gate[r*f:(r+1)*f], b.gate[r*f:(r+1)*f], b.up[r*f:(r+1)*f])
	})
	return nil
}

// output is one matrix and where its result goes.
type output struct {
	l   *linear
	dst []float32
}

// mul multiplies n rows of x by several matrices that read the same activations.
func (s *Session) mul(ctx context.Context, x []float32, n, k int, outs ...output) error {
	var products [3]kernels.Product
	for i, o := range outs {
		products[i] = kernels.Product{W: o.l.Linear, Dst: o.dst}
		if s.tap != nil {
			s.tap(o.l.name, x[:n*k], n, k)
		}
	}
	s.buf.acts.Set(x, n, k)
	if err := s.m.Engine.MatMul(ctx, s.buf.acts, products[:len(outs)]...); err != nil {
		return err
	}
	for _, o := range outs {
		if o.l.bias == nil {
			continue
		}
		w := len(o.l.bias)
		for r := range n {
			s.m.Engine.Add(o.dst[r*w:(r+1)*w], o.l.bias)
		}
	}
	return nil
}

// Logits multiplies n hidden states by the output head; dst is n x VocabSize.
// Sessions may call it concurrently with a buffer of their own.
func (m *Model) Logits(acts *kernels.Acts, dst, hidden []float32, n int) {
	acts.Set(hidden, n, m.Config.Hidden)
	// Without an end to its context, MatMul has no error.
	_ = m.Engine.MatMul(context.Background(), acts, kernels.Product{W: m.head, Dst: dst[:n*m.Config.VocabSize]})
}
