//go:build arm64 && !noasm

package cpu

// ReadMemory reads b, whose length is a multiple of 256.
func ReadMemory(b []byte) { readNEON(&b[0], len(b)) }

// PeakInt runs rounds of the tier's integer dot products on registers.
func PeakInt(isa ISA, rounds int) {
	switch isa {
	case NEON:
		peakNEON(rounds)
	case DotProd:
		peakDotProd(rounds)
	case I8MM:
		peakI8MM(rounds)
	}
}

// PeakOps is the operations of one round: independent sums by the multiply-adds
// of one instruction, two operations each.
func PeakOps(isa ISA) float64 {
	const chains = 24
	return chains * 2 * map[ISA]float64{NEON: 8, DotProd: 16, I8MM: 32}[isa]
}

// PeakFloat is peakInt for FMLA, whatever the tier.
func PeakFloat(_ ISA, rounds int) { peakFMLA(rounds) }

func PeakFlops(ISA) float64 {
	const chains = 24
	return chains * 2 * 4
}
