package format

import (
	"encoding/binary"

	"nibble/kernels/layout"
)

// codeLayout is how the codes of a format lie in memory: in a row of a tensor, and in
// the lines of a panel that kernels read.
type codeLayout struct {
	bits int // of a code in a row
	get  func(row []byte, c int) uint8
	set  func(row []byte, c int, code uint8)

	lines     int // of a block in a panel
	packRow   func(dst, row []byte)
	packLines func(dst, src []byte, rowBytes, lines int) bool // packRow for 16 rows by assembly, or false
	// packed returns the code at a column of a block; row is its first line from the
	// row's bytes on.
	packed func(row []byte, column int) uint8
}

// rowBytes is the bytes of a row of cols codes, a multiple of four.
func (l codeLayout) rowBytes(cols int) int { return (cols*l.bits + 31) / 32 * 4 }

// blockBytes is the bytes of a block in a panel.
func (l codeLayout) blockBytes() int { return l.lines * layout.LineBytes }

var nibbleCodes = codeLayout{
	bits: 4,
	get:  func(row []byte, c int) uint8 { return row[c/2] >> (4 * (c & 1)) & 15 },
	set: func(row []byte, c int, code uint8) {
		shift := 4 * (c & 1)
		row[c/2] = row[c/2]&^(15<<shift) | code&15<<shift
	},
	lines: 4, packRow: packNibbles, packLines: archPackNibbles,
	packed: func(row []byte, j int) uint8 { return row[j/8*layout.LineBytes+j%4] >> (j % 8 / 4 * 4) & 15 },
}

// highCodes are codes of five or six bits: a byte each in a row, and in a panel nibbles
// and the bits above them apart.
func highCodes(bits int) codeLayout {
	l := byteCodes
	l.lines = bits
	l.packLines = func(_, _ []byte, _, _ int) bool { return false }
	l.packRow = func(dst, row []byte) {
		for c, code := range row {
			block := dst[c/layout.BlockCols*l.blockBytes():]
			j := c % layout.BlockCols
			block[j/8*layout.LineBytes+j%4] |= code & 15 << (j % 8 / 4 * 4)
			line, shift := highAt(bits, j)
			block[line*layout.LineBytes+j%4] |= code >> 4 << shift
		}
	}
	l.packed = func(row []byte, j int) uint8 {
		line, shift := highAt(bits, j)
		return nibbleCodes.packed(row, j) | row[line*layout.LineBytes+j%4]>>shift&(1<<(bits-4)-1)<<4
	}
	return l
}

// highAt is the line and the lowest bit of what stands above the nibble of a column's
// code, see layout.Format.Lines.
func highAt(bits, column int) (line, shift int) {
	if bits == 6 {
		return 4 + column/16, 2 * (column / 4 % 4)
	}
	return 4, column / 4
}

var byteCodes = codeLayout{
	bits:  8,
	get:   func(row []byte, c int) uint8 { return row[c] },
	set:   func(row []byte, c int, code uint8) { row[c] = code },
	lines: 8, packRow: packBytes, packLines: archPackBytes,
	packed: func(row []byte, j int) uint8 { return row[j/4*layout.LineBytes+j%4] },
}

// packBytes spreads a stretch of a row, which is padded to four bytes, over the
// lines of its panel.
func packBytes(dst, row []byte) {
	for i := 0; i+4 <= len(row); i += 4 {
		binary.LittleEndian.PutUint32(dst[i/4*layout.LineBytes:], binary.LittleEndian.Uint32(row[i:]))
	}
}

// packNibbles does the same for nibbles: of every eight, the first four become the
// low nibbles of a line and the others the high ones. That is the perfect
// shuffle of a word's halves (Warren, "Hacker's Delight", section 7-2), for two
// words at a time.
func packNibbles(dst, row []byte) {
	i := 0
	for ; i+8 <= len(row); i += 8 {
		x := shuffleNibbles(binary.LittleEndian.Uint64(row[i:]))
		line := dst[i/4*layout.LineBytes:]
		binary.LittleEndian.PutUint32(line, uint32(x))
		binary.LittleEndian.PutUint32(line[layout.LineBytes:], uint32(x>>32))
	}
	if i+4 <= len(row) {
		x := shuffleNibbles(uint64(binary.LittleEndian.Uint32(row[i:])))
		binary.LittleEndian.PutUint32(dst[i/4*layout.LineBytes:], uint32(x))
	}
}

func shuffleNibbles(x uint64) uint64 {
	t := (x ^ x>>8) & 0x0000ff000000ff00
	x ^= t ^ t<<8
	t = (x ^ x>>4) & 0x00f000f000f000f0
	return x ^ t ^ t<<4
}
