//go:build amd64 && !noasm

package cpu

import "github.com/klauspost/cpuid/v2"

// archTiers lists the tiers of this CPU beyond Generic.
func archTiers() (tiers []ISA) {
	for _, isa := range []ISA{AVX2, AVXVNNI, AVX512VNNI, AMX} {
		if cpuid.CPU.Supports(Needs(isa)...) && (isa != AMX || allowAMX()) {
			tiers = append(tiers, isa)
		}
	}
	return tiers
}

// Needs lists the features that a CPU must have for a tier: its kernels hold
// instructions of these alone.
func Needs(isa ISA) []cpuid.FeatureID {
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
