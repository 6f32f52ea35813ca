package selector

import (
	"context"
	"math"
	"time"

	"nibble/kernels/cpu"
	"nibble/kernels/memory"
	"nibble/kernels/pool"
)

// rooflineBytes is what the bandwidth test reads: well beyond the last cache.
const rooflineBytes = 192 << 20

// Limits are what the machine can do at best, on the engine's threads; 0 is
// unknown, as without assembly.
type Limits struct {
	BandwidthGBs float64 `json:"bandwidth_gbps"` // memory read
	PeakGOPS     float64 `json:"peak_gops"`      // integer dot products of the highest tier
	PeakGFLOPS   float64 `json:"peak_gflops"`    // float32 multiply-adds
}

// MeasureLimits measures them for a tier.
func MeasureLimits(isa cpu.ISA, p *pool.Pool) Limits {
	if isa == cpu.Generic {
		return Limits{}
	}
	m := memory.New(rooflineBytes)
	defer m.Free()
	buf := m.Bytes
	for i := 0; i < len(buf); i += 4096 { // every page of its own
		buf[i] = 1
	}
	const chunk = 1 << 20
	read := shortest(3, func() {
		_ = p.Run(context.Background(), len(buf)/chunk, 1, func(_, lo, hi int) { cpu.ReadMemory(buf[lo*chunk : hi*chunk]) })
	})
	const rounds = 200_000
	onAll := func(f func(isa cpu.ISA, rounds int)) float64 {
		return shortest(3, func() {
			_ = p.Run(context.Background(), p.Threads(), 1, func(int, int, int) { f(isa, rounds) })
		})
	}
	all := rounds * float64(p.Threads())
	return Limits{float64(len(buf)) / read, cpu.PeakOps(isa) * all / onAll(cpu.PeakInt), cpu.PeakFlops(isa) * all / onAll(cpu.PeakFloat)}
}

// shortest returns the shortest time of a few runs in nanoseconds.
func shortest(runs int, f func()) float64 {
	best := math.Inf(1)
	for range runs {
		start := time.Now()
		f()
		best = min(best, float64(time.Since(start).Nanoseconds()))
	}
	return best
}
