package kernels

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkPack measures the repacking that loading a quantized model consists
// of, in bytes of codes on one thread.
func BenchmarkPack(b *testing.B) {
	for _, s := range []Scheme{{4, 32, true}, {4, 128, false}, {8, 32, true}} {
		q := randomQTensor(b, rand.New(rand.NewPCG(1, 1)), 2048, 5632, s)
		b.Run(s.String(), func(b *testing.B) {
			ns := bestOf(b, func() {
				w, err := pack(q, nil)
				if err != nil {
					b.Fatal(err)
				}
				w.mem.free()
			})
			b.ReportMetric(float64(len(q.Codes))/ns, "GB/s")
		})
	}
}
