//go:build amd64 && !noasm

package cpu

// ReadMemory reads b, whose length is a multiple of 256.
func ReadMemory(b []byte) { readAVX2(&b[0], len(b)) }

// PeakInt runs rounds of the tier's integer dot products on registers.
func PeakInt(isa ISA, rounds int) {
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

// PeakOps is the operations of one round.
func PeakOps(isa ISA) float64 {
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

// PeakFloat runs rounds of the tier's float32 multiply-adds on registers.
func PeakFloat(isa ISA, rounds int) {
	if isa == AVX512VNNI || isa == AMX {
		peakFMAAVX512(rounds)
		return
	}
	peakFMAAVX2(rounds)
}

// PeakFlops is the operations of one round.
func PeakFlops(isa ISA) float64 {
	if isa == AVX512VNNI || isa == AMX {
		return 14 * 32
	}
	return 12 * 16
}
