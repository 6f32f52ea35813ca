//go:build (amd64 || arm64) && !noasm

package vector

import "nibble/kernels/number"

// vectorAsm holds one tier's assembly for the operations of Ops on whole
// vectors: n is a positive multiple of vectorLanes, or any number of blocks. See
// kernels/_asm.
type vectorAsm struct {
	expSum    func(dst, x *float32, shift float32, n int) float32
	swiGLU    func(dst, gate, up *float32, n int)
	squares   func(x *float32, n int) float32
	scaleMul  func(dst, x, w *float32, scale float32, n int)
	add       func(dst, x *float32, n int)
	maximum   func(x *float32, n int) float32
	rotate    func(lo, hi, cos, sin *float32, n int)
	encodeF16 func(dst *uint16, x *float32, n int)
}

// ops completes the assembly with bounds checks, and with plain Go for what is
// left of a length. The products of attention are not among it.
func (a vectorAsm) ops() Ops {
	whole := func(n int) int { return n &^ (VectorLanes - 1) }
	return Ops{
		extent: extentGeneric, roundGroup: roundGroupGeneric, Transpose: transposeGeneric,
		expSum: func(dst, x []float32, shift float32) float32 {
			n := whole(len(x))
			var sum float32
			if n > 0 {
				_ = dst[n-1]
				sum = a.expSum(&dst[0], &x[0], shift, n)
			}
			if n < len(x) {
				sum += expSumGeneric(dst[n:], x[n:], shift)
			}
			return sum
		},
		swiGLU: func(dst, gate, up []float32) {
			n := whole(len(gate))
			if n > 0 {
				_, _ = dst[n-1], up[n-1]
				a.swiGLU(&dst[0], &gate[0], &up[0], n)
			}
			swiGLUGeneric(dst[n:], gate[n:], up[n:])
		},
		squares: func(x []float32) float32 {
			n := whole(len(x))
			var sum float32
			if n > 0 {
				sum = a.squares(&x[0], n)
			}
			return sum + squaresGeneric(x[n:])
		},
		ScaleMul: func(dst, x, w []float32, scale float32) {
			n := whole(len(x))
			if n > 0 {
				_, _ = dst[n-1], w[n-1]
				a.scaleMul(&dst[0], &x[0], &w[0], scale, n)
			}
			scaleMulGeneric(dst[n:], x[n:], w[n:], scale)
		},
		add: func(dst, x []float32) {
			n := whole(len(x))
			if n > 0 {
				_ = dst[n-1]
				a.add(&dst[0], &x[0], n)
			}
			AddGeneric(dst[n:], x[n:])
		},
		maximum: func(x []float32) float32 {
			n := whole(len(x))
			if n == 0 {
				return maximumGeneric(x)
			}
			top := a.maximum(&x[0], n)
			for _, v := range x[n:] {
				top = max(top, v)
			}
			return top
		},
		rotate: func(lo, hi, cos, sin []float32) {
			n := whole(len(cos))
			if n > 0 {
				_, _, _ = lo[n-1], hi[n-1], sin[n-1]
				a.rotate(&lo[0], &hi[0], &cos[0], &sin[0], n)
			}
			rotateGeneric(lo[n:], hi[n:], cos[n:], sin[n:])
		},
		EncodeF16: func(dst []uint16, x []float32) {
			n := whole(len(x))
			if n > 0 {
				_ = dst[n-1]
				a.encodeF16(&dst[0], &x[0], n)
			}
			encodeF16Generic(dst[n:], x[n:])
		},
	}
}

// decodeAsm completes the assembly that converts rows of floats, ldd elements
// apart in dst and lds in src. If ahead, it fetches as many rows after them, which
// are to be the next.
func decodeAsm(kernels number.PerDType[func(dst *float32, ldd int, src *byte, lds int, n int, rows int, after int)], ahead bool) func(dst []float32, ldd int, src []byte, lds int, dt number.DType, n, rows int) {
	return func(dst []float32, ldd int, src []byte, lds int, dt number.DType, n, rows int) {
		size, main, after := dt.Size(), n&^(VectorLanes-1), 0
		if ahead {
			after = rows * lds * size
		}
		_, _ = dst[(rows-1)*ldd+n-1], src[((rows-1)*lds+n)*size-1]
		if main > 0 {
			kernels[dt](&dst[0], 4*ldd, &src[0], lds*size, main, rows, after)
		}
		if main < n {
			number.DecodeRows(dst[main:], ldd, src[main*size:], lds, dt, n-main, rows)
		}
	}
}
