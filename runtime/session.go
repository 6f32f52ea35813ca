package runtime

import (
	"context"
	"errors"
	"fmt"

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
	buf    buffers
	tap    Tap
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
// values are kept in F16, as is usual; see NewExactSession.
func (m *Model) NewSession(ctxLen int) *Session { return m.newSession(ctxLen, kernels.F16) }

// NewExactSession is NewSession with keys and values in float32: for measuring
// what the weights lose and nothing else.
func (m *Model) NewExactSession(ctxLen int) *Session { return m.newSession(ctxLen, kernels.F32) }

func (m *Model) newSession(ctxLen int, dt kernels.DType) *Session {
	c := m.Config
	if ctxLen <= 0 || ctxLen > c.MaxPositions {
		ctxLen = c.MaxPositions
	}
	s := &Session{m: m, limit: ctxLen, kv: make([]*kernels.KVCache, c.Layers)}
	for i := range s.kv {
		kv, err := kernels.NewKVCache(c.KVHeads, c.HeadDim, dt)
		if err != nil {
			panic(err) // a Config is validated
		}
		s.kv[i] = kv
	}
	s.buf.acts = m.Engine.NewActs()
	return s
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
	for _, t := range tokens {
		if t < 0 || int(t) >= s.m.Config.VocabSize {
			return nil, fmt.Errorf("token %d is outside the vocabulary of %d", t, s.m.Config.VocabSize)
		}
	}
	s.reserve(start + len(tokens))
	h := s.m.Config.Hidden
	s.buf.hidden = resize(s.buf.hidden, len(tokens)*h)
	for at := 0; at < len(tokens); at += chunkTokens {
		chunk := tokens[at:min(at+chunkTokens, len(tokens))]
		if err := s.chunk(ctx, chunk, s.buf.hidden[at*h:(at+len(chunk))*h]); err != nil {
			s.Truncate(start)
			return nil, err
		}
	}
	return s.buf.hidden, nil
}

// reserve grows the cache to hold n positions.
func (s *Session) reserve(n int) {
	for _, kv := range s.kv {
		if n > kv.Cap() {
			kv.Reserve(min(max(n, 2*kv.Cap(), 256), s.limit), len(s.tokens))
		}
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
	m, c, b := s.m, s.m.Config, &s.buf
	n, h := len(tokens), c.Hidden
	b.x = resize(b.x, n*h)
	b.norm = resize(b.norm, n*h)
	b.q = resize(b.q, n*c.Heads*c.HeadDim)
	b.k = resize(b.k, n*c.KVHeads*c.HeadDim)
	b.v = resize(b.v, n*c.KVHeads*c.HeadDim)
	b.attn = resize(b.attn, n*c.Heads*c.HeadDim)
	b.gate = resize(b.gate, n*c.Intermediate)
	b.up = resize(b.up, n*c.Intermediate)
	for i, t := range tokens {
		m.embed.Row(b.x[i*h:(i+1)*h], int(t))
	}
	for i := range m.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.attention(i, n)
		s.feedForward(i, n)
	}
	s.rows(n, func(r int) { m.Engine.RMSNorm(out[r*h:(r+1)*h], b.x[r*h:(r+1)*h], m.norm, c.RMSEps) })
	s.tokens = append(s.tokens, tokens...)
	return nil
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

func (s *Session) attention(i, n int) {
	m, c, b, l := s.m, s.m.Config, &s.buf, &s.m.layers[i]
	h, width := c.Hidden, c.Heads*c.HeadDim
	s.rows(n, func(r int) {
		m.Engine.RMSNorm(b.norm[r*h:(r+1)*h], b.x[r*h:(r+1)*h], l.attnNorm, c.RMSEps)
	})
	s.mul(b.norm, n, h, output{&l.q, b.q}, output{&l.k, b.k}, output{&l.v, b.v})
	pos := len(s.tokens)
	s.store(i, n, pos)
	m.Engine.Attention(b.attn[:n*width], b.q, s.kv[i], c.Heads, n, pos)
	s.mul(b.attn, n, width, output{&l.o, b.norm})
	m.Engine.Add(b.x[:n*h], b.norm[:n*h])
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
		e.Store(s.kv[i], p, keys, values)
	})
}

func (s *Session) feedForward(i, n int) {
	m, c, b, l := s.m, s.m.Config, &s.buf, &s.m.layers[i]
	h, f := c.Hidden, c.Intermediate
	s.rows(n, func(r int) {
		m.Engine.RMSNorm(b.norm[r*h:(r+1)*h], b.x[r*h:(r+1)*h], l.mlpNorm, c.RMSEps)
	})
	s.mul(b.norm, n, h, output{&l.gate, b.gate}, output{&l.up, b.up})
	s.rows(n, func(r int) {
		s.m.Engine.SwiGLU(b.gate[r*f:(r+1)*f], b.gate[r*f:(r+1)*f], b.up[r*f:(r+1)*f])
	})
	s.mul(b.gate, n, f, output{&l.down, b.norm})
	m.Engine.Add(b.x[:n*h], b.norm[:n*h])
}

// output is one matrix and where its result goes.
type output struct {
	l   *linear
	dst []float32
}

// mul multiplies n rows of x by several matrices that read the same activations.
func (s *Session) mul(x []float32, n, k int, outs ...output) {
	var products [3]kernels.Product
	for i, o := range outs {
		products[i] = kernels.Product{W: o.l.Linear, Dst: o.dst}
		if s.tap != nil {
			s.tap(o.l.name, x[:n*k], n, k)
		}
	}
	s.buf.acts.Set(x, n, k)
	s.m.Engine.MatMul(s.buf.acts, products[:len(outs)]...)
	for _, o := range outs {
		if o.l.bias == nil {
			continue
		}
		w := len(o.l.bias)
		for r := range n {
			s.m.Engine.Add(o.dst[r*w:(r+1)*w], o.l.bias)
		}
	}
}

// Logits multiplies n hidden states by the output head; dst is n x VocabSize.
// Sessions may call it concurrently with a buffer of their own.
func (m *Model) Logits(acts *kernels.Acts, dst, hidden []float32, n int) {
	acts.Set(hidden, n, m.Config.Hidden)
	m.Engine.MatMul(acts, kernels.Product{W: m.head, Dst: dst[:n*m.Config.VocabSize]})
}
