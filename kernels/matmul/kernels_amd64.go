//go:build amd64 && !noasm

package matmul

import (
	"nibble/kernels/cpu"
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

// archQuantizeBlocks is quantizeBlocksGeneric by assembly.
func archQuantizeBlocks(dst []actBlock, step int, x []float32) {
	quantizeWhole(quantizeBlocksAVX2, dst, step, x)
}

func archFloatKernels() []floatKernel {
	avx2 := number.PerDType[dotsSet]{
		number.F32:  {[]dotsTile{{2, dotsF32AVX2x4x2, dotsF32AVX2x1x2}}, rowDotsF32AVX2},
		number.F16:  {[]dotsTile{{2, dotsF16AVX2x4x2, dotsF16AVX2x1x2}}, rowDotsF16AVX2},
		number.BF16: {[]dotsTile{{2, dotsBF16AVX2x4x2, dotsBF16AVX2x1x2}}, rowDotsBF16AVX2},
	}
	avx512 := number.PerDType[dotsSet]{
		number.F32:  {[]dotsTile{{6, dotsF32AVX512x4x6, dotsF32AVX512x1x6}, {4, dotsF32AVX512x4x4, dotsF32AVX512x1x4}, {2, dotsF32AVX512x4x2, dotsF32AVX512x1x2}}, rowDotsF32AVX512},
		number.F16:  {[]dotsTile{{6, dotsF16AVX512x4x6, dotsF16AVX512x1x6}, {4, dotsF16AVX512x4x4, dotsF16AVX512x1x4}, {2, dotsF16AVX512x4x2, dotsF16AVX512x1x2}}, rowDotsF16AVX512},
		number.BF16: {[]dotsTile{{6, dotsBF16AVX512x4x6, dotsBF16AVX512x1x6}, {4, dotsBF16AVX512x4x4, dotsBF16AVX512x1x4}, {2, dotsBF16AVX512x4x2, dotsBF16AVX512x1x2}}, rowDotsBF16AVX512},
	}
	decode, ahead := vector.Decoder(false), vector.Decoder(true) // tiles of outer products fetch by themselves
	return []floatKernel{
		{Name: "4x2", ISA: cpu.AVX2, whole: true, dots: tiledDots(avx2), row: tiledRow(avx2), decode: ahead},
		{Name: "4x24", ISA: cpu.AVX2, whole: true, dots: tiledDots(avx2), row: tiledRow(avx2), decode: decode,
			outer: outerSet{8, 4, []outerTile{{24, outerAVX2x4x24}, {16, outerAVX2x4x16}}, vector.TransposeAsm}},
		{Name: "4x6", ISA: cpu.AVX512VNNI, dots: tiledDots(avx512), row: tiledRow(avx512), decode: ahead},
		{Name: "8x48", ISA: cpu.AVX512VNNI, dots: tiledDots(avx512), row: tiledRow(avx512), decode: decode,
			outer: outerSet{16, 8, []outerTile{{48, outerAVX512x8x48}, {32, outerAVX512x8x32}, {16, outerAVX512x8x16}}, vector.TransposeAsm16}},
	}
}
