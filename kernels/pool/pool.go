package pool

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"nibble/kernels/layout"
	"nibble/kernels/panics"
)

// Pool runs one parallel loop at a time on persistent workers.
//
// Work is handed out in chunks from an atomic counter, so that a core taken by
// another program slows the loop by its share and does not stall it. Between
// loops a worker spins briefly, because the loops of a decode step follow each
// other within microseconds, and then parks, so that an idle nibble takes no
// CPU. The caller takes part in the loop. A loop that begins inside another runs on
// the thread it begins on.
type Pool struct {
	threads int
	spans   []span     // of the current loop
	mu      sync.Mutex // one loop at a time
	job     atomic.Pointer[job]
	wake    *sync.Cond
	wakeMu  sync.Mutex
	parked  int
	closed  atomic.Bool
	workers []*panics.Goroutine
}

// job is one parallel loop over [0, n), in chunks of grain from one counter or, if it
// has spans, as span describes it.
type job struct {
	n, grain int
	spans    []span
	f        func(worker, lo, hi int)
	done     <-chan struct{} // closed when the loop is to stop early
	next     atomic.Int64
	ids      atomic.Int32
	active   atomic.Int32 // workers inside; the caller waits for zero
	panicked atomic.Pointer[panics.Carried]
}

// span is what is left of a worker's part of a loop that streams through memory, two
// halves of a word: from where, and to where. The worker takes chunks from its
// beginning, each where the last one ended, so that they are one stream; who has
// nothing left takes chunks from the ends of others (after Blumofe and Leiserson,
// "Scheduling Multithreaded Computations by Work Stealing", 1999). Chunks are half
// of what is left, or grain if that is more.
type span struct {
	left atomic.Uint64
	_    [layout.LineBytes - 8]byte // workers do not share cache lines
}

func (s *span) set(lo, hi int) { s.left.Store(uint64(lo)<<32 | uint64(hi)) }

// take claims a chunk from the beginning, or from the end, unless nothing is left.
func (s *span) take(grain int, end bool) (lo, hi int, ok bool) {
	for {
		left := s.left.Load()
		from, to := int(left>>32), int(left&math.MaxUint32)
		if from >= to {
			return 0, 0, false
		}
		n := min(max(grain, (to-from)/2), to-from)
		lo, hi, from = from, from+n, from+n
		if end {
			lo, hi, from, to = to-n, to, lo, to-n
		}
		if s.left.CompareAndSwap(left, uint64(from)<<32|uint64(to)) {
			return lo, hi, true
		}
	}
}

// Threads returns the number of compute threads.
func (p *Pool) Threads() int { return p.threads }

// For runs f over [0, n) on every thread, in chunks. worker is below Threads, and
// no two calls of this loop with the same worker run at once. f may use the engine:
// loops inside are not shared out further, and their worker is 0. It may not wait for
// another goroutine that does.
func (p *Pool) For(n int, f func(worker, lo, hi int)) {
	_ = p.Run(context.Background(), n, max(1, n/(8*p.threads)), f)
}

// spinTime is how long a worker polls for the next loop before it parks: longer
// than the gaps inside a decode step, short against a token.
const spinTime = 40 * time.Microsecond

func New(threads int) *Pool {
	p := &Pool{threads: threads, spans: make([]span, threads)}
	p.wake = sync.NewCond(&p.wakeMu)
	for range threads - 1 {
		p.workers = append(p.workers, panics.Go(p.work))
	}
	return p
}

// Close stops the worker threads. The pool must not be used afterwards.
func (p *Pool) Close() {
	p.closed.Store(true)
	p.wakeMu.Lock()
	p.wake.Broadcast()
	p.wakeMu.Unlock()
	for _, w := range p.workers {
		w.Wait()
	}
}

// Run executes f over [0, n), at most grain indices a call. When ctx ends, calls
// that have not begun are left out and its error is returned: a grain is to be
// work of a few milliseconds.
func (p *Pool) Run(ctx context.Context, n, grain int, f func(worker, lo, hi int)) error {
	return p.loop(ctx, &job{n: n, grain: grain, f: f})
}

