package matmul

import (
	"math/rand/v2"
	"testing"

	"nibble/kernels/format"
	"nibble/kernels/kerneltest"
)

// BenchmarkPack measures the repacking that loading a quantized model consists
// of, in bytes of codes on one thread.
func BenchmarkPack(b *testing.B) {
	for _, s := range []format.Scheme{{Bits: 4, Group: 32, Sym: true}, {Bits: 4, Group: 128}, {Bits: 8, Group: 32, Sym: true}} {
		q := randomQTensor(b, rand.New(rand.NewPCG(1, 1)), 2048, 5632, s)
		b.Run(s.String(), func(b *testing.B) {
			ns := kerneltest.BestOf(b, func() {
				w, err := format.Pack(q, nil)
				if err != nil {
					b.Fatal(err)
				}
				w.Memory.Free()
			})
			b.ReportMetric(float64(len(q.Codes))/ns, "GB/s")
		})
	}
}
