package format

import (
	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// CodeTable says what the codes of a matrix stand for.
type CodeTable uint8

// The tables. Even steps are the zero value; the others have four bits and no zero
// points.
const (
	Even CodeTable = iota // the code less the zero point
	NL4                   // non-linear: the values of GGUF's IQ4_NL, finer near zero
	FP4                   // twice the values of E2M1 floats, those of GGUF's MXFP4
)

// codeTables holds what codes stand for, nil: even steps.
var codeTables = [...]*[16]int8{NL4: &layout.NonLinear, FP4: &layout.Floats}

// Values returns what the codes 0 to 15 stand for, nil for even steps.
func (t CodeTable) Values() []int8 {
	if v := codeTables[t]; v != nil {
		return v[:]
	}
	return nil
}

// ScaleType returns the type of the scales: F16, or BF16, which holds every power of two
// that a scale of eight bits (E8M0 of the OCP Microscaling Formats specification, 2023)
// can be.
func (s Scheme) ScaleType() number.DType {
	if s.Format().Scale == layout.BF16Scale {
		return number.BF16
	}
	return number.F16
}

// Value returns what a code stands for, before it is multiplied by the scale. zero is
// the zero point of codes that have one.
func (s Scheme) Value(code, zero uint8) int {
	switch t := codeTables[s.Table]; {
	case t != nil:
		return int(t[code])
	case s.Mins:
		return int(code)
	}
	return int(code) - int(zero)
}

// decodeScale returns the value of a scale's bits.
func (s Scheme) decodeScale(bits uint16) float32 {
	if s.ScaleType() == number.BF16 {
		return number.BF16ToF32(bits)
	}
	return number.F16ToF32(bits)
}

// finiteScale reports whether a scale's bits are neither an infinity nor a NaN.
func (s Scheme) finiteScale(bits uint16) bool {
	exponent := uint16(0x7c00)
	if s.ScaleType() == number.BF16 {
		exponent = 0x7f80
	}
	return bits&exponent != exponent
}
