package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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
		for _, s := range plainSchemes() {
			if s.Group > 32 && s.Group != 128 || s.Group == 0 { // which others are like
				continue
			}
			q := randomQTensor(b, rand.New(rand.NewPCG(1, 1)), shape.n, shape.k, s)
			w, err := pack(q, nil)
			if err != nil {
				b.Fatal(err)
			}
			for _, m := range []int{1, 4, 16, 96, 512} {
				a, _ := randomActs(rand.New(rand.NewPCG(2, 2)), "normal", m, shape.k)
				dst := make([]float32, m*shape.n)
				for _, k := range intKernels() {
					if !k.takes(s) || k.ISA == Generic || !best().allows(k.ISA) {
						continue
					}
					b.Run(fmt.Sprintf("n=%d/k=%d/format=%s/m=%d/kernel=%s-%s", shape.n, shape.k, s, m, k.ISA, k.Name), func(b *testing.B) {
						ns := bestOf(b, func() { k.product(dst, a, 0, m, w, 0, w.panels(), panelBlock) })
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
		b.Run("float/isa="+string(isa), func(b *testing.B) {
			const rounds = 20_000
			b.ReportMetric(peakFlops(isa)*rounds/bestOf(b, func() { peakFloat(isa, rounds) }), "GFLOPS")
		})
	}
}

// BenchmarkStream measures one token against matrices far larger than the caches,
// and reading as much memory without computing, in turn: the ratio is how much of
// the bandwidth arrives.
func BenchmarkStream(b *testing.B) {
	for _, s := range []Scheme{{Bits: 4, Group: 32, Sym: true}, {Bits: 4, Group: 128, Sym: true}, {Bits: 4, Group: 32}, {Bits: 8, Group: 32, Sym: true}} {
		for _, k := range []int{2048, 5632} {
			w := newLayout(1<<28/k, k, s)
			w.mem = newMemory(int(w.bytes()))
			rng := rand.New(rand.NewPCG(1, 1))
			for i := range w.mem.bytes[:1<<16] {
				w.mem.bytes[i] = byte(rng.Uint64())
			}
			for i := 1 << 16; i < len(w.mem.bytes); i *= 2 { // scales may be anything here
				copy(w.mem.bytes[i:], w.mem.bytes[:i])
			}
			a, _ := randomActs(rng, "normal", 1, k)
			dst := make([]float32, w.n)
			seen := map[string]bool{}
			for _, kernel := range intKernels() {
				if !kernel.takes(s) || kernel.ISA == Generic || !best().allows(kernel.ISA) || seen[kernel.cut(1)] {
					continue
				}
				seen[kernel.cut(1)] = true
				b.Run(fmt.Sprintf("format=%s/k=%d/kernel=%s-%s", s, k, kernel.ISA, kernel.Name), func(b *testing.B) {
					benchmarkStream(b, kernel, dst, a, w)
				})
			}
			w.mem.free()
		}
	}
}

func benchmarkStream(b *testing.B, kernel intKernel, dst []float32, a *quantActs, w *packed) {
	var rates, ratios []float64
	bytes := float64(len(w.mem.bytes))
	for b.Loop() {
		start := time.Now()
		kernel.run(dst, w.n, a, 0, 1, w, 0, w.panels())
		computed := time.Since(start)
		start = time.Now()
		readMemory(w.mem.bytes[:len(w.mem.bytes)&^255])
		rates, ratios = append(rates, bytes/float64(computed.Nanoseconds())), append(ratios, float64(time.Since(start))/float64(computed))
	}
	slices.Sort(rates)
	slices.Sort(ratios)
	b.ReportMetric(rates[len(rates)/2], "GB/s")
	b.ReportMetric(ratios[len(ratios)/2], "of-read")
}

// best is the highest tier of this CPU.
func best() ISA {
	tiers := Supported()
	return tiers[len(tiers)-1]
}
