package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"nibble/kernels"
)

// unpacked returns how a quantized matrix whose scheme is a type's own is written as
// blocks of it: the inverse of its packing, nil where another type has the scheme as well
// and is the usual one.
var unpacked = map[Type]func(dst []byte, src packed) error{
	IQ4_NL: func(dst []byte, src packed) error {
		binary.LittleEndian.PutUint16(dst, src.scales[0])
		splitNibbles(dst[2:], src.codes)
		return nil
	},
	MXFP4: func(dst []byte, src packed) error {
		fraction, exponent := math.Frexp(float64(kernels.BF16ToF32(src.scales[0])))
		if fraction != 0.5 || exponent < -127 || exponent > 128 {
			return fmt.Errorf("%w: a scale of %g, and MXFP4 has powers of two", ErrLayout, math.Ldexp(fraction, exponent))
		}
		dst[0] = byte(exponent - 1 + 128)
		splitNibbles(dst[1:], src.codes)
		return nil
	},
	Q4_1: func(dst []byte, src packed) error {
		binary.LittleEndian.PutUint16(dst, src.scales[0])
		binary.LittleEndian.PutUint16(dst[2:], src.mins[0])
		splitNibbles(dst[4:], src.codes)
		return nil
	},
	Q5_0: func(dst []byte, src packed) error {
		binary.LittleEndian.PutUint16(dst, src.scales[0])
		splitFifths(dst[2:], src.codes)
		return nil
	},
	Q5_1: func(dst []byte, src packed) error {
		binary.LittleEndian.PutUint16(dst, src.scales[0])
		binary.LittleEndian.PutUint16(dst[2:], src.mins[0])
		splitFifths(dst[4:], src.codes)
		return nil
	},
	Q4_K: func(dst []byte, src packed) error {
		clear(dst)
		for i, two := range src.codes {
			to, shift := dst[16+i/32*32+i%16*2:], i/16%2*4
			to[0] |= two & 15 << shift
			to[1] |= two >> 4 << shift
		}
		return unpackSuper(dst, src)
	},
	Q5_K: func(dst []byte, src packed) error {
		clear(dst)
		for c, code := range src.codes {
			g, i := c/32, c%32
			dst[48+g/2*32+i] |= code & 15 << (4 * (g % 2))
			dst[16+i] |= code >> 4 << g
		}
		return unpackSuper(dst, src)
	},
	Q6_K: func(dst []byte, src packed) error {
		clear(dst)
		for c, code := range src.codes {
			part, at := c/32%4, c/128
			dst[64*at+part%2*32+c%32] |= code & 15 << (4 * (part / 2))
			dst[128+32*at+c%32] |= code >> 4 << (2 * part)
		}
		for g, s := range src.scales8 {
			dst[192+g] = byte(s)
		}
		binary.LittleEndian.PutUint16(dst[208:], src.scales[0])
		return nil
	},
	IQ4_XS: func(dst []byte, src packed) error {
		clear(dst[:8])
		binary.LittleEndian.PutUint16(dst, src.scales[0])
		high := uint16(0)
		for g, s := range src.scales8 {
			if s < -32 || s > 31 {
				return fmt.Errorf("%w: a scale of %d, and IQ4_XS has six bits", ErrLayout, s)
			}
			dst[4+g/2] |= byte(s+32) & 15 << (4 * (g % 2))
			high |= uint16(s+32) >> 4 << (2 * g)
			splitNibbles(dst[8+16*g:], src.codes[16*g:])
		}
		binary.LittleEndian.PutUint16(dst[2:], high)
		return nil
	},
}

// splitFifths is the inverse of joinFifths.
func splitFifths(dst, codes []byte) {
	fifths := uint32(0)
	for i, c := range codes {
		fifths |= uint32(c>>4&1) << i
	}
	binary.LittleEndian.PutUint32(dst, fifths)
	for i := range 16 {
		dst[4+i] = codes[i]&15 | codes[i+16]&15<<4
	}
}

// unpackSuper writes the scales of Q4_K and Q5_K, see sixBits.
func unpackSuper(dst []byte, src packed) error {
	binary.LittleEndian.PutUint16(dst, src.scales[0])
	binary.LittleEndian.PutUint16(dst[2:], src.mins[0]^0x8000)
	to := dst[4:16]
	for g := range src.scales8 {
		s, m := src.scales8[g], src.mins8[g]
		if s < 0 || s > 63 || m < 0 || m > 63 {
			return fmt.Errorf("%w: a scale of %d or least value of %d, and K-quants have six bits", ErrLayout, s, m)
		}
		if g < 4 {
			to[g] |= byte(s)
			to[g+4] |= byte(m)
			continue
		}
		to[g+4] = byte(s)&15 | byte(m)&15<<4
		to[g-4] |= byte(s) >> 4 << 6
		to[g] |= byte(m) >> 4 << 6
	}
	return nil
}

// OwnType returns the type whose blocks are a scheme's own, if there is one besides those
// of plain codes.
func OwnType(s kernels.Scheme) (Type, bool) {
	for t := range unpacked {
		if own, _ := t.Scheme(); own == s {
			return t, true
		}
	}
	return 0, false
}

// UsualType returns the type that holds a scheme's codes in the fewest bits: its own, or
// one of plain codes.
func UsualType(s kernels.Scheme) Type {
	own, is := OwnType(s)
	switch {
	case is:
		return own
	case s.Bits == 8 || s.Top > 0:
		return Q8_0
	case s.Sym:
		return Q4_0
	}
	return Q4_1
}

// unpackRow writes row r of a matrix in a scheme of the type's own.
func unpackRow(dst []byte, q *kernels.QTensor, r int, t Type) error {
	size, n := knownTypes[t].bytes, q.Cols/t.Block()
	for b := range n {
		err := unpacked[t](dst[b*size:][:size], packed{part(q.Codes, q.Rows, r, n, b), part(q.Scales, q.Rows, r, n, b), part(q.Mins, q.Rows, r, n, b),
			part(q.SubScales, q.Rows, r, n, b), part(q.SubMins, q.Rows, r, n, b)})
		if err != nil {
			return fmt.Errorf("row %d: %w", r, err)
		}
	}
	return nil
}
