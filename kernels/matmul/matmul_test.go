package matmul

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/kerneltest"
	"nibble/kernels/layout"
	"nibble/kernels/vector"
)

// meeting lets calls wait for each other, so that it shows whether they run at once.
type meeting struct {
	sync.Mutex
	here int
	all  chan struct{}
}

func newMeeting() *meeting { return &meeting{all: make(chan struct{})} }

// join waits for another call, but not forever; it reports whether one came.
func (m *meeting) join() bool {
	m.Lock()
	if m.here++; m.here == 2 {
		close(m.all)
	}
	m.Unlock()
	select {
	case <-m.all:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// Panels that few tokens meet, and that a batch meets, are computed once, by several
// threads at once; by one thread in chunks of a block, or all if tokens are few.
func TestSpread(t *testing.T) {
	e := testEngine(t, Options{Threads: 3})
	for _, m := range []int{1, FewTokens, FewTokens + 1, 200} {
		for _, panels := range []int{1, 7, 64} {
			for _, workers := range []int{1, 3} {
				for _, byTokens := range []bool{false, true} {
					const block = 5
					hits := make([][]int32, panels)
					for i := range hits {
						hits[i] = make([]int32, m)
					}
					together := newMeeting()
					kerneltest.Must(t, e.Spread(context.Background(), workers, block, panels, m, byTokens, func(worker, p0, p1, m0, m1 int) {
						if most := map[bool]int{true: panels, false: block}[m <= FewTokens]; workers == 1 && (worker != 0 || p1-p0 > most) {
							t.Errorf("%d tokens, %d panels: one thread is worker %d and takes %d panels", m, panels, worker, p1-p0)
						}
						if byTokens && workers > 1 && m > FewTokens && p0%2 != 0 {
							t.Errorf("%d tokens: a chunk begins at panel %d, inside a pair", m, p0)
						}
						if m0%actTile != 0 || m1 != m && m1%actTile != 0 {
							t.Errorf("tokens %d to %d do not begin or end tiles", m0, m1)
						}
						if workers > 1 && panels == 64 && !together.join() {
							t.Errorf("%d tokens: one thread computes alone", m)
						}
						for p := p0; p < p1; p++ {
							for i := m0; i < m1; i++ {
								atomic.AddInt32(&hits[p][i], 1)
							}
						}
					}))
					for p := range hits {
						if slices.ContainsFunc(hits[p], func(n int32) bool { return n != 1 }) {
							t.Fatalf("%d tokens, %d workers, by tokens %t: panel %d of %d is computed %v times", m, workers, byTokens, p, panels, hits[p])
						}
					}
				}
			}
		}
	}
}

// A product takes the threads and blocks of its choice.
func TestMatMulTakesItsWay(t *testing.T) {
	e := testEngine(t, Options{Threads: 2})
	var watch func(p0, p1 int)
	e.Ints = append(e.Ints, Checked(Kernel{Name: "watched", ISA: cpu.Generic, Format: "w4", Run: func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
		if watch != nil {
			watch(p0, p1)
		}
		MulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
	}}))
	const n, k, m = 40 * layout.PanelRows, 32, 60
	w, err := RandomWeights(n, k, format.Scheme{Bits: 4, Group: 32, Sym: true})
	kerneltest.Must(t, err)
	a, dst := e.NewActs(), make([]float32, m*n)
	a.Set(RandomActivations(m, k), m, k)
	for _, c := range []Way{{Workers: 1, Block: 3}, {Workers: 1, Block: 16}, {Workers: 2, Block: 3}} {
		e.Install([]Chosen{{format.Scheme{Bits: 4, Group: 32, Sym: true}, n, k, bucketOf(m), "generic watched", c.Workers, c.Block}})
		together, widest, calls := newMeeting(), 0, 0
		var mu sync.Mutex
		watch = func(p0, p1 int) {
			mu.Lock()
			widest, calls = max(widest, p1-p0), calls+1
			mu.Unlock()
			if c.Workers > 1 && !together.join() {
				t.Errorf("%+v: one thread computes alone", c)
			}
		}
		kerneltest.Must(t, e.MatMul(context.Background(), a, Product{w, dst}))
		if widest > c.Block || calls == 0 || c.Workers == 1 && widest != c.Block {
			t.Errorf("%+v: %d calls of up to %d panels", c, calls, widest)
		}
	}
}

// Products and what they read must fit each other.
func TestMatMulRefuses(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	w, err := RandomWeights(16, 64, format.Scheme{Bits: 4, Group: 32, Sym: true})
	kerneltest.Must(t, err)
	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s were accepted", what)
			}
		}()
		f()
	}
	a := e.NewActs()
	a.Set(make([]float32, 2*65), 2, 65)
	panics("activations of another width", func() { _ = e.MatMul(context.Background(), a, Product{w, make([]float32, 200)}) })
	for _, c := range [][6]int{{2, 3, 2, 4, 3, 5}, {2, 3, 1, 4, 3, 4}, {2, 3, 2, 4, 4, 4}} {
		panics("matrices that do not fit", func() {
			_ = e.MulTransposed(context.Background(), vector.NewMatrix(c[0], c[1]), vector.NewMatrix(c[2], c[3]), vector.NewMatrix(c[4], c[5]))
		})
	}
	kerneltest.Must(t, e.MulTransposed(context.Background(), vector.NewMatrix(0, 3), vector.NewMatrix(0, 4), vector.NewMatrix(3, 4)))
	kerneltest.Must(t, e.MulTransposed(context.Background(), vector.NewMatrix(2, 0), vector.NewMatrix(2, 4), vector.NewMatrix(0, 4)))
}

// Calls of a loop that run at once have different workers.
func TestWorkersDiffer(t *testing.T) {
	for range 20 {
		e := testEngine(t, Options{Threads: 2})
		together := newMeeting()
		var here [2]atomic.Int32
		e.For(2, func(worker, _, _ int) {
			if here[worker].Add(1) > 1 {
				t.Error("two calls at once have one worker")
			}
			if !together.join() {
				t.Error("one thread computes alone")
			}
		})
	}
}

// Loops and products inside a loop run, on any number of threads, whichever
// goroutine gets the chunk.
func TestLoopsInside(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		e := testEngine(t, Options{Threads: threads})
		const n, k, m = 40, 64, 30
		w, err := RandomWeights(n, k, format.Scheme{Bits: 4, Group: 32, Sym: true})
		kerneltest.Must(t, err)
		x := RandomActivations(m, k)
		product := func() []float32 {
			a, dst := e.NewActs(), make([]float32, m*n)
			a.Set(x, m, k)
			kerneltest.Must(t, e.MatMul(context.Background(), a, Product{w, dst}))
			return dst
		}
		want := product()
		var hits [20][30]atomic.Int32
		e.For(len(hits), func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				e.For(len(hits[i]), func(worker, lo, hi int) {
					if worker != 0 && threads > 1 {
						t.Errorf("a loop inside another has worker %d", worker)
					}
					for j := lo; j < hi; j++ {
						hits[i][j].Add(1)
					}
				})
				if !slices.Equal(product(), want) {
					t.Error("a product inside a loop differs")
				}
			}
		})
		for i := range hits {
			for j := range hits[i] {
				if got := hits[i][j].Load(); got != 1 {
					t.Fatalf("%d threads: chunk %d of loop %d ran %d times", threads, j, i, got)
				}
			}
		}
	}
}
