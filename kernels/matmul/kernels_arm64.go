//go:build arm64 && !noasm

package matmul

import (
	"nibble/kernels/cpu"
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

func archFloatKernels() []floatKernel {
	return []floatKernel{{Name: "4x4", ISA: cpu.NEON, whole: true, dots: tiledDots(number.PerDType[dotsSet]{
		number.F32:  {tiles: []dotsTile{{4, dotsF32NEON4x4, dotsF32NEON1x4}, {1, dotsF32NEON4x1, dotsF32NEON1x1}}},
		number.F16:  {tiles: []dotsTile{{4, dotsF16NEON4x4, dotsF16NEON1x4}, {1, dotsF16NEON4x1, dotsF16NEON1x1}}},
		number.BF16: {tiles: []dotsTile{{4, dotsBF16NEON4x4, dotsBF16NEON1x4}, {1, dotsBF16NEON4x1, dotsBF16NEON1x1}}},
	}), decode: vector.Decoder(true)}}
}

// archQuantizeBlocks is quantizeBlocksGeneric by assembly.
func archQuantizeBlocks(dst []actBlock, step int, x []float32) {
	quantizeWhole(quantizeBlocksNEON, dst, step, x)
}
