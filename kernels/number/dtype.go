package number

import (
	"encoding/binary"
	"fmt"
	"math"
)

// DType is the storage type of a floating-point tensor.
type DType uint8

// The floating-point storage types.
const (
	F32 DType = iota
	F16
	BF16
)

// PerDType holds one thing for each storage type.
type PerDType[T any] [BF16 + 1]T

// Size returns the bytes of one element.
func (d DType) Size() int {
	if d == F32 {
		return 4
	}
	return 2
}

// String returns the safetensors spelling: "F32", "F16" or "BF16".
func (d DType) String() string {
	switch d {
	case F32:
		return "F32"
	case F16:
		return "F16"
	case BF16:
		return "BF16"
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// f16Table holds the value of every F16 bit pattern: 256 KiB that turn the
// conversion into one load.
var f16Table = func() *[1 << 16]float32 {
	t := new([1 << 16]float32)
	for i := range t {
		t[i] = decodeF16(uint16(i))
	}
	return t
}()

// F16ToF32 converts IEEE 754 binary16 bits to their exact float32 value.
func F16ToF32(h uint16) float32 { return f16Table[h] }

func decodeF16(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp, frac := uint32(h>>10)&31, uint32(h)&0x3ff
	switch {
	case exp == 31: // Inf and NaN keep their payload
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	}
	v := float32(frac) * (1.0 / (1 << 24)) // zero and subnormal
	return math.Float32frombits(math.Float32bits(v) | sign)
}

// F32ToF16 converts to binary16, rounding to nearest, ties to even. Values
// beyond the range become infinities.
func F32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	abs := b & 0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN: keep it quiet
		return sign | 0x7e00
	case abs >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case abs < 0x38800000: // subnormal in F16: let float32 addition round
		v := math.Float32frombits(abs) + 0.5 // ulp of [0.5,1) is 2^-24, the F16 step
		return sign | uint16(math.Float32bits(v)-0x3f000000)
	}
	abs += 0xfff + (abs>>13)&1
	return sign | uint16((abs-112<<23)>>13)
}

// BF16ToF32 converts bfloat16 bits to their exact float32 value.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 converts to bfloat16, rounding to nearest, ties to even.
func F32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b>>16)&1) >> 16)
}

// DecodeFloats converts len(dst) little-endian elements of src to float32. It
// panics when src is too short, like copy from a slice expression would.
func DecodeFloats(dst []float32, src []byte, dt DType) {
	src = src[:len(dst)*dt.Size()]
	switch dt {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = f16Table[binary.LittleEndian.Uint16(src[2*i:])]
		}
	case BF16:
		for ; len(dst) >= 4; dst, src = dst[4:], src[8:] {
			four := binary.LittleEndian.Uint64(src)
			dst[0] = math.Float32frombits(uint32(four) << 16)
			dst[1] = math.Float32frombits(uint32(four) & 0xffff0000)
			dst[2] = math.Float32frombits(uint32(four>>32) << 16)
			dst[3] = math.Float32frombits(uint32(four>>32) & 0xffff0000)
		}
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	}
}

// EncodeFloats converts src to little-endian elements of dst, rounding to nearest,
// ties to even. It panics when dst is too short.
func EncodeFloats(dst []byte, src []float32, dt DType) {
	dst = dst[:len(src)*dt.Size()]
	for i, v := range src {
		switch dt {
		case F32:
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		case F16:
			binary.LittleEndian.PutUint16(dst[2*i:], F32ToF16(v))
		case BF16:
			binary.LittleEndian.PutUint16(dst[2*i:], F32ToBF16(v))
		}
	}
}

// RoundFloats rounds values to what a storage type holds.
func RoundFloats(x []float32, dt DType) {
	for i, v := range x {
		switch dt {
		case F16:
			x[i] = F16ToF32(F32ToF16(v))
		case BF16:
			x[i] = BF16ToF32(F32ToBF16(v))
		}
	}
}

func F32At(b []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
}

func U16At(b []byte, i int) uint16 { return binary.LittleEndian.Uint16(b[2*i:]) }

// DecodeRows converts rows of n floats, ldd elements apart in dst and lds in src.
func DecodeRows(dst []float32, ldd int, src []byte, lds int, dt DType, n, rows int) {
	for r := range rows {
		DecodeFloats(dst[r*ldd:][:n], src[r*lds*dt.Size():], dt)
	}
}
