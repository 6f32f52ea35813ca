package kernels

import (
	"context"
	"math"
	"time"
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

// Limits measures them.
func (e *Engine) Limits() Limits {
	if e.isa == Generic {
		return Limits{}
	}
	m := newMemory(rooflineBytes)
	defer m.free()
	buf := m.bytes
	for i := 0; i < len(buf); i += 4096 { // every page of its own
		buf[i] = 1
	}
	const chunk = 1 << 20
	read := e.best(3, func() {
		_ = e.pool.run(context.Background(), len(buf)/chunk, 1, func(_, lo, hi int) { readMemory(buf[lo*chunk : hi*chunk]) })
	})
	const rounds = 200_000
	onAll := func(f func(isa ISA, rounds int)) float64 {
		return e.best(3, func() {
			_ = e.pool.run(context.Background(), e.Threads(), 1, func(int, int, int) { f(e.isa, rounds) })
		})
	}
	all := rounds * float64(e.Threads())
	return Limits{float64(len(buf)) / read, peakOps(e.isa) * all / onAll(peakInt), peakFlops(e.isa) * all / onAll(peakFloat)}
}

// best returns the shortest time of a few runs in nanoseconds.
func (e *Engine) best(runs int, f func()) float64 {
	best := math.Inf(1)
	for range runs {
		start := time.Now()
		f()
		best = min(best, float64(time.Since(start).Nanoseconds()))
	}
	return best
}
