//go:build amd64 && !noasm

package kernels

import (
	"github.com/klauspost/cpuid/v2"

	"nibble/kernels/layout"
)

// archTiers lists the tiers of this CPU beyond Generic.
func archTiers() (tiers []ISA) {
	for _, isa := range []ISA{AVX2, AVXVNNI, AVX512VNNI, AMX} {
		if cpuid.CPU.Supports(tierNeeds(isa)...) && (isa != AMX || allowAMX()) {
			tiers = append(tiers, isa)
		}
	}
	return tiers
}

// tierNeeds lists the features that a CPU must have for a tier: its kernels hold
// instructions of these alone.
func tierNeeds(isa ISA) []cpuid.FeatureID {
	features := []cpuid.FeatureID{cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C}
	switch isa {
	case AVXVNNI:
		features = append(features, avxvnniFeatures...)
	case AVX512VNNI, AMX:
		features = append(features, cpuid.BMI2, cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.AVX512VNNI)
	}
	if isa == AMX {
		features = append(features, cpuid.AMXTILE, cpuid.AMXINT8)
	}
	return features
}

func archOps(isa ISA) vectorOps {
	ops := vectorAsm{
		expSum: expSumAVX2, swiGLU: swiGLUAVX2, quantizeBlocks: quantizeBlocksAVX2,
		squares: squaresAVX2, scaleMul: scaleMulAVX2, add: addAVX2, maximum: maximumAVX2,
		rotate: rotateAVX2, encodeF16: encodeF16AVX2,
	}.ops()
	ops.extent, ops.roundGroup, ops.transpose = extentAsm, roundGroupAsm, transposeAsm
	ops.scores = tiledScores(perDType[[]scoresTile]{
		F32: {{4, scoresF32AVX2x4}, {2, scoresF32AVX2x2}, {1, scoresF32AVX2x1}},
		F16: {{4, scoresF16AVX2x4}, {2, scoresF16AVX2x2}, {1, scoresF16AVX2x1}},
	})
	ops.values = tiledValues(perDType[[]valuesTile]{
		F32: {{2, valuesF32AVX2x2}, {1, valuesF32AVX2x1}},
		F16: {{2, valuesF16AVX2x2}, {1, valuesF16AVX2x1}},
	})
	ops.valuesHeads = tiledValuesHeads(perDType[func(*float32, *float32, int, *byte, int, int, int, int)]{F32: valuesHeadsF32AVX2, F16: valuesHeadsF16AVX2})
	if isa == AVX512VNNI || isa == AMX {
		ops.transpose = transposeAsm16
		ops.scores = tiledScores(perDType[[]scoresTile]{
			F32: {{8, scoresF32AVX512x8}, {4, scoresF32AVX512x4}, {2, scoresF32AVX512x2}, {1, scoresF32AVX512x1}},
			F16: {{8, scoresF16AVX512x8}, {4, scoresF16AVX512x4}, {2, scoresF16AVX512x2}, {1, scoresF16AVX512x1}},
		})
		ops.values = tiledValues(perDType[[]valuesTile]{
			F32: {{4, valuesF32AVX512x4}, {2, valuesF32AVX512x2}, {1, valuesF32AVX512x1}},
			F16: {{4, valuesF16AVX512x4}, {2, valuesF16AVX512x2}, {1, valuesF16AVX512x1}},
		})
		ops.valuesHeads = tiledValuesHeads(perDType[func(*float32, *float32, int, *byte, int, int, int, int)]{F32: valuesHeadsF32AVX512, F16: valuesHeadsF16AVX512})
	}
	return ops
}

