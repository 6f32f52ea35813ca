//go:build amd64 && !noasm

package matmul

import (
	"sync"
	"unsafe"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// amxUnpacker is a row of the generated table: what spreads the codes of a format,
// and the product that takes them then.
type amxUnpacker struct {
	format string
	zeros  bool // of codes with zero points
	unpack func(codes *byte, scales *byte, zeros *byte, panel *byte, blocks int, perGroup int)
	mul    func(c *float32, ldc int, codes *byte, scales *byte, zeros *byte, acts *byte, step int, blocks int, perGroup int, panels int, more int, scratch *byte)
}

// amxInt makes a kernel of AMX tiles for 16 tokens and whole panels, and of another
// for what is left of both, if the format has an unpacker.
func amxInt(rest Kernel, f format.Format) (Kernel, bool) {
	var unpackers [2]amxUnpacker // without zero points and with them
	for _, u := range amxTable {
		if u.format == f.Name {
			unpackers[number.Flag(u.zeros)] = u
		}
	}
	if unpackers[0].unpack == nil || f.Zeros && unpackers[1].unpack == nil {
		return Kernel{}, false
	}
	k := rest
	k.Name, k.ISA = tileName(layout.PanelRows, layout.AMXTokens), cpu.AMX
	k.Tiles = append([]tileShape{{cpu.AMX, layout.AMXTokens, layout.PanelRows, 0}}, k.Tiles...)
	k.Run = func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
		mid := m0 + (m1-m0)/layout.AMXTokens*layout.AMXTokens
		full := max(p0, min(p1, w.N/layout.PanelRows))
		if m0 < mid && p0 < full {
			unpackers[number.Flag(!w.Scheme.Sym)].run(dst, ldd, a, m0, mid, w, p0, full)
		}
		if m0 < mid && full < p1 {
			rest.Run(dst, ldd, a, m0, mid, w, full, p1)
		}
		if mid < m1 {
			rest.Run(dst, ldd, a, mid, m1, w, p0, p1)
		}
	}
	return k, true
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

// run computes whole panels for a multiple of 16 tokens. Tiles take signed bytes,
// to which the codes of some panels are unpacked before all tokens meet them.
func (u amxUnpacker) run(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
	const sumBytes = 3 * layout.AMXTokens * layout.LineBytes
	blocks := w.Blocks // that are unpacked at a time
	if w.Span*w.PerGroup*layout.BlockCols <= amxColumns {
		blocks = min(blocks, amxColumns/layout.BlockCols)
	}
	groups := (blocks + w.PerGroup - 1) / w.PerGroup
	codeBytes, groupBytes := blocks*layout.PanelRows*layout.BlockCols, groups*layout.LineBytes // of a panel: codes; scales, and zero points
	chunk := min(amxPanels, p1-p0)
	room := amxRooms.Get().(*[]byte)
	defer amxRooms.Put(room)
	*room = number.Grow(*room, layout.LineBytes+sumBytes+chunk*(codeBytes+2*groupBytes))
	sums := (*room)[-uintptr(unsafe.Pointer(&(*room)[0]))%layout.LineBytes:]
	codes := sums[sumBytes:]
	scales := codes[chunk*codeBytes:]
	zeros := scales[chunk*groupBytes:]
	for ; p0 < p1; p0 += chunk {
		panels := min(chunk, p1-p0)
		for b := 0; b < w.Blocks; b += blocks {
			n := min(blocks, w.Blocks-b)
			codeBytes := n * layout.PanelRows * layout.BlockCols
			groupBytes := (n + w.PerGroup - 1) / w.PerGroup * layout.LineBytes
			for i := range panels {
				u.unpack(&codes[i*codeBytes], &scales[i*groupBytes], &zeros[i*groupBytes], &w.Panel(p0 + i)[w.SpanAt(b/w.PerGroup)], n, w.PerGroup)
			}
			for m := m0; m < m1; m += layout.AMXTokens {
				first, between := a.place(m)
				u.mul(&dst[m*ldd+p0*layout.PanelRows], 4*ldd, &codes[0], &scales[0], &zeros[0],
					(*byte)(unsafe.Pointer(&a.blocks[first+b*between])), between*layout.ActBytes, n, w.PerGroup, panels, b, &sums[0])
			}
		}
	}
}