// Stream executes f over [0, n) so that each worker goes through adjoining chunks, of at
// least grain indices, as memory is read best.
func (p *Pool) Stream(ctx context.Context, n, grain int, f func(worker, lo, hi int)) error {
	return p.loop(ctx, &job{n: n, grain: grain, spans: p.spans, f: f})
}

func (p *Pool) loop(ctx context.Context, j *job) error {
	if j.n <= 0 {
		return ctx.Err()
	}
	j.grain, j.done = max(j.grain, 1), ctx.Done()
	if p.threads == 1 || j.n <= j.grain {
		return Serial(ctx, j.n, j.grain, j.f)
	}
	if !p.mu.TryLock() {
		if insideLoop() {
			return Serial(ctx, j.n, j.grain, j.f)
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	for i := range j.spans {
		j.spans[i].set(i*j.n/p.threads, (i+1)*j.n/p.threads)
	}
	j.ids.Store(1)
	p.job.Store(j)
	p.wakeMu.Lock()
	if p.parked > 0 {
		p.wake.Broadcast()
	}
	p.wakeMu.Unlock()
	j.drain(0)
	p.job.Store(nil)
	for spins := 0; j.active.Load() != 0; spins++ {
		if spins > 1000 {
			runtime.Gosched()
		}
	}
	if c := j.panicked.Load(); c != nil {
		panic(c)
	}
	return ctx.Err()
}

// insideLoop reports whether the calling goroutine is running a chunk of a loop, which
// would wait for itself.
func insideLoop() bool {
	pcs := make([]uintptr, 256)
	for skip := 1; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			if strings.HasSuffix(f.Function, ".(*job).drain") {
				return true
			}
		}
	}
}

// take claims the next chunk; it is beyond the end when nothing is left.
func (j *job) take(worker int) (lo, hi int) {
	if j.spans == nil {
		hi = int(j.next.Add(int64(j.grain)))
		return hi - j.grain, hi
	}
	for i := range j.spans { // the worker's own first
		if lo, hi, ok := j.spans[(worker+i)%len(j.spans)].take(j.grain, i > 0); ok {
			return lo, hi
		}
	}
	return j.n, j.n
}

// Serial executes f over [0, n) on the calling thread.
func Serial(ctx context.Context, n, grain int, f func(worker, lo, hi int)) error {
	for lo := 0; lo < n; lo += grain {
		if err := ctx.Err(); err != nil {
			return err
		}
		f(0, lo, min(lo+grain, n))
	}
	return nil
}

// drain takes chunks until none is left. A panic ends the loop and is raised
// again in the caller of run.
func (j *job) drain(worker int) {
	c := panics.Catch(func() {
		for {
			lo, hi := j.take(worker)
			if lo >= j.n {
				return
			}
			select {
			case <-j.done:
				return
			default:
			}
			j.f(worker, lo, min(hi, j.n))
		}
	})
	if c != nil {
		j.panicked.Store(c)
		j.next.Store(int64(j.n))
		for i := range j.spans {
			j.spans[i].set(0, 0)
		}
	}
}

func (p *Pool) work() {
	debug.SetPanicOnFault(true) // weights may be mapped from a file that is cut: for the caller to recover
	var last *job
	for {
		j := p.await(last)
		if j == nil {
			return
		}
		j.active.Add(1)
		// The caller may have finished between our load and the increment; a job
		// whose counter has run out does nothing in drain, so joining late is
		// harmless as long as the job is still the current one.
		if p.job.Load() == j {
			j.drain(int(j.ids.Add(1) - 1))
		}
		j.active.Add(-1)
		last = j
	}
}

// await returns the next job other than last, or nil when the pool closes.
func (p *Pool) await(last *job) *job {
	deadline := time.Now().Add(spinTime)
	for i := 1; ; i++ {
		if j := p.job.Load(); j != nil && j != last {
			return j
		}
		if p.closed.Load() {
			return nil
		}
		if i%64 == 0 {
			runtime.Gosched()
			if time.Now().After(deadline) {
				break
			}
		}
	}
	p.wakeMu.Lock()
	defer p.wakeMu.Unlock()
	p.parked++
	defer func() { p.parked-- }()
	for {
		if p.closed.Load() {
			return nil
		}
		if j := p.job.Load(); j != nil && j != last {
			return j
		}
		p.wake.Wait()
	}
}
