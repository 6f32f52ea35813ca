package gguf

import (
	"encoding/binary"
	"fmt"

	"nibble/kernels"
)

// packing says which quantized matrix holds the values of a type without loss, and
// how the codes and scales of a block follow from its bytes.
type packing struct {
	scheme kernels.Scheme
	block  func(dst packed, src []byte)
}

// packed is a block's part of a quantized matrix.
type packed struct {
	codes          []byte
	scales, mins   []uint16
	scales8, mins8 []int8 // that multiply the others, of each group
}

// The schemes of packings. Blocks of ternary values have one scale for 256 values,
// which two groups repeat; the scales and codes of Q3_K have fewer bits than those of
// Q6_K.
var (
	sym4       = kernels.Scheme{Bits: 4, Group: 32, Sym: true}
	sym8       = kernels.Scheme{Bits: 8, Group: 32, Sym: true}
	ternary    = kernels.Scheme{Bits: 4, Group: 128, Sym: true}
	nonLinear4 = kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: kernels.NL4}
	fp4        = kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: kernels.FP4}
	mins4      = kernels.Scheme{Bits: 4, Group: 32, Sym: true, Mins: true}
	sym5       = kernels.Scheme{Bits: 5, Group: 32, Sym: true}
	mins5      = kernels.Scheme{Bits: 5, Group: 32, Sym: true, Mins: true}
	super4     = kernels.Scheme{Bits: 4, Group: 32, Sym: true, Mins: true, Super: true}
	super5     = kernels.Scheme{Bits: 5, Group: 32, Sym: true, Mins: true, Super: true}
	super6     = kernels.Scheme{Bits: 6, Group: 16, Sym: true, Super: true}
	superNL    = kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: kernels.NL4, Super: true}
)

func packNibbles(dst packed, src []byte) {
	dst.scales[0] = binary.LittleEndian.Uint16(src)
	joinNibbles(dst.codes, src[2:])
}

func packQ4_1(dst packed, src []byte) {
	dst.scales[0], dst.mins[0] = binary.LittleEndian.Uint16(src), binary.LittleEndian.Uint16(src[2:])
	joinNibbles(dst.codes, src[4:])
}

func packMXFP4(dst packed, src []byte) {
	dst.scales[0] = kernels.F32ToBF16(e8m0Half(src[0]))
	joinNibbles(dst.codes, src[1:])
}

func packQ8_0(dst packed, src []byte) {
	dst.scales[0] = binary.LittleEndian.Uint16(src)
	for i, c := range src[2:] {
		dst.codes[i] = c + 128
	}
}

func packQ5_0(dst packed, src []byte) {
	dst.scales[0] = binary.LittleEndian.Uint16(src)
	joinFifths(dst.codes, src[2:])
}

func packQ5_1(dst packed, src []byte) {
	dst.scales[0], dst.mins[0] = binary.LittleEndian.Uint16(src), binary.LittleEndian.Uint16(src[2:])
	joinFifths(dst.codes, src[4:])
}

// joinFifths stores a block's codes of five bits, a byte each.
func joinFifths(dst, src []byte) {
	fifths := binary.LittleEndian.Uint32(src)
	for i := range 16 {
		lo, hi := fifth(src[4:], fifths, i)
		dst[i], dst[i+16] = byte(lo), byte(hi)
	}
}

// packSuper takes the scales of Q4_K and Q5_K, which subtract least values.
func packSuper(dst packed, src []byte) {
	dst.scales[0], dst.mins[0] = binary.LittleEndian.Uint16(src), binary.LittleEndian.Uint16(src[2:])^0x8000
	for g := range dst.scales8 {
		scale, min := sixBits(src[4:16], g)
		dst.scales8[g], dst.mins8[g] = int8(scale), int8(min)
	}
}

func packQ4_K(dst packed, src []byte) {
	packSuper(dst, src)
	for i := range dst.codes {
		c := i % 16 * 2
		two := src[16+i/32*32+c:]
		shift := i / 16 % 2 * 4
		dst.codes[i] = two[0]>>shift&15 | two[1]>>shift&15<<4
	}
}

