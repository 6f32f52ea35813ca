//go:build arm64 && !noasm

package vector

import (
	"nibble/kernels/cpu"
	"nibble/kernels/number"
)

func archOps(cpu.ISA) Ops {
	ops := vectorAsm{
		expSum: expSumNEON, swiGLU: swiGLUNEON,
		squares: squaresNEON, scaleMul: scaleMulNEON, add: addNEON, maximum: maximumNEON,
		rotate: rotateNEON, encodeF16: encodeF16NEON,
	}.ops()
	return ops
}

// Decoder returns the conversion of rows of floats, ldd elements apart in the result
// and lds in the source. If ahead, it fetches as many rows after them, which are to be
// the next.
func Decoder(ahead bool) func(dst []float32, ldd int, src []byte, lds int, dt number.DType, n, rows int) {
	return decodeAsm(number.PerDType[func(dst *float32, ldd int, src *byte, lds int, n int, rows int, after int)]{
		number.F32: decodeF32NEON, number.F16: decodeF16NEON, number.BF16: decodeBF16NEON,
	}, ahead)
}
