package attention

import (
	"context"
	"math"
	"runtime"
	"sync"

	"nibble/kernels/cpu"
	"nibble/kernels/layout"
	"nibble/kernels/number"
	"nibble/kernels/pool"
	"nibble/kernels/vector"
)

// attentionRows is how many queries go through keys and values together: enough
// to make conversions and loads cheap, few enough for their scores to stay in
// the second-level cache over some thousand positions.
const attentionRows = 16

// attentionRoom is memory for a tile of queries.
type attentionRoom struct {
	queries, scores, out, inverse []float32
}

// AttentionRule is how scores become weights where that differs from plain causal
// attention, which is the zero value.
type AttentionRule struct {
	Scale   float32   // of the scores; 0 means one over the root of the heads' width
	SoftCap float32   // scores become cap*tanh(score/cap); 0 for none
	Window  int       // positions a query sees, its own among them; 0 for all before it
	Slopes  []float32 // of each query head: what scores fall by for each position of distance (ALiBi); nil for none
	Sinks   []float32 // of each query head: a logit that joins the softmax without a value; nil for none
}

// scale is what queries of dim elements are multiplied by.
func (r *AttentionRule) scale(dim int) float32 {
	if r.Scale != 0 {
		return r.Scale
	}
	return float32(1 / math.Sqrt(float64(dim)))
}

// first is the first position that a query at pos sees.
func (r *AttentionRule) first(pos int) int {
	if r.Window == 0 {
		return 0
	}
	return max(0, pos-r.Window+1)
}

// softmax turns the scores of a head's query at pos, the first of which is that of
// position base, into weights that are yet to be multiplied by what it returns.
func (r *AttentionRule) softmax(vec *vector.Ops, scores []float32, head, pos, base int) float32 {
	seen := scores[:pos-base+1]
	if r.SoftCap != 0 {
		for i, v := range seen {
			seen[i] = r.SoftCap * float32(math.Tanh(float64(v/r.SoftCap)))
		}
	}
	if r.Slopes != nil {
		for i := range seen {
			seen[i] -= float32(r.Slopes[head] * float32(len(seen)-1-i)) // not fused, on any CPU
		}
	}
	for i := range r.first(pos) - base {
		seen[i] = negativeInf
	}
	if r.Sinks == nil {
		return softmax(vec, scores, len(seen))
	}
	return softmaxBeside(vec, scores, len(seen), r.Sinks[head])
}

// Heads computes attention. Its methods may be called from several goroutines.
type Heads struct {
	pool *pool.Pool
	vec  *vector.Ops
	ops  headOps
}

// New returns the attention of a tier.
func New(isa cpu.ISA, p *pool.Pool, vec *vector.Ops) *Heads {
	h := &Heads{pool: p, vec: vec, ops: genericHeads()}
	if isa != cpu.Generic {
		h.ops = archHeads(isa)
	}
	return h
}

// headOps are the products of attention, by tier. All tiers give the same bits.
type headOps struct {
	scores func(dst []float32, ldd int, q []float32, keys []byte, step int, dt number.DType, blocks, dim, rows int)
	values func(dst []float32, ldd int, weights []float32, ldw int, values []byte, step int, dt number.DType, n, width, rows int, add bool)
	// valuesHeads is values of at most a block of each of some heads, whose sums follow
	// each other in dst, and a query each.
	valuesHeads func(dst []float32, weights []float32, ldw int, values []byte, dt number.DType, n, width, heads int, add bool)
}

func genericHeads() headOps {
	return headOps{scores: scoresGeneric, values: valuesGeneric, valuesHeads: headByHead(valuesGeneric)}
}

var attentionRooms = sync.Pool{New: func() any { return new(attentionRoom) }}

