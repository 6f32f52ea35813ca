package gguf

import (
	"encoding/binary"
	"fmt"
	"math"

	"nibble/kernels"
)

// DecodeRow writes the values of a row to dst, in float32 arithmetic.
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

// FP4Values are those of 4-bit floats with two bits of exponent (E2M1).
var FP4Values = [16]float64{0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6}

func decodeMXFP4(dst []float32, src []byte) {
	exponent := int(src[0]) - 127
	for i, c := range src[1:] {
		dst[i] = float32(math.Ldexp(FP4Values[c&15], exponent))
		dst[i+16] = float32(math.Ldexp(FP4Values[c>>4], exponent))
	}
}
