package kernels

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkPool measures what a parallel loop costs beyond its work.
func BenchmarkPool(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			p := newPool(threads)
			defer p.close()
			for b.Loop() {
				_ = p.run(context.Background(), 8, 1, func(int, int, int) {})
			}
		})
	}
}
