package kernels

import (
	"context"
	"math"
	"time"
)

// rooflineBytes is what the bandwidth test reads: well beyond the last cache.
const rooflineBytes = 192 << 20

// Roofline measures the machine's limits on the engine's threads: memory read in
// GB/s, and integer dot products of the highest tier in 10^9 operations a
// second. Without assembly both are 0, unknown.
func (e *Engine) Roofline() (bandwidthGBs, peakGOPS float64) {
	if e.isa == Generic {
		return 0, 0
	}
	m := newMemory(rooflineBytes)
	defer m.free()
	buf := m.bytes
	for i := 0; i < len(buf); i += 4096 { // every page of its own
		buf[i] = 1
	}
	const chunk = 1 << 20
	bandwidthGBs = float64(len(buf)) / e.best(3, func() {
		_ = e.pool.run(context.Background(), len(buf)/chunk, 1, func(_, lo, hi int) { readMemory(buf[lo*chunk : hi*chunk]) })
	})
	const rounds = 200_000
	ns := e.best(3, func() {
		_ = e.pool.run(context.Background(), e.Threads(), 1, func(int, int, int) { peakInt(e.isa, rounds) })
	})
	return bandwidthGBs, peakOps(e.isa) * rounds * float64(e.Threads()) / ns
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