func archFloatKernels() []floatKernel {
	avx2 := perDType[dotsSet]{
		F32:  {[]dotsTile{{2, dotsF32AVX2x4x2, dotsF32AVX2x1x2}}, rowDotsF32AVX2},
		F16:  {[]dotsTile{{2, dotsF16AVX2x4x2, dotsF16AVX2x1x2}}, rowDotsF16AVX2},
		BF16: {[]dotsTile{{2, dotsBF16AVX2x4x2, dotsBF16AVX2x1x2}}, rowDotsBF16AVX2},
	}
	avx512 := perDType[dotsSet]{
		F32:  {[]dotsTile{{6, dotsF32AVX512x4x6, dotsF32AVX512x1x6}, {4, dotsF32AVX512x4x4, dotsF32AVX512x1x4}, {2, dotsF32AVX512x4x2, dotsF32AVX512x1x2}}, rowDotsF32AVX512},
		F16:  {[]dotsTile{{6, dotsF16AVX512x4x6, dotsF16AVX512x1x6}, {4, dotsF16AVX512x4x4, dotsF16AVX512x1x4}, {2, dotsF16AVX512x4x2, dotsF16AVX512x1x2}}, rowDotsF16AVX512},
		BF16: {[]dotsTile{{6, dotsBF16AVX512x4x6, dotsBF16AVX512x1x6}, {4, dotsBF16AVX512x4x4, dotsBF16AVX512x1x4}, {2, dotsBF16AVX512x4x2, dotsBF16AVX512x1x2}}, rowDotsBF16AVX512},
	}
	decodes := perDType[func(*float32, int, *byte, int, int, int, int)]{F32: decodeF32AVX2, F16: decodeF16AVX2, BF16: decodeBF16AVX2}
	decode, ahead := decodeAsm(decodes, false), decodeAsm(decodes, true) // tiles of outer products fetch by themselves
	return []floatKernel{
		{Name: "4x2", ISA: AVX2, whole: true, dots: tiledDots(avx2), row: tiledRow(avx2), decode: ahead},
		{Name: "4x24", ISA: AVX2, whole: true, dots: tiledDots(avx2), row: tiledRow(avx2), decode: decode,
			outer: outerSet{8, 4, []outerTile{{24, outerAVX2x4x24}, {16, outerAVX2x4x16}}, transposeAsm}},
		{Name: "4x6", ISA: AVX512VNNI, dots: tiledDots(avx512), row: tiledRow(avx512), decode: ahead},
		{Name: "8x48", ISA: AVX512VNNI, dots: tiledDots(avx512), row: tiledRow(avx512), decode: decode,
			outer: outerSet{16, 8, []outerTile{{48, outerAVX512x8x48}, {32, outerAVX512x8x32}, {16, outerAVX512x8x16}}, transposeAsm16}},
	}
}

// archPackNibbles interleaves lines of 16 rows of 4-bit codes, rowBytes apart in src,
// or reports that it cannot; archPackBytes does so with 8-bit codes.
func archPackNibbles(dst, src []byte, rowBytes, lines int) bool {
	return packLinesBy(packLines4AVX2, dst, src, rowBytes, lines)
}

func archPackBytes(dst, src []byte, rowBytes, lines int) bool {
	return packLinesBy(packLines8AVX2, dst, src, rowBytes, lines)
}

func packLinesBy(asm func(dst, src *byte, stride, lines int), dst, src []byte, rowBytes, lines int) bool {
	if lines == 0 || rowBytes >= 1<<27 || len(Supported()) == 1 {
		return false
	}
	_, _ = dst[lines*layout.LineBytes-1], src[(layout.PanelRows-1)*rowBytes+4*lines-1]
	asm(&dst[0], &src[0], rowBytes, lines)
	return true
}

// extentAsm is extentGeneric but for NaNs, of which there are none.
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

// transposeAsm is transposeGeneric in squares of 8.
func transposeAsm(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeSquares(8, transposeAVX2, transposeGeneric, dst, ldd, src, lds, rows, cols)
}

// transposeAsm16 is transposeGeneric in squares of 16, which are lines of the cache.
func transposeAsm16(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeSquares(16, transposeAVX512, transposeAsm, dst, ldd, src, lds, rows, cols)
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

// readMemory reads b, whose length is a multiple of 256.
func readMemory(b []byte) { readAVX2(&b[0], len(b)) }

// peakInt runs rounds of the tier's integer dot products on registers.
func peakInt(isa ISA, rounds int) {
	switch isa {
	case AMX:
		peakAMX(rounds)
	case AVX512VNNI:
		peakAVX512VNNI(rounds)
	case AVXVNNI:
		peakAVXVNNI(rounds)
	default:
		peakAVX2(rounds)
	}
}

// peakOps is the operations of one round.
func peakOps(isa ISA) float64 {
	switch isa {
	case AMX:
		return 6 * 2 * 16 * 16 * 64 // tiles x multiply-adds of 16 tokens, 16 rows and 64 columns
	case AVX512VNNI:
		return 14 * 128 // chains x multiply-adds of 64 bytes
	case AVXVNNI:
		return 12 * 64
	}
	return 8 * 64
}

// peakFloat runs rounds of the tier's float32 multiply-adds on registers.
func peakFloat(isa ISA, rounds int) {
	if isa == AVX512VNNI || isa == AMX {
		peakFMAAVX512(rounds)
		return
	}
	peakFMAAVX2(rounds)
}

// peakFlops is the operations of one round.
func peakFlops(isa ISA) float64 {
	if isa == AVX512VNNI || isa == AMX {
		return 14 * 32
	}
	return 12 * 16
}
