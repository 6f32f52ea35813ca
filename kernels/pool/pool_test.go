package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"nibble/kernels/kerneltest"
	"nibble/kernels/panics"
)

// Every index of a loop runs once, on a thread there is; panics of workers reach
// the caller.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := New(threads)
		for _, n := range []int{0, 1, 7, 1000} {
			for range 50 {
				for name, loop := range map[string]func(context.Context, int, int, func(int, int, int)) error{"run": p.Run, "stream": p.Stream} {
					hits := make([]int32, n)
					kerneltest.Must(t, loop(context.Background(), n, 3, func(worker, lo, hi int) {
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
				_ = p.Run(context.Background(), 100, 1, func(_, lo, _ int) {
					if lo == 50 {
						panic("boom")
					}
				})
			})
			if caught == nil || caught.Value != "boom" {
				t.Errorf("a panic in a worker became %v", caught)
			}
		}()
		p.Close()
	}
}

// A cancelled loop begins no further chunk and says so.
func TestPoolCancel(t *testing.T) {
	for _, threads := range []int{1, 3} {
		p := New(threads)
		ctx, cancel := context.WithCancel(context.Background())
		var ran atomic.Int32
		err := p.Run(ctx, 10_000, 1, func(int, int, int) {
			ran.Add(1)
			cancel()
		})
		if n := int(ran.Load()); !errors.Is(err, context.Canceled) || n > threads {
			t.Errorf("%d threads: %d chunks ran after the cancel, error %v", threads, n, err)
		}
		if err := p.Run(ctx, 5, 1, func(int, int, int) { t.Error("a loop began after the cancel") }); !errors.Is(err, context.Canceled) {
			t.Errorf("%d threads: error %v", threads, err)
		}
		p.Close()
	}
}

// A loop inside another runs on the thread it begins on, however deep the calls between.
func TestLoopInsideLoop(t *testing.T) {
	p := New(3)
	defer p.Close()
	var deep func(n int, f func())
	deep = func(n int, f func()) {
		if n == 0 {
			f()
			return
		}
		deep(n-1, f)
	}
	for _, depth := range []int{0, 3, 1000} {
		var runs atomic.Int32
		p.For(20, func(_, lo, hi int) {
			if !insideLoop() {
				t.Error("a chunk does not know that it is one")
			}
			deep(depth, func() {
				p.For(50, func(worker, lo, hi int) {
					if worker != 0 {
						t.Errorf("a loop inside another has worker %d", worker)
					}
					runs.Add(int32(hi - lo))
				})
			})
		})
		if insideLoop() {
			t.Error("a loop that has ended is still believed to run")
		}
		if got := runs.Load(); got%50 != 0 || got == 0 {
			t.Errorf("%d calls deep, loops inside ran %d times", depth, got)
		}
	}
}

// Loops that several goroutines begin at once each run whole.
func TestLoopsAtOnce(t *testing.T) {
	p := New(3)
	defer p.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				hits := make([]int32, 100)
				var inside [3]atomic.Int32
				kerneltest.Must(t, p.Run(context.Background(), len(hits), 7, func(worker, lo, hi int) {
					if inside[worker].Add(1) > 1 {
						t.Error("a worker runs two chunks of a loop at once")
					}
					for i := lo; i < hi; i++ {
						hits[i]++
					}
					inside[worker].Add(-1)
				}))
				if slices.ContainsFunc(hits, func(h int32) bool { return h != 1 }) {
					t.Errorf("a loop's indices ran %v times", hits)
				}
			}
		})
	}
	wg.Wait()
}

// A worker takes half of what is left of its span, from the beginning, or others from
// the end, but no less than a grain.
func TestSpan(t *testing.T) {
	var s span
	s.set(10, 110)
	for i, c := range []struct {
		end    bool
		lo, hi int
	}{{false, 10, 60}, {true, 85, 110}, {false, 60, 72}, {false, 72, 78}, {true, 81, 85}, {false, 78, 81}} {
		if lo, hi, ok := s.take(4, c.end); lo != c.lo || hi != c.hi || !ok {
			t.Errorf("take %d: %d to %d, %t; want %d to %d", i, lo, hi, ok, c.lo, c.hi)
		}
	}
	if lo, hi, ok := s.take(4, false); ok {
		t.Errorf("an empty span gives %d to %d", lo, hi)
	}
}

// A worker takes its own span from the beginning, and when that is empty, others from
// their ends.
func TestStreamChunks(t *testing.T) {
	j := &job{n: 20, grain: 4, spans: make([]span, 2)}
	j.spans[0].set(0, 10)
	j.spans[1].set(10, 20)
	for i, want := range [][2]int{{0, 5}, {5, 9}, {9, 10}, {15, 20}, {11, 15}, {10, 11}, {20, 20}} {
		if lo, hi := j.take(0); lo != want[0] || hi != want[1] {
			t.Errorf("chunk %d is %d to %d, want %d to %d", i, lo, hi, want[0], want[1])
		}
	}
}
