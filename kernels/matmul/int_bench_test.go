package matmul

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/kerneltest"
	"nibble/kernels/memory"
)

// BenchmarkInt measures every quantized kernel on one thread: 10^9 operations a
// second and weight bytes a second of the fastest run.
func BenchmarkInt(b *testing.B) {
	type matrix struct{ n, k int }
	for _, shape := range []matrix{{2048, 2048}, {4096, 4096}} {
		for _, s := range format.Plain() {
			if s.Group > 32 && s.Group != 128 || s.Group == 0 { // which others are like
				continue
			}
			q := randomQTensor(b, rand.New(rand.NewPCG(1, 1)), shape.n, shape.k, s)
			w, err := format.Pack(q, nil)
			if err != nil {
				b.Fatal(err)
			}
			for _, m := range []int{1, 4, 16, 96, 512} {
				a, _ := randomActs(rand.New(rand.NewPCG(2, 2)), "normal", m, shape.k)
				dst := make([]float32, m*shape.n)
				for _, k := range Kernels() {
					if !k.Takes(s) || k.ISA == cpu.Generic || !kerneltest.Best().Allows(k.ISA) {
						continue
					}
					b.Run(fmt.Sprintf("n=%d/k=%d/format=%s/m=%d/kernel=%s-%s", shape.n, shape.k, s, m, k.ISA, k.Name), func(b *testing.B) {
						ns := kerneltest.BestOf(b, func() { k.Product(dst, a, 0, m, w, 0, w.Panels(), PanelBlock) })
						b.ReportMetric(2*float64(m*shape.n*shape.k)/ns, "GOPS")
						b.ReportMetric(float64(w.Bytes())/ns, "GB/s")
					})
				}
			}
		}
	}
}

// BenchmarkStream measures one token against matrices far larger than the caches,
// and reading as much memory without computing, in turn: the ratio is how much of
// the bandwidth arrives.
func BenchmarkStream(b *testing.B) {
	for _, s := range []format.Scheme{{Bits: 4, Group: 32, Sym: true}, {Bits: 4, Group: 128, Sym: true}, {Bits: 4, Group: 32}, {Bits: 8, Group: 32, Sym: true}} {
		for _, k := range []int{2048, 5632} {
			w := format.NewLayout(1<<28/k, k, s)
			w.Memory = memory.New(int(w.Bytes()))
			rng := rand.New(rand.NewPCG(1, 1))
			for i := range w.Memory.Bytes[:1<<16] {
				w.Memory.Bytes[i] = byte(rng.Uint64())
			}
			for i := 1 << 16; i < len(w.Memory.Bytes); i *= 2 { // scales may be anything here
				copy(w.Memory.Bytes[i:], w.Memory.Bytes[:i])
			}
			a, _ := randomActs(rng, "normal", 1, k)
			dst := make([]float32, w.N)
			seen := map[string]bool{}
			for _, kernel := range Kernels() {
				if !kernel.Takes(s) || kernel.ISA == cpu.Generic || !kerneltest.Best().Allows(kernel.ISA) || seen[kernel.Cut(1)] {
					continue
				}
				seen[kernel.Cut(1)] = true
				b.Run(fmt.Sprintf("format=%s/k=%d/kernel=%s-%s", s, k, kernel.ISA, kernel.Name), func(b *testing.B) {
					benchmarkStream(b, kernel, dst, a, w)
				})
			}
			w.Memory.Free()
		}
	}
}

func benchmarkStream(b *testing.B, kernel Kernel, dst []float32, a *QuantActs, w *format.Packed) {
	var rates, ratios []float64
	bytes := float64(len(w.Memory.Bytes))
	for b.Loop() {
		start := time.Now()
		kernel.Run(dst, w.N, a, 0, 1, w, 0, w.Panels())
		computed := time.Since(start)
		start = time.Now()
		cpu.ReadMemory(w.Memory.Bytes[:len(w.Memory.Bytes)&^255])
		rates, ratios = append(rates, bytes/float64(computed.Nanoseconds())), append(ratios, float64(time.Since(start))/float64(computed))
	}
	slices.Sort(rates)
	slices.Sort(ratios)
	b.ReportMetric(rates[len(rates)/2], "GB/s")
	b.ReportMetric(ratios[len(ratios)/2], "of-read")
}
