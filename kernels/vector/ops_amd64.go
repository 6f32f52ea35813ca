//go:build amd64 && !noasm

package vector

import (
	"nibble/kernels/cpu"
	"nibble/kernels/number"
)

func archOps(isa cpu.ISA) Ops {
	ops := vectorAsm{
		expSum: expSumAVX2, swiGLU: swiGLUAVX2,
		squares: squaresAVX2, scaleMul: scaleMulAVX2, add: addAVX2, maximum: maximumAVX2,
		rotate: rotateAVX2, encodeF16: encodeF16AVX2,
	}.ops()
	ops.extent, ops.roundGroup, ops.Transpose = extentAsm, roundGroupAsm, TransposeAsm
	if isa == cpu.AVX512VNNI || isa == cpu.AMX {
		ops.Transpose = TransposeAsm16
	}
	return ops
}

// extentAsm returns what extentGeneric does, unless x holds a NaN.
func extentAsm(x []float32) (lo, hi float32) {
	n := len(x) &^ 7
	if n > 0 {
		lo, hi = extentAVX2(&x[0], n)
	}
	for _, v := range x[n:] {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

func roundGroupAsm(dst []byte, x []float32, bits int, g Grid, sums *RoundSums) {
	n := len(x) &^ 7
	if n > 0 {
		_ = dst[n*bits/8-1]
		f := roundGroup4AVX2
		if bits == 8 {
			f = roundGroup8AVX2
		}
		f(&dst[0], &x[0], n, float64(g.Scale), float64(g.Zero), float64(g.Low), float64(g.High), &sums.Err[0])
	}
	roundGroupGeneric(dst[n*bits/8:], x[n:], bits, g, sums)
}

// TransposeAsm is transposeGeneric in squares of 8.
func TransposeAsm(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeSquares(8, transposeAVX2, transposeGeneric, dst, ldd, src, lds, rows, cols)
}

// TransposeAsm16 is transposeGeneric in squares of 16, which are lines of the cache.
func TransposeAsm16(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeSquares(16, transposeAVX512, TransposeAsm, dst, ldd, src, lds, rows, cols)
}

// transposeSquares is transposeGeneric by columns of squares of n, and by rest for
// what is left.
func transposeSquares(n int, squares func(dst *float32, ldd int, src *float32, lds int, rows int), rest func(dst []float32, ldd int, src []float32, lds, rows, cols int),
	dst []float32, ldd int, src []float32, lds, rows, cols int) {
	whole, wide := rows/n*n, cols/n*n
	if whole > 0 && wide > 0 {
		_, _ = dst[(wide-1)*ldd+whole-1], src[(whole-1)*lds+wide-1]
		for c := 0; c < wide; c += n {
			squares(&dst[c*ldd], 4*ldd, &src[c], 4*lds, whole)
		}
	}
	if wide < cols && whole > 0 {
		rest(dst[wide*ldd:], ldd, src[wide:], lds, whole, cols-wide)
	}
	if whole < rows {
		rest(dst[whole:], ldd, src[whole*lds:], lds, rows-whole, cols)
	}
}

// Decoder returns the conversion of rows of floats, ldd elements apart in the result
// and lds in the source. If ahead, it fetches as many rows after them, which are to be
// the next.
func Decoder(ahead bool) func(dst []float32, ldd int, src []byte, lds int, dt number.DType, n, rows int) {
	return decodeAsm(number.PerDType[func(dst *float32, ldd int, src *byte, lds int, n int, rows int, after int)]{
		number.F32: decodeF32AVX2, number.F16: decodeF16AVX2, number.BF16: decodeBF16AVX2,
	}, ahead)
}
