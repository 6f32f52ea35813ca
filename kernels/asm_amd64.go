//go:build amd64 && !noasm

package kernels

import "github.com/klauspost/cpuid/v2"

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

// near and far are how many bytes ahead of one token's codes the stream is fetched;
// see RATIONALE.md.
const near, far = 512, 1536

func archIntKernels() []intKernel {
	b1, b2, b3 := tile{16, 1, mul4symAVX2x1, mul4asymAVX2x1, near}, tile{8, 2, mul4symAVX2x2, mul4asymAVX2x2, 0}, tile{8, 3, mul4symAVX2x3, mul4asymAVX2x3, 0}
	e1, e2 := tile{16, 1, mul8symAVX2x1, mul8asymAVX2x1, near}, tile{8, 2, mul8symAVX2x2, mul8asymAVX2x2, 0}
	v1, v2, v4 := tile{16, 1, mul4symAVXVNNIx1, mul4asymAVXVNNIx1, near}, tile{8, 2, mul4symAVXVNNIx2, mul4asymAVXVNNIx2, 0}, tile{8, 4, mul4symAVXVNNIx4, mul4asymAVXVNNIx4, 0}
	w1, w2, w4 := tile{16, 1, mul8symAVXVNNIx1, mul8asymAVXVNNIx1, near}, tile{8, 2, mul8symAVXVNNIx2, mul8asymAVXVNNIx2, 0}, tile{8, 4, mul8symAVXVNNIx4, mul8asymAVXVNNIx4, 0}
	z1, z2, z4 := tile{16, 1, mul4symAVX512VNNIx1, mul4asymAVX512VNNIx1, near}, tile{16, 2, mul4symAVX512VNNIx2, mul4asymAVX512VNNIx2, 0}, tile{16, 4, mul4symAVX512VNNIx4, mul4asymAVX512VNNIx4, 0}
	z8, z12 := tile{16, 8, mul4symAVX512VNNIx8, mul4asymAVX512VNNIx8, 0}, tile{16, 12, mul4symAVX512VNNIx12, mul4asymAVX512VNNIx12, 0}
	p2, p4, p6 := tile{32, 2, mul4symAVX512VNNI2x2, mul4asymAVX512VNNI2x2, 0}, tile{32, 4, mul4symAVX512VNNI2x4, mul4asymAVX512VNNI2x4, 0}, tile{32, 6, mul4symAVX512VNNI2x6, mul4asymAVX512VNNI2x6, 0}
	y1, y2, y4 := tile{16, 1, mul8symAVX512VNNIx1, mul8asymAVX512VNNIx1, near}, tile{16, 2, mul8symAVX512VNNIx2, mul8asymAVX512VNNIx2, 0}, tile{16, 4, mul8symAVX512VNNIx4, mul8asymAVX512VNNIx4, 0}
	y8, y12 := tile{16, 8, mul8symAVX512VNNIx8, mul8asymAVX512VNNIx8, 0}, tile{16, 12, mul8symAVX512VNNIx12, mul8asymAVX512VNNIx12, 0}
	q2, q4, q6 := tile{32, 2, mul8symAVX512VNNI2x2, mul8asymAVX512VNNI2x2, 0}, tile{32, 4, mul8symAVX512VNNI2x4, mul8asymAVX512VNNI2x4, 0}, tile{32, 6, mul8symAVX512VNNI2x6, mul8asymAVX512VNNI2x6, 0}
	h2, h3 := tile{16, 2, mul4symAVXVNNI16x2, mul4asymAVXVNNI16x2, 0}, tile{16, 3, mul4symAVXVNNI16x3, mul4asymAVXVNNI16x3, 0}
	g2, g3 := tile{16, 2, mul8symAVXVNNI16x2, mul8asymAVXVNNI16x2, 0}, tile{16, 3, mul8symAVXVNNI16x3, mul8asymAVXVNNI16x3, 0}
	return []intKernel{
		tiledInt(AVX2, 4, b2, b1), tiledInt(AVX2, 4, b3, b2, b1),
		tiledInt(AVX2, 8, e1), tiledInt(AVX2, 8, e2, e1),
		tiledInt(AVXVNNI, 4, v4, v2, v1), tiledInt(AVXVNNI, 4, h3, h2, v1),
		tiledInt(AVXVNNI, 8, w4, w2, w1), tiledInt(AVXVNNI, 8, g3, g2, w1),
		farStream(4, z1), tiledInt(AVX512VNNI, 4, z4, z2, z1), tiledInt(AVX512VNNI, 4, z12, z8, z4, z2, z1), tiledInt(AVX512VNNI, 4, p6, p4, p2, z1),
		farStream(8, y1), tiledInt(AVX512VNNI, 8, y4, y2, y1), tiledInt(AVX512VNNI, 8, y12, y8, y4, y2, y1), tiledInt(AVX512VNNI, 8, q6, q4, q2, y1),
		amxInt(4, p6, p4, p2, z1), amxInt(8, q6, q4, q2, y1),
	}
}

// farStream is a kernel for one token that fetches its stream from farther ahead.
func farStream(bits int, one tile) intKernel {
	one.ahead = far
	k := tiledInt(AVX512VNNI, bits, one)
	k.Name += " far"
	return k
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

// archPackLines interleaves lines of 16 rows, rowBytes apart in src, or reports
// that it cannot.
func archPackLines(dst, src []byte, rowBytes, lines, bits int) bool {
	if lines == 0 || rowBytes >= 1<<27 || len(Supported()) == 1 {
		return false
	}
	_, _ = dst[lines*lineBytes-1], src[(panelRows-1)*rowBytes+4*lines-1]
	if bits == 4 {
		packLines4AVX2(&dst[0], &src[0], rowBytes, lines)
	} else {
		packLines8AVX2(&dst[0], &src[0], rowBytes, lines)
	}
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
