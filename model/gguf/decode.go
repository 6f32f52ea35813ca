package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"nibble/kernels"
)

// DecodeRow writes the values of a row to dst, in float32 arithmetic: products are
// exact and what is left rounds once, as in ggml.
func DecodeRow(dst []float32, src []byte, t Type) error {
	if !t.Decodable() {
		return fmt.Errorf("%w: values of %s", ErrUnsupported, t)
	}
	if len(dst)%t.Block() != 0 || len(src) != t.RowBytes(len(dst)) {
		return fmt.Errorf("%w: %d bytes are no row of %d %s values", ErrCorrupt, len(src), len(dst), t)
	}
	tr := knownTypes[t]
	tr.decode(dst, src, tr)
	return nil
}

// floats decodes rows of plain numbers.
func floats(t kernels.DType) func([]float32, []byte, traits) {
	return func(dst []float32, src []byte, _ traits) { kernels.DecodeFloats(dst, src, t) }
}

// blocks decodes rows block by block.
func blocks(one func(dst []float32, src []byte)) func([]float32, []byte, traits) {
	return func(dst []float32, src []byte, t traits) {
		for ; len(dst) > 0; dst, src = dst[t.values:], src[t.bytes:] {
			one(dst[:t.values], src[:t.bytes])
		}
	}
}

// half reads an F16.
func half(b []byte) float32 { return kernels.F16ToF32(binary.LittleEndian.Uint16(b)) }

func decodeQ8_0(dst []float32, src []byte) {
	d := half(src)
	for i := range dst {
		dst[i] = float32(int8(src[2+i])) * d
	}
}

func decodeQ8_K(dst []float32, src []byte) {
	d := math.Float32frombits(binary.LittleEndian.Uint32(src))
	for i := range dst {
		dst[i] = d * float32(int8(src[4+i]))
	}
}

func decodeQ4_0(dst []float32, src []byte) {
	d := half(src)
	for i, c := range src[2:] {
		dst[i] = float32(int(c&15)-8) * d
		dst[i+16] = float32(int(c>>4)-8) * d
	}
}

func decodeQ4_1(dst []float32, src []byte) {
	d, m := half(src), half(src[2:])
	for i, c := range src[4:] {
		lo, hi := float32(c&15)*d, float32(c>>4)*d // exact, so that a fused addition changes nothing
		dst[i], dst[i+16] = lo+m, hi+m
	}
}

// fifth returns the codes of five bits that byte i of a block holds: fours are their
// low bits, and bit k of fifths is the high bit of code k.
func fifth(fours []byte, fifths uint32, i int) (lo, hi int) {
	lo = int(fours[i]&15) | int(fifths>>i&1)<<4
	return lo, int(fours[i]>>4) | int(fifths>>(i+16)&1)<<4
}

func decodeQ5_0(dst []float32, src []byte) {
	d, fifths := half(src), binary.LittleEndian.Uint32(src[2:])
	for i := range 16 {
		lo, hi := fifth(src[6:], fifths, i)
		dst[i], dst[i+16] = float32(lo-16)*d, float32(hi-16)*d
	}
}

func decodeQ5_1(dst []float32, src []byte) {
	d, m, fifths := half(src), half(src[2:]), binary.LittleEndian.Uint32(src[4:])
	for i := range 16 {
		lo, hi := fifth(src[8:], fifths, i)
		a, b := float32(lo)*d, float32(hi)*d // exact
		dst[i], dst[i+16] = a+m, b+m
	}
}

// nonLinear are the values of the codes of IQ4_NL and IQ4_XS.
var nonLinear = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

func decodeIQ4_NL(dst []float32, src []byte) { spread(dst, src[2:], &nonLinear, half(src)) }

// decodeIQ4_XS: F16 d, the high two bits of eight scales, their low four, codes.
func decodeIQ4_XS(dst []float32, src []byte) {
	d := half(src)
	for g := range 8 {
		spread(dst[32*g:][:32], src[8+16*g:][:16], &nonLinear, d*float32(xsScale(src, g)))
	}
}

// xsScale unpacks the scale of a group of IQ4_XS.
func xsScale(src []byte, g int) int {
	high := binary.LittleEndian.Uint16(src[2:])
	return (int(src[4+g/2]>>(4*(g%2))&15) | int(high>>(2*g)&3)<<4) - 32
}

// spread decodes codes of four bits, of which a byte of n holds i low and i+n high.
func spread(dst []float32, codes []byte, table *[16]float32, scale float32) {
	n := len(dst) / 2
	for i, c := range codes[:n] {
		dst[i], dst[i+n] = table[c&15]*scale, table[c>>4]*scale
	}
}

// FP4Values are those of 4-bit floats with two bits of exponent (E2M1).
var FP4Values = [16]float64{0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6}

// doubledFP4 are twice these values.
var doubledFP4 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// e8m0Half is half of the power of two that an exponent alone (E8M0) stands for.
func e8m0Half(exponent byte) float32 { return float32(math.Ldexp(1, int(exponent)-128)) }

func decodeMXFP4(dst []float32, src []byte) { spread(dst, src[1:], &doubledFP4, e8m0Half(src[0])) }

// decodeTQ1_0: five digits of base 3 in each of 48 bytes, four in four more, F16 d.
// A byte holds the digits as a fraction of 256: times 3, what passes 256 is the next.
func decodeTQ1_0(dst []float32, src []byte) {
	d := half(src[52:])
	for _, part := range []struct{ first, bytes, digits int }{{0, 32, 5}, {32, 16, 5}, {48, 4, 4}} {
		for i, q := range src[part.first:][:part.bytes] {
			for n := range part.digits {
				t := int(q) * 3
				dst[n*part.bytes+i], q = float32(t>>8-1)*d, byte(t)
			}
		}
		dst = dst[part.bytes*part.digits:]
	}
}

// decodeTQ2_0: four codes in each of 64 bytes, F16 d.
func decodeTQ2_0(dst []float32, src []byte) {
	d := half(src[64:])
	for i, q := range src[:64] {
		for n := range 4 {
			dst[i/32*128+32*n+i%32] = float32(int(q>>(2*n)&3)-1) * d
		}
	}
}
