package kernels

import (
	"context"
	"math"
	"runtime"
	"sync"
)

// attentionRows is how many queries go through keys and values together: enough
// to make conversions and loads cheap, few enough for their scores to stay in
// the second-level cache over some thousand positions.
const attentionRows = 16

// attentionRoom is memory for a tile of queries.
type attentionRoom struct {
	queries, scores, out, inverse []float32
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
func (e *Engine) Attention(ctx context.Context, dst, q []float32, c *KVCache, heads, m, pos int) error {
	group := heads / c.heads
	defer runtime.KeepAlive(c)
	if m == 1 {
		grain := (c.heads + e.pool.threads - 1) / e.pool.threads
		grain = max(grain, 1<<11/((pos+1)*c.dim)) // less is not worth a handover to another thread
		return e.pool.run(ctx, c.heads, grain, func(_, lo, hi int) {
			room := attentionRooms.Get().(*attentionRoom)
			defer attentionRooms.Put(room)
			e.attendHeads(dst, q, c, group, lo, hi, pos+1, room)
		})
	}
	perTile := max(1, attentionRows/group)
	tiles := (m + perTile - 1) / perTile
	return e.pool.run(ctx, c.heads*tiles, 1, func(_, lo, hi int) {
		room := attentionRooms.Get().(*attentionRoom)
		defer attentionRooms.Put(room)
		for i := lo; i < hi; i++ {
			h, t := i/tiles, i%tiles*perTile
			positions := min(perTile, m-t)
			// A large group takes several tiles for each position.
			for g := 0; g < group; g += attentionRows {
				a := attentionTile{e: e, c: c, s: room, head: h, group: min(attentionRows, group-g), dim: c.dim,
					stride: heads * c.dim, first: t*heads*c.dim + (h*group+g)*c.dim, positions: positions, pos: pos + t}
				a.run(dst, q)
			}
		}
	})
}

// streamBlocks is how many blocks of keys the heads meet at a time: as many streams
// from memory, whose chains of multiply-adds hide their latency.
const streamBlocks = 4

// attendHeads is Attention of one token's queries to key heads lo to hi, over n
// positions. Memory is read in long streams: one head after the other meets some
// blocks of keys before the next blocks, and so they do with values, one block at a
// time or, where queries share them and computing takes longer, a few.
func (e *Engine) attendHeads(dst, q []float32, c *KVCache, group, lo, hi, n int, s *attentionRoom) {
	ops, rows, blocks := &e.ops, (hi-lo)*group, blocksOf(n)
	first, ld := lo*group*c.dim, scoresApart(blocks)
	s.resize(rows, c.dim, ld, c.width)
	widen(s.queries, q[first:][:rows*c.dim], attentionScale(c.dim))
	for b := 0; b < blocks; b += streamBlocks {
		for h := lo; h < hi; h++ {
			r := (h - lo) * group
			ops.scores(s.scores[r*ld+b*keyBlock:], ld, s.queries[r*c.dim:], c.keysOf(h, b), c.keyStep, c.dt, min(streamBlocks, blocks-b), c.dim, group)
		}
	}
	for r := range rows {
		s.inverse[r] = ops.softmax(s.scores[r*ld:][:blocks*keyBlock], n)
	}
	some := min(group, streamBlocks)
	for b := 0; b < blocks; b += some {
		if group == 1 {
			ops.valuesHeads(s.out, s.scores[b*keyBlock:], ld, c.valuesOf(lo, b), c.dt, min(keyBlock, n-b*keyBlock), c.width, rows, b > 0)
			continue
		}
		for h := lo; h < hi; h++ {
			r := (h - lo) * group
			ops.values(s.out[r*c.width:], c.width, s.scores[r*ld+b*keyBlock:], ld, c.valuesOf(h, b), c.valueStep, c.dt, min(some*keyBlock, n-b*keyBlock), c.width, group, b > 0)
		}
	}
	for r := range rows {
		widen(dst[first+r*c.dim:][:c.dim], s.out[r*c.width:][:c.dim], s.inverse[r])
	}
}

// attentionTile is the work on group queries of each of some positions.
type attentionTile struct {
	e                *Engine
	c                *KVCache
	s                *attentionRoom
	head, group, dim int
	stride           int // between positions in q and dst
	first            int // place of the first query in q and dst
	positions, pos   int
}

// row is the place of query r in q and dst.
func (a attentionTile) row(r int) int { return a.first + r/a.group*a.stride + r%a.group*a.dim }

func (a attentionTile) run(dst, q []float32) {
	c, s, ops := a.c, a.s, &a.e.ops
	rows, n := a.group*a.positions, a.pos+a.positions
	blocks := blocksOf(n)
	ld := scoresApart(blocks)
	s.resize(rows, a.dim, ld, c.width)
	scale := attentionScale(a.dim)
	for r := range rows {
		widen(s.queries[r*a.dim:][:a.dim], q[a.row(r):][:a.dim], scale)
	}
	ops.scores(s.scores, ld, s.queries, c.keysOf(a.head, 0), c.keyStep, c.dt, blocks, a.dim, rows)
	for r := range rows {
		s.inverse[r] = ops.softmax(s.scores[r*ld:][:blocks*keyBlock], a.pos+r/a.group+1)
	}
	ops.values(s.out, c.width, s.scores, ld, c.valuesOf(a.head, 0), c.valueStep, c.dt, n, c.width, rows, false)
	for r := range rows {
		widen(dst[a.row(r):][:a.dim], s.out[r*c.width:][:a.dim], s.inverse[r])
	}
}

// scoresApart is how far apart the scores of two queries are: not a multiple of a
// page, or they would collide in the caches.
func scoresApart(blocks int) int { return blocks*keyBlock + keyBlock }

// attentionScale is what queries of dim elements are multiplied by.
func attentionScale(dim int) float32 { return float32(1 / math.Sqrt(float64(dim))) }

// resize makes room for queries of dim elements, ld scores of each and sums of width.
func (s *attentionRoom) resize(rows, dim, ld, width int) {
	s.queries, s.scores = grow(s.queries, rows*dim), grow(s.scores, rows*ld)
	s.out, s.inverse = grow(s.out, rows*width), grow(s.inverse, rows)
}

// softmax turns the first seen scores into their exponentials and the others into
// zeros, and returns the inverse of the sum.
func (ops *vectorOps) softmax(scores []float32, seen int) float32 {
	whole := scores[:roundUp(seen, 8)] // vectors, with what adds nothing
	for i := range whole[seen:] {
		whole[seen+i] = negativeInf
	}
	clear(scores[len(whole):])
	return 1 / ops.expSum(whole, whole, ops.maximum(whole))
}

var negativeInf = float32(math.Inf(-1))

// scoresGeneric stores dst[r*ldd+p], the inner products of the queries q, rows x
// dim, with the keys of some blocks of positions, step elements apart.
func scoresGeneric(dst []float32, ldd int, q []float32, keys []byte, step int, dt DType, blocks, dim, rows int) {
	for b := range blocks {
		for r := range rows {
			var acc [keyBlock]float32
			for d, x := range q[r*dim : (r+1)*dim] {
				for lane := range acc {
					acc[lane] += x * floatAt(keys, dt, b*step+d*keyBlock+lane)
				}
			}
			copy(dst[r*ldd+b*keyBlock:], acc[:])
		}
	}
}

// valuesGeneric stores dst[r*ldd+c], the sums over n positions of values, width for
// each and blocks step elements apart, by the weights of each query, or adds them
// position by position to what is there.
func valuesGeneric(dst []float32, ldd int, weights []float32, ldw int, values []byte, step int, dt DType, n, width, rows int, add bool) {
	for r := range rows {
		out := dst[r*ldd:][:width]
		if !add {
			clear(out)
		}
		for p, w := range weights[r*ldw:][:n] {
			for i := range out {
				out[i] += w * floatAt(values, dt, p/keyBlock*step+p%keyBlock*width+i)
			}
		}
	}
}

// headByHead is valuesHeads by values.
func headByHead(values func(dst []float32, ldd int, weights []float32, ldw int, values []byte, step int, dt DType, n, width, rows int, add bool)) func(dst []float32, weights []float32, ldw int, stored []byte, dt DType, n, width, heads int, add bool) {
	return func(dst []float32, weights []float32, ldw int, stored []byte, dt DType, n, width, heads int, add bool) {
		for h := range heads {
			values(dst[h*width:], width, weights[h*ldw:], ldw, stored[h*keyBlock*width*dt.Size():], keyBlock*width, dt, n, width, 1, add)
		}
	}
}

func floatAt(b []byte, dt DType, i int) float32 {
	if dt == F16 {
		return F16ToF32(u16At(b, i))
	}
	return f32At(b, i)
}
