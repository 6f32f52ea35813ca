package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"nibble/kernels"
)

// block is the number of values that share a scale in every block type here.
const block = 32

// CheckScheme reports why t cannot hold quantized rows of cols columns exactly,
// if it is the scheme's fault. Groups longer than a block are no obstacle: their
// scale is repeated. With zero points, whether the minimums of Q4_1 come out
// exact depends on the values: see ExactMin.
func CheckScheme(s kernels.Scheme, cols int, t Type) error {
	own, is := OwnType(s)
	switch {
	case is && own == t && cols%t.Block() == 0:
		return nil
	case is:
		return fmt.Errorf("%w: %s does not fit %s: %s holds it, in rows of whole %d values", ErrLayout, s, t, own, own.Block())
	case cols%block != 0:
		return fmt.Errorf("%w: %d columns are no multiple of the %d that a %s block holds", ErrLayout, cols, block, t)
	case s.Top > 0 && t != Q8_0:
		return fmt.Errorf("%w: some rows of %s have 8 bits, which %s does not hold", ErrLayout, s, t)
	case t == Q4_0 && s.Bits == 4 && s.Sym,
		t == Q4_1 && s.Bits == 4,
		t == Q8_0 && (s.Bits == 4 || s.Sym):
		return nil
	case t == Q4_0 && s.Bits == 4:
		return fmt.Errorf("%w: %s has zero points and Q4_0 has none", ErrLayout, s)
	case t == Q8_0:
		return fmt.Errorf("%w: %s has zero points, and its codes do not fit the signed bytes of Q8_0", ErrLayout, s)
	}
	return fmt.Errorf("%w: %s does not fit %s", ErrLayout, s, t)
}

// ExactMin returns the F16 minimum of a group for Q4_1, -zero*scale, and whether
// it is exact.
func ExactMin(zero uint8, scale uint16) (uint16, bool) {
	m := -float32(zero) * kernels.F16ToF32(scale) // 15 bits: exact in float32
	h := kernels.F32ToF16(m)
	return h, kernels.F16ToF32(h) == m
}

// EncodeQuant writes row r of a quantized matrix as blocks of t, which
// CheckScheme allowed.
func EncodeQuant(dst []byte, q *kernels.QTensor, r int, t Type) error {
	if err := CheckScheme(q.Scheme, q.Cols, t); err != nil {
		return err
	}
	if own, is := OwnType(q.Scheme); is && own == t {
		return unpackRow(dst, q, r, t)
	}
	width, groups, size := q.Scheme.GroupWidth(q.Cols), q.Groups(), t.RowBytes(block)
	row := q.Codes[r*q.RowBytes():]
	if i, ok := slices.BinarySearch(q.TopRows, int32(r)); ok {
		return encodeTop(dst, q, r, i)
	}
	for b := range q.Cols / block {
		g := r*groups + b*block/width
		scale, zero := q.Scales[g], uint8(q.Scheme.MidCode())
		if q.Zeros != nil {
			zero = q.Zeros[g]
		}
		out := dst[b*size:][:size]
		binary.LittleEndian.PutUint16(out, scale)
		codes := row[b*block*q.Scheme.Bits/8:]
		switch {
		case t == Q4_0:
			splitNibbles(out[2:], codes)
		case t == Q4_1:
			m, _ := ExactMin(zero, scale)
			if m&0x7c00 == 0x7c00 {
				return fmt.Errorf("%w: row %d: the minimum %g is beyond F16", ErrLayout, r, -float32(zero)*kernels.F16ToF32(scale))
			}
			binary.LittleEndian.PutUint16(out[2:], m)
			splitNibbles(out[4:], codes)
		case q.Scheme.Bits == 8: // Q8_0
			for i, c := range codes[:block] {
				out[2+i] = c - zero
			}
		default:
			for i, c := range codes[:block/2] {
				out[2+2*i], out[3+2*i] = c&15-zero, c>>4-zero
			}
		}
	}
	return nil
}

// encodeTop writes row r, the i-th that has eight bits, as blocks of Q8_0: its value
// (c-8)*scale + (d-8)*scale/16 is 16(c-8) + d-8 of that smaller scale.
func encodeTop(dst []byte, q *kernels.QTensor, r, i int) error {
	width, groups, size, bytes := q.Scheme.GroupWidth(q.Cols), q.Groups(), Q8_0.RowBytes(block), q.RowBytes()
	further := q.TopCodes[i*bytes:][:bytes]
	for b := range q.Cols / block {
		out := dst[b*size:][:size]
		scale := q.Scales[r*groups+b*block/width]
		small := kernels.TopScale(scale)
		if 16*kernels.F16ToF32(small) != kernels.F16ToF32(scale) {
			return fmt.Errorf("%w: row %d: a sixteenth of the scale %g has no exact F16 value", ErrLayout, r, kernels.F16ToF32(scale))
		}
		binary.LittleEndian.PutUint16(out, small)
		for j := range block {
			c := b*block + j
			v := 16*(int(q.Code(r, c))-8) + int(further[c/2]>>(4*(c&1))&15) - 8
			if v < -128 {
				return fmt.Errorf("%w: row %d: a code of 8 bits is %d, less than Q8_0 holds", ErrLayout, r, v)
			}
			out[2+j] = byte(v)
		}
	}
	return nil
}

// splitNibbles turns 32 codes that are paired with their neighbours into GGUF's
// order: byte j holds code j low and code j+16 high.
func splitNibbles(dst, src []byte) {
	for k := range block / 4 {
		a, b := src[k], src[k+block/4]
		dst[2*k] = a&15 | b<<4
		dst[2*k+1] = a>>4 | b&0xf0
	}
}

// EncodeFloats writes a row of floats as F32, F16 or BF16, rounding to nearest. A
// value beyond the type's range is an error.
func EncodeFloats(dst []byte, src []float32, t Type) error {
	switch t {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
		return nil
	case F16:
		for i, v := range src {
			h := kernels.F32ToF16(v)
			if h&0x7c00 == 0x7c00 {
				return fmt.Errorf("%w: the value %g is beyond F16; F32 holds it", ErrLayout, v)
			}
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
		return nil
	case BF16:
		for i, v := range src {
			h := kernels.F32ToBF16(v)
			if h&0x7f80 == 0x7f80 {
				return fmt.Errorf("%w: the value %g is beyond BF16; F32 holds it", ErrLayout, v)
			}
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
		return nil
	}
	return fmt.Errorf("%w: floats as %s", ErrUnsupported, t)
}
