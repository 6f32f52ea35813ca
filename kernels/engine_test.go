package kernels

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nibble/kernels/layout"
)

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{{ISA: "mmx"}, {Threads: -1}, {Threads: 1025}} {
		if e, err := New(o); err == nil {
			e.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
	all := testEngine(t, Options{Threads: 1}).Kernels()
	if e, err := New(Options{Threads: 1, Exclude: all}); err == nil {
		e.Close()
		t.Error("an engine without kernels was made")
	}
}

// An engine has the kernels of its tier and those before it, without those excluded.
func TestKernelsOfTier(t *testing.T) {
	for _, isa := range Supported() {
		e := testEngine(t, Options{ISA: isa, Threads: 1, Exclude: []string{string(isa) + " 8x2"}})
		if e.ISA() != isa || e.Threads() != 1 {
			t.Errorf("asked for %s, got %s and %d threads", isa, e.ISA(), e.Threads())
		}
		var want []string
		for _, k := range intKernels() {
			if slices.Index(Tiers(), k.ISA) <= slices.Index(Tiers(), isa) && slices.Contains(Supported(), k.ISA) && k.String() != string(isa)+" 8x2" && !slices.Contains(want, k.String()) {
				want = append(want, k.String())
			}
		}
		if got := e.Kernels(); !slices.Equal(got, want) {
			t.Errorf("%s: kernels %v, want %v", isa, got, want)
		}
	}
}

func TestISAFromEnvironment(t *testing.T) {
	for _, isa := range Supported() {
		t.Setenv("NIBBLE_ISA", strings.ToUpper(string(isa)))
		if got := testEngine(t, Options{Threads: 1}).ISA(); got != isa {
			t.Errorf("NIBBLE_ISA=%s gives %s", isa, got)
		}
	}
	t.Setenv("NIBBLE_ISA", "mmx")
	if e, err := New(Options{Threads: 1}); err == nil || !strings.Contains(err.Error(), "NIBBLE_ISA") {
		t.Errorf("an unknown tier gives %v, %v", e, err)
	}
	t.Setenv("NIBBLE_ISA", "")
	if got := testEngine(t, Options{Threads: 1}).ISA(); got != best() {
		t.Errorf("without NIBBLE_ISA: %s, want %s", got, best())
	}
}

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
	for _, m := range []int{1, fewTokens, fewTokens + 1, 200} {
		for _, panels := range []int{1, 7, 64} {
			for _, workers := range []int{1, 3} {
				for _, byTokens := range []bool{false, true} {
					const block = 5
					hits := make([][]int32, panels)
					for i := range hits {
						hits[i] = make([]int32, m)
					}
					together := newMeeting()
					must(t, e.spread(context.Background(), workers, block, panels, m, byTokens, func(worker, p0, p1, m0, m1 int) {
						if most := map[bool]int{true: panels, false: block}[m <= fewTokens]; workers == 1 && (worker != 0 || p1-p0 > most) {
							t.Errorf("%d tokens, %d panels: one thread is worker %d and takes %d panels", m, panels, worker, p1-p0)
						}
						if byTokens && workers > 1 && m > fewTokens && p0%2 != 0 {
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
	e.ints = append(e.ints, checked(intKernel{Name: "watched", ISA: Generic, Format: "w4", run: func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
		if watch != nil {
			watch(p0, p1)
		}
		mulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
	}}))
	const n, k, m = 40 * layout.PanelRows, 32, 60
	w, err := randomWeights(n, k, Scheme{Bits: 4, Group: 32, Sym: true})
	must(t, err)
	a, dst := e.NewActs(), make([]float32, m*n)
	a.Set(randomActivations(m, k), m, k)
	for _, c := range []way{{workers: 1, block: 3}, {workers: 1, block: 16}, {workers: 2, block: 3}} {
		e.install(&Table{Choices: []Choice{{Shape: Shape{Format: "w4 g32 sym", N: n, K: k, M: bucketOf(m)}, Kernel: "generic watched", Workers: c.workers, Block: c.block}}})
		together, widest, calls := newMeeting(), 0, 0
		var mu sync.Mutex
		watch = func(p0, p1 int) {
			mu.Lock()
			widest, calls = max(widest, p1-p0), calls+1
			mu.Unlock()
			if c.workers > 1 && !together.join() {
				t.Errorf("%+v: one thread computes alone", c)
			}
		}
		must(t, e.MatMul(context.Background(), a, Product{w, dst}))
		if widest > c.block || calls == 0 || c.workers == 1 && widest != c.block {
			t.Errorf("%+v: %d calls of up to %d panels", c, calls, widest)
		}
	}
}

// Products and what they read must fit each other.
func TestMatMulRefuses(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	w, err := randomWeights(16, 64, Scheme{Bits: 4, Group: 32, Sym: true})
	must(t, err)
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
			_ = e.MulTransposed(context.Background(), NewMatrix(c[0], c[1]), NewMatrix(c[2], c[3]), NewMatrix(c[4], c[5]))
		})
	}
	must(t, e.MulTransposed(context.Background(), NewMatrix(0, 3), NewMatrix(0, 4), NewMatrix(3, 4)))
	must(t, e.MulTransposed(context.Background(), NewMatrix(2, 0), NewMatrix(2, 4), NewMatrix(0, 4)))
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
