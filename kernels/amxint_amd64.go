//go:build amd64 && !noasm

package kernels

import (
	"sync"
	"unsafe"
)

// amxTokens is the tokens of an AMX tile, which takes neither fewer nor more.
const amxTokens = 16

// amxInt makes a kernel of AMX tiles for 16 tokens and whole panels, and of other
// tiles, as in tiledInt, for what is left of both.
func amxInt(bits int, rest ...tile) intKernel {
	k := tiledInt(AVX512VNNI, bits, rest...)
	k.Name, k.ISA, k.tiles = tileName(panelRows, amxTokens), AMX, append([]tileShape{{AMX, amxTokens, panelRows, 0}}, k.tiles...)
	others := k.run
	k.run = func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
		mid := m0 + (m1-m0)/amxTokens*amxTokens
		full := max(p0, min(p1, w.n/panelRows))
		if m0 < mid && p0 < full {
			runAMX(dst, ldd, a, m0, mid, w, p0, full)
		}
		if m0 < mid && full < p1 {
			others(dst, ldd, a, m0, mid, w, full, p1)
		}
		if mid < m1 {
			others(dst, ldd, a, mid, m1, w, p0, p1)
		}
	}
	return k
}

// amxPanels is how many unpacked panels all tokens meet before the next do, and
// amxColumns how many of their columns, if groups allow: the activations of a tile
// then fit the first-level cache of the CPUs that have AMX, 48 KB, next to a panel,
// and everything the second-level one, 2 MB.
const (
	amxPanels  = 32
	amxColumns = 1024
)

// amxRooms keeps memory that AMX kernels work in.
var amxRooms = sync.Pool{New: func() any { return new([]byte) }}

// runAMX computes whole panels for a multiple of 16 tokens. Tiles take signed bytes,
// to which the codes of some panels are unpacked before all tokens meet them.
func runAMX(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
	const sumBytes = 3 * amxTokens * lineBytes
	blocks := w.blocks // that are unpacked at a time
	if w.span*w.perGroup*blockCols <= amxColumns {
		blocks = min(blocks, amxColumns/blockCols)
	}
	groups := (blocks + w.perGroup - 1) / w.perGroup
	codeBytes, groupBytes := blocks*panelRows*blockCols, groups*lineBytes // of a panel: codes; scales, and zero points
	chunk := min(amxPanels, p1-p0)
	room := amxRooms.Get().(*[]byte)
	defer amxRooms.Put(room)
	*room = grow(*room, lineBytes+sumBytes+chunk*(codeBytes+2*groupBytes))
	sums := (*room)[-uintptr(unsafe.Pointer(&(*room)[0]))%lineBytes:]
	codes := sums[sumBytes:]
	scales := codes[chunk*codeBytes:]
	zeros := scales[chunk*groupBytes:]
	unpack, mul := unpack4symAMX, mulAMX
	switch {
	case w.scheme.Bits == 8 && w.scheme.Sym:
		unpack = unpack8symAMX
	case w.scheme.Bits == 8:
		unpack, mul = unpack8asymAMX, mulZerosAMX
	case !w.scheme.Sym:
		unpack = unpack4asymAMX
	}
	for ; p0 < p1; p0 += chunk {
		panels := min(chunk, p1-p0)
		for b := 0; b < w.blocks; b += blocks {
			n := min(blocks, w.blocks-b)
			codeBytes := n * panelRows * blockCols
			groupBytes := (n + w.perGroup - 1) / w.perGroup * lineBytes
			for i := range panels {
				unpack(&codes[i*codeBytes], &scales[i*groupBytes], &zeros[i*groupBytes], &w.panel(p0 + i)[w.spanAt(b/w.perGroup)], n, w.perGroup)
			}
			for m := m0; m < m1; m += amxTokens {
				first, between := a.place(m)
				mul(&dst[m*ldd+p0*panelRows], 4*ldd, &codes[0], &scales[0], &zeros[0],
					(*byte)(unsafe.Pointer(&a.blocks[first+b*between])), between*actBytes, n, w.perGroup, panels, b, &sums[0])
			}
		}
	}
}