func packQ5_K(dst packed, src []byte) {
	packSuper(dst, src)
	fifths, codes := src[16:48], src[48:]
	for c := range dst.codes {
		g, i := c/32, c%32
		dst.codes[c] = codes[g/2*32+i]>>(4*(g%2))&15 | fifths[i]>>g&1<<4
	}
}

func packQ6_K(dst packed, src []byte) {
	dst.scales[0] = binary.LittleEndian.Uint16(src[208:])
	for g, s := range src[192:208] {
		dst.scales8[g] = int8(s)
	}
	for c := range dst.codes {
		dst.codes[c] = sixBitCode(src, c)
	}
}

func packQ3_K(dst packed, src []byte) {
	dst.scales[0] = binary.LittleEndian.Uint16(src[108:])
	for g := range dst.scales8 {
		dst.scales8[g] = int8(q3Scale(src[96:108], g))
	}
	for c := range dst.codes {
		dst.codes[c] = byte(32 + q3Code(src, c/16, c%16))
	}
}

func packIQ4_XS(dst packed, src []byte) {
	dst.scales[0] = binary.LittleEndian.Uint16(src)
	for g := range dst.scales8 {
		dst.scales8[g] = int8(xsScale(src, g))
		joinNibbles(dst.codes[16*g:], src[8+16*g:][:16])
	}
}

// joinNibbles is the inverse of splitNibbles: neighbours share a byte afterwards.
func joinNibbles(dst, src []byte) {
	for k := range block / 4 {
		a, b := src[2*k], src[2*k+1]
		dst[k], dst[k+block/4] = a&15|b<<4, a>>4|b&0xf0
	}
}

// packTernary takes the codes of a block from its values, whose scale lies at a byte.
func packTernary(decode func([]float32, []byte), at int) func(packed, []byte) {
	return func(dst packed, src []byte) {
		var one [256 / 4 * 5]byte
		copy(one[:at], src)
		binary.LittleEndian.PutUint16(one[at:], 0x3c00) // 1
		var values [256]float32
		decode(values[:], one[:at+2])
		for i := range dst.codes {
			dst.codes[i] = byte(8+int(values[2*i])) | byte(8+int(values[2*i+1]))<<4
		}
		dst.scales[0] = binary.LittleEndian.Uint16(src[at:])
		dst.scales[1] = dst.scales[0]
	}
}

// Scheme returns that of a quantized matrix that holds the values of a type without
// loss, if nibble has one.
func (t Type) Scheme() (s kernels.Scheme, ok bool) {
	if p := knownTypes[t].pack; p != nil {
		return p.scheme, true
	}
	return s, false
}

// PackRow fills row r of a matrix of the type's scheme from a row of blocks.
func PackRow(q *kernels.QTensor, r int, src []byte, t Type) error {
	tr := knownTypes[t]
	if tr.pack == nil || tr.pack.scheme != q.Scheme {
		return fmt.Errorf("%w: %s as %s", ErrUnsupported, t, q.Scheme)
	}
	if q.Cols%tr.values != 0 || len(src) != t.RowBytes(q.Cols) {
		return fmt.Errorf("%w: %d bytes are no row of %d %s values", ErrCorrupt, len(src), q.Cols, t)
	}
	n := q.Cols / tr.values // blocks of a row
	for b := range n {
		tr.pack.block(packed{part(q.Codes, q.Rows, r, n, b), part(q.Scales, q.Rows, r, n, b), part(q.Mins, q.Rows, r, n, b),
			part(q.SubScales, q.Rows, r, n, b), part(q.SubMins, q.Rows, r, n, b)}, src[b*tr.bytes:][:tr.bytes])
	}
	return nil
}

// part is what block b of n in row r of some rows has of a slice.
func part[T any](all []T, rows, r, n, b int) []T {
	each := len(all) / rows / n
	return all[(r*n+b)*each:][:each]
}