// Attention computes causal grouped-query attention (Ainslie et al., "GQA",
// 2023) for m consecutive positions starting at pos, whose keys and values are
// in the cache. q and dst are row-major m x (heads*dim), heads a multiple of the
// cache's; dst may not overlap q.
//
// Queries that share a key head, of several positions if the group is small,
// form a tile: its scores against all keys, softmax, its sums of values. Only the
// scores of a tile exist at a time on each worker. A query's result does not
// depend on its tile. When ctx ends, so does Attention, with its error.
func (e *Heads) Attention(ctx context.Context, dst, q []float32, c *KVCache, heads, m, pos int, rule AttentionRule) error {
	group := heads / c.heads
	defer runtime.KeepAlive(c)
	if m == 1 {
		grain := (c.heads + e.pool.Threads() - 1) / e.pool.Threads()
		grain = max(grain, 1<<11/((pos+1)*c.dim)) // less is not worth a handover to another thread
		return e.pool.Run(ctx, c.heads, grain, func(_, lo, hi int) {
			room := attentionRooms.Get().(*attentionRoom)
			defer attentionRooms.Put(room)
			e.attendHeads(dst, q, c, group, lo, hi, pos, &rule, room)
		})
	}
	perTile := max(1, attentionRows/group)
	tiles := (m + perTile - 1) / perTile
	return e.pool.Run(ctx, c.heads*tiles, 1, func(_, lo, hi int) {
		room := attentionRooms.Get().(*attentionRoom)
		defer attentionRooms.Put(room)
		for i := lo; i < hi; i++ {
			h, t := i/tiles, i%tiles*perTile
			positions := min(perTile, m-t)
			// A large group takes several tiles for each position.
			for g := 0; g < group; g += attentionRows {
				a := attentionTile{e: e, c: c, s: room, rule: &rule, head: h, group: min(attentionRows, group-g), dim: c.dim,
					stride: heads * c.dim, first: t*heads*c.dim + (h*group+g)*c.dim, positions: positions, pos: pos + t}
				a.run(dst, q)
			}
		}
	})
}

// streamBlocks is how many blocks of keys the heads meet at a time: as many streams
// from memory, whose chains of multiply-adds hide their latency.
const streamBlocks = 4

// attendHeads is Attention of one token's queries, at pos, to key heads lo to hi.
// Memory is read in long streams: one head after the other meets some
// blocks of keys before the next blocks, and so they do with values, one block at a
// time or, where queries share them and computing takes longer, a few.
func (e *Heads) attendHeads(dst, q []float32, c *KVCache, group, lo, hi, pos int, rule *AttentionRule, s *attentionRoom) {
	skip := rule.first(pos) / layout.KeyBlock // blocks before the window
	base := skip * layout.KeyBlock
	n := pos + 1 - base
	ops, rows, blocks := &e.ops, (hi-lo)*group, blocksOf(n)
	first, ld := lo*group*c.dim, scoresApart(blocks)
	s.resize(rows, c.dim, ld, c.width)
	widen(s.queries, q[first:][:rows*c.dim], rule.scale(c.dim))
	for b := 0; b < blocks; b += streamBlocks {
		for h := lo; h < hi; h++ {
			r := (h - lo) * group
			ops.scores(s.scores[r*ld+b*layout.KeyBlock:], ld, s.queries[r*c.dim:], c.keysOf(h, skip+b), c.keyStep, c.dt, min(streamBlocks, blocks-b), c.dim, group)
		}
	}
	for r := range rows {
		s.inverse[r] = rule.softmax(e.vec, s.scores[r*ld:][:blocks*layout.KeyBlock], lo*group+r, pos, base)
	}
	some := min(group, streamBlocks)
	for b := 0; b < blocks; b += some {
		if group == 1 {
			ops.valuesHeads(s.out, s.scores[b*layout.KeyBlock:], ld, c.valuesOf(lo, skip+b), c.dt, min(layout.KeyBlock, n-b*layout.KeyBlock), c.width, rows, b > 0)
			continue
		}
		for h := lo; h < hi; h++ {
			r := (h - lo) * group
			ops.values(s.out[r*c.width:], c.width, s.scores[r*ld+b*layout.KeyBlock:], ld, c.valuesOf(h, skip+b), c.valueStep, c.dt, min(some*layout.KeyBlock, n-b*layout.KeyBlock), c.width, group, b > 0)
		}
	}
	for r := range rows {
		widen(dst[first+r*c.dim:][:c.dim], s.out[r*c.width:][:c.dim], s.inverse[r])
	}
}

// attentionTile is the work on group queries of each of some positions.
type attentionTile struct {
	e                *Heads
	c                *KVCache
	s                *attentionRoom
	rule             *AttentionRule
	head, group, dim int // the key head
	stride           int // between positions in q and dst
	first            int // place of the first query in q and dst
	positions, pos   int
}

// row is the place of query r in q and dst.
func (a attentionTile) row(r int) int { return a.first + r/a.group*a.stride + r%a.group*a.dim }

// queryHead is the head of query r.
func (a attentionTile) queryHead(r int) int { return a.first%a.stride/a.dim + r%a.group }

