//go:build (amd64 || arm64) && !noasm

package matmul

import (
	"slices"
	"sync"
	"unsafe"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// mulFunc is an assembly kernel for a fixed number of tokens whose first blocks
// follow each other at acts; the next blocks are step bytes on. It computes some
// rows of a panel, from first on, or all, or all of two panels that lie apart bytes
// from each other; then the next panel or two, times over, their results following
// those of the last. One for one token fetches ahead bytes in front of what it
// reads. side is what stands beside acts, as quantActs.beside has it, and sideStep the
// bytes to that of the next blocks. scratch is room for two lines a token, on a cache
// line. See kernels/_asm.
type mulFunc func(c *float32, ldc int, panel *byte, first int, apart int, ahead int, acts *byte, step int, blocks int, perGroup int, times int, scratch *byte, side *byte, sideStep int)

// tile is the kernels of one size, without zero points and with them, if the format
// has any.
type tile struct {
	isa          cpu.ISA
	rows, tokens int
	mul          [2]mulFunc
	ahead        int // bytes to fetch ahead, where the kernel does
}

// tiledInt makes a kernel of tiles in descending order of tokens, the last of one
// token: a batch takes the first as often as it fits, then the next. Tiles of two
// panels come before those of one.
func tiledInt(isa cpu.ISA, format string, tiles ...tile) Kernel {
	k := Kernel{Name: tileName(tiles[0].rows, tiles[0].tokens), ISA: isa, Format: format, Run: runTiles(tiles)}
	for _, t := range tiles {
		k.Tiles = append(k.Tiles, tileShape{t.isa, t.tokens, t.rows, t.ahead})
	}
	return k
}

func runTiles(tiles []tile) func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
	wide := slices.IndexFunc(tiles, func(t tile) bool { return t.rows <= layout.PanelRows })
	narrow := tiles[wide:]
	return func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
		room := tileRooms.Get().(*tileRoom)
		defer tileRooms.Put(room)
		j := tileJob{a: a, w: w, scratch: &room.sums[-uintptr(unsafe.Pointer(&room.sums))%layout.LineBytes]}
		full := max(p0, min(p1, w.N/layout.PanelRows))
		alone := p0 // the first panel without a partner
		if wide > 0 && m1-m0 >= tiles[wide-1].tokens {
			alone += (full - p0) &^ 1
		}
		if p0 < alone {
			j.run(tiles, dst[m0*ldd+p0*layout.PanelRows:], ldd, m0, m1, p0, alone)
		}
		if alone < full {
			j.run(narrow, dst[m0*ldd+alone*layout.PanelRows:], ldd, m0, m1, alone, full)
		}
		// The last panel has fewer rows: its results pass through room.
		for m := m0; m < m1 && full < p1; m += actTile {
			end, n := min(m+actTile, m1), w.N-full*layout.PanelRows
			j.run(narrow, room.edge[:], layout.PanelRows, m, end, full, p1)
			for i := range end - m {
				copy(dst[(m+i)*ldd+full*layout.PanelRows:][:n], room.edge[i*layout.PanelRows:])
			}
		}
	}
}

// tileJob is a product of weights and activations, with memory to work in.
type tileJob struct {
	a       *QuantActs
	w       *format.Packed
	scratch *byte
}

// run computes panels p0 to p1, an even number of them for tiles of two, for
// tokens m0 to m1, which begin a tile of activations; the result of m0 and p0's
// first row is dst[0]. A tile of tokens meets all the panels before the next one
// does: its activations stay in the first-level cache, past which the weights
// stream, one call for all of them.
func (j tileJob) run(tiles []tile, dst []float32, ldd, m0, m1, p0, p1 int) {
	panel := &j.w.Panel(p0)[0]
	for m, ti := m0, 0; m < m1; {
		if m%actTile == 0 {
			ti = 0
		}
		for left := min(m1, m/actTile*actTile+actTile) - m; tiles[ti].tokens > left; {
			ti++
		}
		t := tiles[ti]
		f := t.mul[number.Flag(!j.w.Scheme.Sym)]
		first, between := j.a.place(m)
		side, size := j.a.beside(j.w.Format, first)
		times := p1 - p0
		if t.rows > layout.PanelRows {
			times /= 2
		}
		for row := 0; row < layout.PanelRows; row += t.rows {
			f(&dst[(m-m0)*ldd+row], 4*ldd, panel, row, j.w.PanelBytes, t.ahead,
				(*byte)(unsafe.Pointer(&j.a.blocks[first])), between*layout.ActBytes, j.w.Blocks, j.w.PerGroup, times, j.scratch, side, between*size)
		}
		m += t.tokens
	}
}

// quantizeWhole is quantizeBlocksGeneric by an assembly function.
func quantizeWhole(asm func(dst *byte, step int, x *float32, n int), dst []actBlock, step int, x []float32) {
	if n := len(x) / layout.BlockCols; n > 0 {
		_ = dst[(n-1)*step]
		asm((*byte)(unsafe.Pointer(&dst[0])), step*layout.ActBytes, &x[0], n)
	}
}

// tileRoom is memory that kernels work in.
type tileRoom struct {
	edge [actTile * layout.PanelRows]float32
	sums [(2*layout.MaxTokens + 1) * layout.LineBytes]byte
}

var tileRooms = sync.Pool{New: func() any { return new(tileRoom) }}
