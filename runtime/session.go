package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"nibble/kernels"
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
	limit  int                // positions allowed
	length int                // positions that the text is expected to have, see Expect
	kv     []*kernels.KVCache // of the steps that keep keys and values
	cache  *kernels.Arena     // their memory
	states []state            // of the steps that keep a state, after valid tokens
	valid  int
	saved  []snapshot // earlier states, the oldest first
	buf    buffers
	tap    Tap
	probe  *probe
	beyond atomic.Bool // F16 does not hold some keys or values
}

// buffers are the activations of one chunk.
type buffers struct {
	x, norm, q, k, v, attn, gate, up, hidden []float32
	delta                                    []float32 // the sum of several branches
	wide                                     []float32 // what a fused matrix gives
	perLayer                                 []float32 // inputs of all blocks
	routed, scores, gathered, given, mixed   []float32 // of experts
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
	if ctxLen <= 0 || ctxLen > m.Config.Positions {
		ctxLen = m.Config.Positions
	}
	s := &Session{m: m, limit: ctxLen, length: ctxLen, kv: m.newCaches(dt)}
	s.restart()
	s.buf.acts = m.Engine.NewActs()
	return s
}

// newCaches returns empty caches for all steps that keep keys and values.
func (m *Model) newCaches(dt kernels.DType) []*kernels.KVCache {
	var kvs []*kernels.KVCache
	for _, c := range m.graph.caches {
		kvs = append(kvs, c.start(dt))
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
	if len(s.tokens) < s.valid {
		s.rewind(len(s.tokens))
	}
}

// Bytes returns the memory of the caches and states.
func (s *Session) Bytes() int64 {
	n := int64(0)
	for _, kv := range s.kv {
		n += kv.Bytes()
	}
	for _, t := range s.states {
		n += 4 * int64(len(t.tail)+len(t.cells)) * int64(1+len(s.saved))
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
			s.valid = max(s.valid, start+1) // whatever the states are, they are not those of start
			s.Truncate(start)
			return nil, err
		}
	}
	if len(tokens) > 1 {
		s.save()
	}
	return s.buf.hidden, nil
}

