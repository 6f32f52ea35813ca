//go:build arm64 && !noasm

package cpu

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
