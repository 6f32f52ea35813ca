//go:build (amd64 || arm64) && !noasm

package matmul

import (
	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/number"
)

// tableTile is a row of the generated table of tiles.
type tableTile struct {
	format       string
	zeros        bool // of codes with zero points
	isa          cpu.ISA
	rows, tokens int
	mul          mulFunc
}

// composition is a kernel as the tiles it consists of, whatever the format.
type composition struct {
	isa   cpu.ISA
	sizes []tileSize // as tiledInt takes them
	ahead int        // what tiles for one token fetch ahead
	note  string     // ends the name of a kernel whose tiles do not tell it from others
	amx   bool       // the tiles are for what AMX tiles leave
}

type tileSize struct{ rows, tokens int }

// archIntKernels makes the kernels of the compositions for every format that has
// their tiles.
func archIntKernels() (ks []Kernel) {
	for _, c := range compositions {
		for _, f := range format.Formats {
			if k, ok := c.kernel(f); ok {
				ks = append(ks, k)
			}
		}
	}
	return ks
}

// kernel makes the kernel of a format, unless a tile is missing.
func (c composition) kernel(f format.Format) (Kernel, bool) {
	var tiles []tile
	for _, size := range c.sizes {
		t := tile{rows: size.rows, tokens: size.tokens}
		for zeros := range 1 + number.Flag(f.Zeros) {
			best, ok := c.best(f.Name, zeros == 1, size)
			if !ok {
				return Kernel{}, false
			}
			t.isa, t.mul[zeros] = best.isa, best.mul
		}
		if t.tokens == 1 {
			t.ahead = c.ahead
		}
		tiles = append(tiles, t)
	}
	k := tiledInt(c.isa, f.Name, tiles...)
	if c.amx {
		var ok bool
		if k, ok = amxInt(k, f); !ok {
			return Kernel{}, false
		}
	}
	k.Name += c.note
	return k, true
}

// best finds the tile of a size of the highest tier that the composition's allows.
func (c composition) best(format string, zeros bool, size tileSize) (best tableTile, ok bool) {
	for _, t := range tileTable {
		if t.format == format && t.zeros == zeros && (tileSize{t.rows, t.tokens}) == size &&
			(t.isa == c.isa || c.isa.Allows(t.isa)) && (!ok || !best.isa.Allows(t.isa)) {
			best, ok = t, true
		}
	}
	return best, ok
}
