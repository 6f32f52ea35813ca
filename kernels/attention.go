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
	queries, scores, out []float32
	inverse              [attentionRows]float32
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
	perTile := max(1, attentionRows/group)
	tiles := (m + perTile - 1) / perTile
	grain := 1
	if work := (pos + m) * c.dim * min(group*perTile, attentionRows); m == 1 && work < 1<<15 {
		grain = max(1, 1<<15/work) // too little for a handover to another thread
	}
	defer runtime.KeepAlive(c)
	return e.pool.run(ctx, c.heads*tiles, grain, func(_, lo, hi int) {
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
	blocks := (n + keyBlock - 1) / keyBlock
	ld := blocks*keyBlock + keyBlock // not a multiple of a page: rows would collide in the cache
	s.queries, s.scores, s.out = grow(s.queries, rows*a.dim), grow(s.scores, rows*ld), grow(s.out, rows*c.width)
	scale := float32(1 / math.Sqrt(float64(a.dim)))
	for r := range rows {
		query := s.queries[r*a.dim : (r+1)*a.dim]
		for i, x := range q[a.row(r):][:a.dim] {
			query[i] = x * scale
		}
	}
	ops.scores(s.scores, ld, s.queries, c.headKeys(a.head), c.dt, blocks, a.dim, rows)
	for r := range rows {
		row, seen := s.scores[r*ld:][:blocks*keyBlock], a.pos+r/a.group+1
		whole := row[:roundUp(seen, 8)] // vectors, with what adds nothing
		for i := range whole[seen:] {
			whole[seen+i] = negativeInf
		}
		s.inverse[r] = 1 / ops.expSum(whole, whole, ops.maximum(whole))
		clear(row[len(whole):])
	}
	ops.values(s.out, c.width, s.scores, ld, c.headValues(a.head), c.dt, n, c.width, rows)
	for r := range rows {
		out := dst[a.row(r):][:a.dim]
		for i, x := range s.out[r*c.width:][:a.dim] {
			out[i] = x * s.inverse[r]
		}
	}
}

var negativeInf = float32(math.Inf(-1))

// scoresGeneric stores dst[r*ldd+p], the inner products of the queries q, rows x
// dim, with the keys of the first positions, a multiple of keyBlock.
func scoresGeneric(dst []float32, ldd int, q []float32, keys []byte, dt DType, blocks, dim, rows int) {
	for b := range blocks {
		for r := range rows {
			var acc [keyBlock]float32
			for d, x := range q[r*dim : (r+1)*dim] {
				for lane := range acc {
					acc[lane] += x * floatAt(keys, dt, (b*dim+d)*keyBlock+lane)
				}
			}
			copy(dst[r*ldd+b*keyBlock:], acc[:])
		}
	}
}

// valuesGeneric stores dst[r*ldd+c], the sums over n positions of values, n x
// width, by the weights of each query.
func valuesGeneric(dst []float32, ldd int, weights []float32, ldw int, values []byte, dt DType, n, width, rows int) {
	for r := range rows {
		out := dst[r*ldd:][:width]
		clear(out)
		for p, w := range weights[r*ldw:][:n] {
			for i := range out {
				out[i] += w * floatAt(values, dt, p*width+i)
			}
		}
	}
}

func floatAt(b []byte, dt DType, i int) float32 {
	if dt == F16 {
		return F16ToF32(u16At(b, i))
	}
	return f32At(b, i)
}
