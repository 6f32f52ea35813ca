package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// bestOf runs f until the benchmark's time is used and returns the nanoseconds
// of the fastest run: on a machine shared with others the fastest run is the one
// that was not disturbed.
func bestOf(b *testing.B, f func()) float64 {
	best := math.Inf(1)
	f() // warm caches and page tables
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, float64(time.Since(start).Nanoseconds()))
	}
	return best
}

// BenchmarkInt measures every quantized kernel on one thread: 10^9 operations a
// second and weight bytes a second of the fastest run.
func BenchmarkInt(b *testing.B) {
	type matrix struct{ n, k int }
	for _, shape := range []matrix{{2048, 2048}, {4096, 4096}} {
		for _, s := range []Scheme{{4, 32, true}, {4, 32, false}, {4, 128, true}, {8, 32, true}} {
			q := randomQTensor(b, rand.New(rand.NewPCG(1, 1)), shape.n, shape.k, s)
			w, err := pack(q)
			if err != nil {
				b.Fatal(err)
			}
			for _, m := range []int{1, 4, 16, 96, 512} {
				a, _ := randomActs(rand.New(rand.NewPCG(2, 2)), "normal", m, shape.k)
				dst := make([]float32, m*shape.n)
				for _, k := range intKernels() {
					if k.Bits != s.Bits || k.ISA == Generic || !best().allows(k.ISA) {
						continue
					}
					b.Run(fmt.Sprintf("n=%d/k=%d/format=%s/m=%d/kernel=%s-%s", shape.n, shape.k, s, m, k.ISA, k.Name), func(b *testing.B) {
						ns := bestOf(b, func() { tokens(m, tokenBlock, func(m0, m1 int) { k.run(dst, shape.n, a, m0, m1, w, 0, w.panels()) }) })
						b.ReportMetric(2*float64(m*shape.n*shape.k)/ns, "GOPS")
						b.ReportMetric(float64(w.bytes())/ns, "GB/s")
					})
				}
			}
		}
	}
}

// BenchmarkLimits measures what BenchmarkInt's figures are to be compared with.
func BenchmarkLimits(b *testing.B) {
	for _, isa := range Supported() {
		if peakOps(isa) == 0 || isa == Generic {
			continue
		}
		b.Run("peak/isa="+string(isa), func(b *testing.B) {
			const rounds = 20_000
			b.ReportMetric(peakOps(isa)*rounds/bestOf(b, func() { peakInt(isa, rounds) }), "GOPS")
		})
	}
}

// best is the highest tier of this CPU.
func best() ISA {
	tiers := Supported()
	return tiers[len(tiers)-1]
}
