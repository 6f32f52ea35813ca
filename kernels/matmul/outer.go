package matmul

import (
	"slices"

	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// outerSet holds one tier's kernels for batches of tokens, which lie side by side
// in vectors. They compute what the kernels of dotsSet do, bit for bit.
type outerSet struct {
	lanes     int // of a vector
	rows      int // of every tile; layout.PanelRows is a multiple of it
	tiles     []outerTile
	transpose func(dst []float32, ldd int, src []float32, lds, rows, cols int) // transposeGeneric
}

// outerTile computes the products of a few rows of float32 with tokens that
// packChains has arranged: those of a row side by side. It adds to what is at c if
// add is 1; stack is outerStack elements. See kernels/_asm.
type outerTile struct {
	tokens int
	mul    func(c *float32, w *float32, ldw int, x *float32, steps int, stack *float32, add int, next *byte, ldn, lines int)
}

// Of the largest tile: its tokens, and the elements that wait on its stack, four
// for each of its sums.
const (
	outerTokens = 48
	outerStack  = 4 * 8 * outerTokens
)

// outerBlocks is how many blocks of tokens at most meet a panel of weights before
// the next panel does. A stretch of those tokens stays in the second-level cache, and
// so do the sums of outerSums panels and tokens, before the next stretch comes.
const (
	outerBlocks = 10
	outerSums   = 4 * outerBlocks * outerTokens * layout.PanelRows
)

// outerBlock is a part of a batch that one tile takes.
type outerBlock struct {
	first int // token
	outerTile
}

// split appends the blocks of m tokens to blocks and returns how many tokens they
// have: what is left is too little for any tile. Tiles of one vector, which are
// slower than others, serve where there is no other.
func (s outerSet) split(blocks []outerBlock, m int) ([]outerBlock, int) {
	for t := 0; ; {
		i := slices.IndexFunc(s.tiles, func(tile outerTile) bool {
			rest := m/s.lanes - (t+tile.tokens)/s.lanes
			return rest == 0 || rest > 1
		})
		if i < 0 {
			return blocks, t
		}
		blocks = append(blocks, outerBlock{t, s.tiles[i]})
		t += s.tiles[i].tokens
	}
}

// chainSteps is how many columns, of k, each of layout.DotLanes chains has.
func chainSteps(k int) int { return (k + layout.DotLanes - 1) / layout.DotLanes }

// packChains arranges k columns of some tokens for a tile. A chain is the columns
// of one of the sums of dotsGeneric: i, i+16, i+32 and so on. Chains
// follow each other; in a chain the tokens of a column lie side by side. Zeros
// complete the last columns.
func (s outerSet) packChains(dst, x []float32, ld, k, tokens int) {
	steps := chainSteps(k)
	for i := range steps {
		c := i * layout.DotLanes
		cols := min(layout.DotLanes, k-c)
		s.transpose(dst[i*tokens:], steps*tokens, x[c:], ld, tokens, cols)
		for chain := cols; chain < layout.DotLanes; chain++ {
			clear(dst[(chain*steps+i)*tokens:][:tokens])
		}
	}
}

// mul adds to sums, or stores there, the products of a panel's rows, whose k columns
// lie ldw apart and are completed with zeros, and the tokens of a block in x. Meanwhile
// weights are fetched.
func (s outerSet) mul(sums, w []float32, ldw int, x []float32, k int, b outerBlock, stack *[outerStack]float32, add bool, fetch *fetchRows) {
	steps := chainSteps(k)
	_, _, _ = w[(layout.PanelRows-1)*ldw+steps*layout.DotLanes-1], x[steps*layout.DotLanes*b.tokens-1], sums[layout.PanelRows*b.tokens-1]
	for r := 0; r < layout.PanelRows; r += s.rows {
		next, ld, lines := fetch.take(layout.DotLanes)
		b.mul(&sums[r*b.tokens], &w[r*ldw], 4*ldw, &x[0], steps, &stack[0], number.Flag(add), next, ld, lines)
	}
}

// fetchRows are weights that will be needed next: from memory they take as long as
// the products of a few dozen tokens.
type fetchRows struct {
	data            []byte
	ld, bytes, rows int // ld and bytes are those of a row
}

// fetch are the rows of the panel that begins at row r and may not go beyond r1.
func (w floatRows) fetch(r, r1, c, k int) fetchRows {
	if r >= r1 || k <= 0 {
		return fetchRows{}
	}
	return fetchRows{w.at(r, c), w.ld * w.dt.Size(), k * w.dt.Size(), min(layout.PanelRows, r1-r)}
}

// take returns the place, the distance and the cache lines of some more rows.
func (f *fetchRows) take(rows int) (next *byte, ld, lines int) {
	if f.rows <= 0 {
		return nil, 0, 0
	}
	next = &f.data[0]
	f.rows -= rows
	if f.rows > 0 {
		f.data = f.data[rows*f.ld:]
	}
	return next, f.ld, (f.bytes + layout.LineBytes - 1) / layout.LineBytes
}

// mulBlocks is mul for some blocks of tokens, and if rest for the tokens that are in
// none. Sums are rows of tokens until they are complete: in dst the tokens often lie a
// power of two apart, at few places of the caches.
func (f floatKernel) mulBlocks(dst []float32, ldd int, w floatRows, a *floatActs, r0, r1 int, blocks []outerBlock, rest bool, room *floatRoom) {
	depth := depthOf(a.k)
	stride := strideOf(depth)
	first, tokens := 0, 0
	if n := len(blocks); n > 0 {
		first = blocks[0].first
		tokens = blocks[n-1].first + blocks[n-1].tokens - first
		if most := outerSums / tokens / layout.PanelRows * layout.PanelRows; r1-r0 > most {
			f.mulBlocks(dst, ldd, w, a, r0+most, r1, blocks, rest, room)
			r1 = r0 + most
		}
	}
	sums := func(r int, b outerBlock) []float32 {
		return room.sums[(r-r0)*tokens+(b.first-first)*layout.PanelRows:][:layout.PanelRows*b.tokens]
	}
	for c := 0; c < a.k; c += depth {
		k, x, add := min(depth, a.k-c), a.stretch(c), a.add || c > 0
		for r := r0; r < r1; r += layout.PanelRows {
			rows := min(layout.PanelRows, r1-r)
			room.fill(f, w, r, c, k, rows, stride)
			fetch := w.fetch(r+layout.PanelRows, r1, c, k)
			if r+layout.PanelRows >= r1 {
				fetch = w.fetch(r0, r1, c+depth, min(depth, a.k-c-depth))
			}
			for _, b := range blocks {
				s, to := sums(r, b), dst[b.first*ldd+r:]
				if c == 0 && a.add {
					f.outer.transpose(s, b.tokens, to, ldd, b.tokens, rows)
				}
				f.outer.mul(s, room.weights[:], stride, x[b.first*stride:], k, b, &room.stack, add, &fetch)
				if c+depth >= a.k { // at once: the stores reach memory while the next tile computes
					f.outer.transpose(to, ldd, s, b.tokens, rows, b.tokens)
				}
			}
			if rest {
				f.dots(dst[a.rest*ldd+r:], ldd, number.Bytes(room.weights[:]), stride, number.F32, x[a.rest*stride:], stride, number.RoundUp(k, layout.DotLanes), rows, a.m-a.rest, add)
			}
		}
	}
}
