package kernels

// CodeTable says what the codes of a matrix stand for.
type CodeTable uint8

// The tables. Even steps are the zero value; the others have four bits, no zero
// points and groups of 32.
const (
	Even CodeTable = iota // the code less the zero point
	NL4                   // non-linear: the values of GGUF's IQ4_NL, finer near zero
	FP4                   // twice the values of E2M1 floats, those of GGUF's MXFP4
)

// codeTables holds each table's name, values and the type of its scales.
var codeTables = [...]struct {
	name   string
	values *[16]int8
	scale  DType
}{
	Even: {scale: F16},
	NL4:  {"nl4", &[16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}, F16},
	FP4:  {"mxfp4", &[16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}, BF16},
}

// Values returns what the codes 0 to 15 stand for, nil for even steps.
func (t CodeTable) Values() []int8 {
	if v := codeTables[t].values; v != nil {
		return v[:]
	}
	return nil
}

// String names the table as a scheme's short form does: "nl4"; even steps are "".
func (t CodeTable) String() string { return codeTables[t].name }

// ScaleType returns the type of the scales: F16, or for FP4 BF16, which holds every
// power of two that a scale of eight bits (E8M0 of the OCP Microscaling Formats
// specification, 2023) can be.
func (s Scheme) ScaleType() DType { return codeTables[s.Table].scale }

// Value returns what a code stands for, before it is multiplied by the scale.
func (s Scheme) Value(code, zero uint8) int {
	if t := codeTables[s.Table].values; t != nil {
		return int(t[code])
	}
	return int(code) - int(zero)
}

// decodeScale returns the value of a scale's bits.
func (s Scheme) decodeScale(bits uint16) float32 {
	if s.ScaleType() == BF16 {
		return BF16ToF32(bits)
	}
	return F16ToF32(bits)
}

// finiteScale reports whether a scale's bits are neither an infinity nor a NaN.
func (s Scheme) finiteScale(bits uint16) bool {
	exponent := uint16(0x7c00)
	if s.ScaleType() == BF16 {
		exponent = 0x7f80
	}
	return bits&exponent != exponent
}
