package pool

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkPool measures what a parallel loop costs beyond its work.
func BenchmarkPool(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			p := New(threads)
			defer p.Close()
			for b.Loop() {
				_ = p.Run(context.Background(), 8, 1, func(int, int, int) {})
			}
		})
	}
}
