package kernels

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"nibble/kernels/panics"
)

// Every index of a loop runs once, on a thread there is; panics of workers reach
// the caller.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := newPool(threads)
		for _, n := range []int{0, 1, 7, 1000} {
			for range 50 {
				for name, loop := range map[string]func(context.Context, int, int, func(int, int, int)) error{"run": p.run, "stream": p.stream} {
					hits := make([]int32, n)
					must(t, loop(context.Background(), n, 3, func(worker, lo, hi int) {
						if worker < 0 || worker >= threads {
							t.Errorf("worker %d of %d", worker, threads)
						}
						for i := lo; i < hi; i++ {
							hits[i]++
						}
					}))
					for i, h := range hits {
						if h != 1 {
							t.Fatalf("%s on %d threads, n=%d: index %d ran %d times", name, threads, n, i, h)
						}
					}
				}
			}
		}
		func() {
			caught := panics.Catch(func() {
				_ = p.run(context.Background(), 100, 1, func(_, lo, _ int) {
					if lo == 50 {
						panic("boom")
					}
				})
			})
			if caught == nil || caught.Value != "boom" {
				t.Errorf("a panic in a worker became %v", caught)
			}
		}()
		p.close()
	}
}

// A cancelled loop begins no further chunk and says so.
func TestPoolCancel(t *testing.T) {
	for _, threads := range []int{1, 3} {
		p := newPool(threads)
		ctx, cancel := context.WithCancel(context.Background())
		var ran atomic.Int32
		err := p.run(ctx, 10_000, 1, func(int, int, int) {
			ran.Add(1)
			cancel()
		})
		if n := int(ran.Load()); !errors.Is(err, context.Canceled) || n > threads {
			t.Errorf("%d threads: %d chunks ran after the cancel, error %v", threads, n, err)
		}
		if err := p.run(ctx, 5, 1, func(int, int, int) { t.Error("a loop began after the cancel") }); !errors.Is(err, context.Canceled) {
			t.Errorf("%d threads: error %v", threads, err)
		}
		p.close()
	}
}
