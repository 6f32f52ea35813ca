package selector

import (
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
)

// BenchmarkLimits measures what BenchmarkInt's figures are to be compared with.
func BenchmarkLimits(b *testing.B) {
	for _, isa := range cpu.Supported() {
		if cpu.PeakOps(isa) == 0 || isa == cpu.Generic {
			continue
		}
		b.Run("peak/isa="+string(isa), func(b *testing.B) {
			const rounds = 20_000
			b.ReportMetric(cpu.PeakOps(isa)*rounds/kerneltest.BestOf(b, func() { cpu.PeakInt(isa, rounds) }), "GOPS")
		})
		b.Run("float/isa="+string(isa), func(b *testing.B) {
			const rounds = 20_000
			b.ReportMetric(cpu.PeakFlops(isa)*rounds/kerneltest.BestOf(b, func() { cpu.PeakFloat(isa, rounds) }), "GFLOPS")
		})
	}
}
