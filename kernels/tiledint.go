//go:build (amd64 || arm64) && !noasm

package kernels

import (
	"slices"
	"sync"
	"unsafe"
)

// mulFunc is an assembly kernel for some rows of a panel, from lane on, and a
// fixed number of tokens whose first blocks follow each other at acts; the next
// blocks are step bytes on. It does several panels, the results of the next one
// following those of the last. scratch is room for two lines a token, on a cache
// line. See kernels/_asm.
type mulFunc func(c *float32, ldc int, panel *byte, lane int, acts *byte, step int, blocks int, perGroup int, panels int, scratch *byte)

// tile is a pair of kernels, for symmetric and other codes, with the rows and
// tokens they take.
type tile struct {
	rows, tokens int
	sym, asym    mulFunc
}

// tiledInt makes a kernel of tiles, given in descending order and ending with
// one token: a batch takes the largest tile as often as it fits, then the next.
func tiledInt(isa ISA, bits int, tiles ...tile) intKernel {
	k := intKernel{Name: tileName(tiles[0].rows, tiles[0].tokens), ISA: isa, Bits: bits, run: runTiles(tiles)}
	for _, t := range tiles {
		k.tiles = append(k.tiles, [2]int{t.tokens, t.rows})
	}
	return k
}

func runTiles(tiles []tile) func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
	return func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
		room := tileRooms.Get().(*tileRoom)
		defer tileRooms.Put(room)
		edge := &room.edge
		scratch := &room.sums[-uintptr(unsafe.Pointer(&room.sums))%lineBytes]
		// All tokens in one tile: the kernel runs through the full panels itself.
		through := tiles[0].rows == panelRows && slices.ContainsFunc(tiles, func(t tile) bool { return t.tokens == m1-m0 })
		for p := p0; p < p1; p++ {
			panel := w.panel(p)
			n := min(panelRows, w.n-p*panelRows)
			panels := 1
			if through && n == panelRows {
				panels = min(p1, w.n/panelRows) - p
			}
			for m, ti := m0, 0; m < m1; {
				first, step := a.place(m)
				left := min(m1, m/actTile*actTile+actTile) - m // of this tile of activations
				if ti > 0 && m%actTile == 0 {
					ti = 0
				}
				for tiles[ti].tokens > left {
					ti++
				}
				t := tiles[ti]
				c, ldc := &edge[0], panelRows
				if n == panelRows {
					c, ldc = &dst[m*ldd+p*panelRows], ldd
				}
				f := t.asym
				if w.scheme.Sym {
					f = t.sym
				}
				for lane := 0; lane < panelRows; lane += t.rows {
					f((*float32)(unsafe.Add(unsafe.Pointer(c), 4*lane)), 4*ldc,
						&panel[0], lane, (*byte)(unsafe.Pointer(&a.blocks[first])), step*actBytes, w.blocks, w.perGroup, panels, scratch)
				}
				if n < panelRows {
					for i := range t.tokens {
						copy(dst[(m+i)*ldd+p*panelRows:][:n], edge[i*panelRows:])
					}
				}
				m += t.tokens
			}
			p += panels - 1
		}
	}
}

// tileRoom is memory that a kernel works in.
type tileRoom struct {
	edge [actTile * panelRows]float32 // results of the ragged last panel
	sums [(2*actTile + 1) * lineBytes]byte
}

var tileRooms = sync.Pool{New: func() any { return new(tileRoom) }}

const actBytes = int(unsafe.Sizeof(actBlock{}))