// reserve grows the caches to hold n positions.
func (s *Session) reserve(n int) {
	if len(s.kv) == 0 || n <= s.kv[0].Cap() {
		return
	}
	old, room := s.cache, min(max(n, 2*s.kv[0].Cap(), 256), s.limit)
	bytes := int64(0)
	for _, kv := range s.kv {
		bytes += kv.ReserveBytes(room)
	}
	s.cache = kernels.NewArena(bytes)
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

// chunk runs the blocks over tokens whose positions follow those in the caches.
func (s *Session) chunk(ctx context.Context, tokens []int32, out []float32) error {
	m, b := s.m, &s.buf
	n, h := len(tokens), m.Config.Hidden
	b.x, b.norm = resize(b.x, n*h), resize(b.norm, n*h)
	pos := len(s.tokens)
	s.rows(n, func(r int) { m.embedRow(b.x[r*h:(r+1)*h], tokens[r], pos+r) })
	if err := s.embedLayers(ctx, tokens, b.x[:n*h]); err != nil {
		return err
	}
	pending := false
	for i := range m.graph.blocks {
		var err error
		if pending, err = s.block(ctx, &m.graph.blocks[i], n, pending); err != nil {
			return err
		}
	}
	s.normalize(n, m.graph.norm, out, pending)
	s.tokens = append(s.tokens, tokens...)
	s.valid = len(s.tokens)
	return nil
}

// block runs a block over n rows of the stream. What the last step adds may be
// pending in b.norm: the next normalization adds it on its way.
func (s *Session) block(ctx context.Context, b *block, n int, pending bool) (bool, error) {
	if b.parallel {
		s.normalize(n, nil, nil, pending)
		if err := s.parallel(ctx, b, n); err != nil {
			return false, err
		}
		pending = false
	} else {
		for i := range b.steps {
			var err error
			if pending, err = s.step(ctx, &b.steps[i], n, pending); err != nil {
				return false, err
			}
		}
	}
	if b.scale == 0 {
		return pending, nil
	}
	s.normalize(n, nil, nil, pending)
	s.multiply(s.buf.x[:n*s.m.Config.Hidden], b.scale)
	return false, nil
}

// step runs a step and leaves what it adds in b.norm, pending, unless the stream is
// normalized after it.
func (s *Session) step(ctx context.Context, t *step, n int, pending bool) (bool, error) {
	b, all := &s.buf, n*s.m.Config.Hidden
	for i := range t.branches {
		br := &t.branches[i]
		s.normalize(n, br.pre, b.norm, pending)
		pending = false
		if err := br.op.run(ctx, s, n, b.norm[:all], b.norm[:all]); err != nil {
			return false, err
		}
		s.apply(n, br.post, b.norm)
		if len(t.branches) > 1 {
			s.sum(i == 0, all)
		}
	}
	if len(t.branches) > 1 {
		copy(b.norm[:all], b.delta[:all])
		s.apply(n, t.norm, b.norm)
	}
	s.multiply(b.norm[:all], t.scale)
	if t.after == nil {
		return true, nil
	}
	s.normalize(n, t.after, b.x, true)
	return false, nil
}

// parallel runs steps that all read what enters the block.
func (s *Session) parallel(ctx context.Context, b *block, n int) error {
	buf, all := &s.buf, n*s.m.Config.Hidden
	for i := range b.steps {
		t := &b.steps[i]
		br := &t.branches[0]
		s.normalize(n, br.pre, buf.norm, false)
		if err := br.op.run(ctx, s, n, buf.norm[:all], buf.norm[:all]); err != nil {
			return err
		}
		s.apply(n, br.post, buf.norm)
		s.multiply(buf.norm[:all], t.scale)
		s.sum(i == 0, all)
	}
	s.m.Engine.Add(buf.x[:all], buf.delta[:all])
	return nil
}

// sum adds b.norm to the sum of branches.
func (s *Session) sum(first bool, all int) {
	b := &s.buf
	b.delta = resize(b.delta, all)
	if first {
		copy(b.delta, b.norm[:all])
	} else {
		s.m.Engine.Add(b.delta[:all], b.norm[:all])
	}
}

func (s *Session) multiply(x []float32, f float32) {
	if f == 1 {
		return
	}
	for i := range x {
		x[i] *= f
	}
}

// apply normalizes n rows in place.
func (s *Session) apply(n int, w *Norm, x []float32) {
	if w == nil {
		return
	}
	h := s.m.Config.Hidden
	s.rows(n, func(r int) { w.Row(s.m.Engine, x[r*h:(r+1)*h], x[r*h:(r+1)*h]) })
}

// normalize adds what is pending in b.norm to the residual stream, if anything is,
// and writes the stream's normalized rows, or without a norm its rows, to out, if
// there is one.
func (s *Session) normalize(n int, w *Norm, out []float32, add bool) {
	if !add && out == nil {
		return
	}
	e, b, h := s.m.Engine, &s.buf, s.m.Config.Hidden
	s.rows(n, func(r int) {
		x := b.x[r*h : (r+1)*h]
		if add {
			e.Add(x, b.norm[r*h:(r+1)*h])
		}
		switch {
		case out == nil:
		case w == nil:
			copy(out[r*h:(r+1)*h], x)
		default:
			w.Row(e, out[r*h:(r+1)*h], x)
		}
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

// rope is the rotation for a text of the expected length.
func (s *Session) rope(short, long *rope) *rope { return ropeFor(short, long, s.length) }

// Expect says how many positions the text will have at most; without it, as many as
// the session allows. Models with rotations of their own for long texts compute
// others then: what the session holds is forgotten where that changes.
func (s *Session) Expect(length int) {
	if from := s.m.graph.longFrom; from > 0 && (s.length > from) != (length > from) {
		s.Truncate(0)
	}
	s.length = length
}

// output is one matrix and where its result goes.
type output struct {
	l   *linear
	dst []float32
}

// mul multiplies n rows of x by several matrices that read the same activations.
func (s *Session) mul(ctx context.Context, x []float32, n, k int, outs ...output) error {
	if p := s.probe; p != nil && p.input == outs[0].l.input {
		return p.take(x[:n*k], n, k)
	}
	var products [4]kernels.Product
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

// Logits multiplies n hidden states by the output head; dst is n x Vocab.
// Sessions may call it concurrently with a buffer of their own.
func (m *Model) Logits(acts *kernels.Acts, dst, hidden []float32, n int) {
	v, head := m.Config.Vocab, &m.graph.head
	acts.Set(hidden, n, m.Config.Hidden)
	// Without an end to its context, MatMul has no error.
	_ = m.Engine.MatMul(context.Background(), acts, kernels.Product{W: head.Linear, Dst: dst[:n*v]})
	m.finishLogits(dst[:n*v])
}

// finishLogits applies to rows of logits what a description has after the head.
func (m *Model) finishLogits(dst []float32) {
	d, bias, units := &m.Config.Head, m.graph.headBias, m.graph.headUnits
	if d.Scale == 1 && d.SoftCap == 0 && bias == nil && units == nil {
		return
	}
	for i, v := range dst {
		if units != nil {
			v *= units[i%len(units)]
		}
		if bias != nil {
			v += bias[i%len(bias)]
		}
		v *= d.Scale
		if d.SoftCap != 0 {
			v = d.SoftCap * float32(math.Tanh(float64(v/d.SoftCap)))
		}
		dst[i] = v
	}
}