func (a attentionTile) run(dst, q []float32) {
	c, s, ops := a.c, a.s, &a.e.ops
	skip := a.rule.first(a.pos) / layout.KeyBlock // blocks before the window of the first query
	base := skip * layout.KeyBlock
	rows, n := a.group*a.positions, a.pos+a.positions-base
	blocks := blocksOf(n)
	ld := scoresApart(blocks)
	s.resize(rows, a.dim, ld, c.width)
	scale := a.rule.scale(a.dim)
	for r := range rows {
		widen(s.queries[r*a.dim:][:a.dim], q[a.row(r):][:a.dim], scale)
	}
	ops.scores(s.scores, ld, s.queries, c.keysOf(a.head, skip), c.keyStep, c.dt, blocks, a.dim, rows)
	for r := range rows {
		s.inverse[r] = a.rule.softmax(a.e.vec, s.scores[r*ld:][:blocks*layout.KeyBlock], a.queryHead(r), a.pos+r/a.group, base)
	}
	ops.values(s.out, c.width, s.scores, ld, c.valuesOf(a.head, skip), c.valueStep, c.dt, n, c.width, rows, false)
	for r := range rows {
		widen(dst[a.row(r):][:a.dim], s.out[r*c.width:][:a.dim], s.inverse[r])
	}
}

// scoresApart is how far apart the scores of two queries are: not a multiple of a
// page, or they would collide in the caches.
func scoresApart(blocks int) int { return blocks*layout.KeyBlock + layout.KeyBlock }

// resize makes room for queries of dim elements, ld scores of each and sums of width.
func (s *attentionRoom) resize(rows, dim, ld, width int) {
	s.queries, s.scores = number.Grow(s.queries, rows*dim), number.Grow(s.scores, rows*ld)
	s.out, s.inverse = number.Grow(s.out, rows*width), number.Grow(s.inverse, rows)
}

// softmax turns the first seen scores into their exponentials and the others into
// zeros, and returns the inverse of the sum.
func softmax(vec *vector.Ops, scores []float32, seen int) float32 {
	whole := scores[:number.RoundUp(seen, 8)] // vectors, with what adds nothing
	for i := range whole[seen:] {
		whole[seen+i] = negativeInf
	}
	clear(scores[len(whole):])
	return 1 / vec.Exp(whole, whole, vec.Max(whole))
}

// softmaxBeside is softmax with another logit in the sum.
func softmaxBeside(vec *vector.Ops, scores []float32, seen int, other float32) float32 {
	whole := scores[:number.RoundUp(seen, 8)]
	for i := range whole[seen:] {
		whole[seen+i] = negativeInf
	}
	clear(scores[len(whole):])
	most := max(vec.Max(whole), other)
	return 1 / (vec.Exp(whole, whole, most) + vector.Exp32(other-most))
}

var negativeInf = float32(math.Inf(-1))

// scoresGeneric stores dst[r*ldd+p], the inner products of the queries q, rows x
// dim, with the keys of some blocks of positions, step elements apart.
func scoresGeneric(dst []float32, ldd int, q []float32, keys []byte, step int, dt number.DType, blocks, dim, rows int) {
	for b := range blocks {
		for r := range rows {
			var acc [layout.KeyBlock]float32
			for d, x := range q[r*dim : (r+1)*dim] {
				for lane := range acc {
					acc[lane] = number.FMA(x, floatAt(keys, dt, b*step+d*layout.KeyBlock+lane), acc[lane])
				}
			}
			copy(dst[r*ldd+b*layout.KeyBlock:], acc[:])
		}
	}
}

// valuesGeneric stores dst[r*ldd+c], the sums over n positions of values, width for
// each and blocks step elements apart, by the weights of each query, or adds them
// position by position to what is there.
func valuesGeneric(dst []float32, ldd int, weights []float32, ldw int, values []byte, step int, dt number.DType, n, width, rows int, add bool) {
	for r := range rows {
		out := dst[r*ldd:][:width]
		if !add {
			clear(out)
		}
		for p, w := range weights[r*ldw:][:n] {
			for i := range out {
				out[i] = number.FMA(w, floatAt(values, dt, p/layout.KeyBlock*step+p%layout.KeyBlock*width+i), out[i])
			}
		}
	}
}

// headByHead is valuesHeads by values.
func headByHead(values func(dst []float32, ldd int, weights []float32, ldw int, values []byte, step int, dt number.DType, n, width, rows int, add bool)) func(dst []float32, weights []float32, ldw int, stored []byte, dt number.DType, n, width, heads int, add bool) {
	return func(dst []float32, weights []float32, ldw int, stored []byte, dt number.DType, n, width, heads int, add bool) {
		for h := range heads {
			values(dst[h*width:], width, weights[h*ldw:], ldw, stored[h*layout.KeyBlock*width*dt.Size():], layout.KeyBlock*width, dt, n, width, 1, add)
		}
	}
}

func floatAt(b []byte, dt number.DType, i int) float32 {
	if dt == number.F16 {
		return number.F16ToF32(number.U16At(b, i))
	}
	return number.F32At(b, i)
}
