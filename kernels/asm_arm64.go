//go:build arm64 && !noasm

package kernels

import "github.com/klauspost/cpuid/v2"

// archTiers lists the tiers of this CPU beyond Generic. Go's arm64 is never
// without NEON.
func archTiers() []ISA {
	tiers := []ISA{NEON}
	if cpuid.CPU.Supports(cpuid.ASIMDDP) {
		tiers = append(tiers, DotProd)
		if hasI8MM() {
			tiers = append(tiers, I8MM)
		}
	}
	return tiers
}

func archFloatKernels() []floatKernel {
	return []floatKernel{{Name: "4x4", ISA: NEON, whole: true, dots: tiledDots(perDType[dotsSet]{
		F32:  {tiles: []dotsTile{{4, dotsF32NEON4x4, dotsF32NEON1x4}, {1, dotsF32NEON4x1, dotsF32NEON1x1}}},
		F16:  {tiles: []dotsTile{{4, dotsF16NEON4x4, dotsF16NEON1x4}, {1, dotsF16NEON4x1, dotsF16NEON1x1}}},
		BF16: {tiles: []dotsTile{{4, dotsBF16NEON4x4, dotsBF16NEON1x4}, {1, dotsBF16NEON4x1, dotsBF16NEON1x1}}},
	}), decode: decodeAsm(perDType[func(*float32, int, *byte, int, int, int, int)]{F32: decodeF32NEON, F16: decodeF16NEON, BF16: decodeBF16NEON}, true)}}
}

func archOps(ISA) vectorOps {
	ops := vectorAsm{
		expSum: expSumNEON, swiGLU: swiGLUNEON, quantizeBlocks: quantizeBlocksNEON,
		squares: squaresNEON, scaleMul: scaleMulNEON, add: addNEON, maximum: maximumNEON,
		rotate: rotateNEON, encodeF16: encodeF16NEON,
	}.ops()
	ops.scores = tiledScores(perDType[[]scoresTile]{
		F32: {{4, scoresF32NEONx4}, {2, scoresF32NEONx2}, {1, scoresF32NEONx1}},
		F16: {{4, scoresF16NEONx4}, {2, scoresF16NEONx2}, {1, scoresF16NEONx1}},
	})
	ops.values = tiledValues(perDType[[]valuesTile]{
		F32: {{4, valuesF32NEONx4}, {2, valuesF32NEONx2}, {1, valuesF32NEONx1}},
		F16: {{4, valuesF16NEONx4}, {2, valuesF16NEONx2}, {1, valuesF16NEONx1}},
	})
	ops.valuesHeads = headByHead(ops.values)
	return ops
}

// readMemory reads b, whose length is a multiple of 256.
func readMemory(b []byte) { readNEON(&b[0], len(b)) }

// peakInt runs rounds of the tier's integer dot products on registers.
func peakInt(isa ISA, rounds int) {
	switch isa {
	case NEON:
		peakNEON(rounds)
	case DotProd:
		peakDotProd(rounds)
	case I8MM:
		peakI8MM(rounds)
	}
}

// peakOps is the operations of one round: independent sums by the multiply-adds
// of one instruction, two operations each.
func peakOps(isa ISA) float64 {
	const chains = 24
	return chains * 2 * map[ISA]float64{NEON: 8, DotProd: 16, I8MM: 32}[isa]
}

// peakFloat is peakInt for FMLA, whatever the tier.
func peakFloat(_ ISA, rounds int) { peakFMLA(rounds) }

func peakFlops(ISA) float64 {
	const chains = 24
	return chains * 2 * 4
}

// archPackNibbles and archPackBytes report that there is no assembly for packing.
func archPackNibbles(_, _ []byte, _, _ int) bool { return false }

func archPackBytes(_, _ []byte, _, _ int) bool { return false }
