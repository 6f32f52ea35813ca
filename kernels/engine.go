package kernels

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nibble/kernels/layout"
)

// Options configures an Engine.
type Options struct {
	Threads int      // compute threads; 0 is one per core
	ISA     ISA      // highest tier to use; "" is NIBBLE_ISA or else the best
	Exclude []string // kernel names ("avx2 16x4") that may not be used
}

// Engine owns the threads and the choice of kernels. Its methods may be called
// from several goroutines; parallel loops run one after the other.
type Engine struct {
	pool  *pool
	isa   ISA
	ints  []intKernel
	float func() floatChoice // chooseFloat of the tier
	ops   vectorOps

	waited func() time.Duration // processWaited but in tests

	table  atomic.Pointer[Table]
	lookup atomic.Pointer[map[choiceKey]way]
	force  atomic.Pointer[string]
}

// New starts an engine.
func New(o Options) (*Engine, error) {
	isa := o.ISA
	var err error
	if isa == "" {
		isa, err = envISA()
	} else {
		isa, err = ParseISA(string(isa))
	}
	if err != nil {
		return nil, err
	}
	if o.Threads < 0 || o.Threads > 1024 {
		return nil, fmt.Errorf("threads: %d is not between 1 and 1024 (0 means one per core)", o.Threads)
	}
	threads := o.Threads
	if threads == 0 {
		threads = defaultThreads()
	}
	e := &Engine{pool: newPool(threads), isa: isa, waited: processWaited}
	for _, k := range intKernels() {
		if isa.allows(k.ISA) && !slices.Contains(o.Exclude, k.String()) {
			e.ints = append(e.ints, k)
		}
	}
	for _, s := range plainSchemes() {
		if !slices.ContainsFunc(e.ints, func(k intKernel) bool { return k.takes(s) }) {
			e.pool.close()
			return nil, fmt.Errorf("every kernel for %s is excluded", s)
		}
	}
	e.float = sync.OnceValue(func() floatChoice { return chooseFloat(isa) })
	e.ops = genericOps()
	if isa != Generic {
		e.ops = archOps(isa)
	}
	return e, nil
}

// String is the kernel's full name, "avx512vnni 16x12".
func (k intKernel) String() string { return string(k.ISA) + " " + k.Name }

// Close stops the worker threads. The engine must not be used afterwards.
func (e *Engine) Close() { e.pool.close() }

// Threads returns the number of compute threads.
func (e *Engine) Threads() int { return e.pool.threads }

// ISA returns the highest tier the engine uses.
func (e *Engine) ISA() ISA { return e.isa }

// NewActs returns an empty activation buffer.
func (e *Engine) NewActs() *Acts { return new(Acts) }

// For runs f over [0, n) on every thread, in chunks. worker is below Threads, and
// no two calls of this loop with the same worker run at once. f may use the engine:
// loops inside are not shared out further, and their worker is 0. It may not wait for
// another goroutine that does.
func (e *Engine) For(n int, f func(worker, lo, hi int)) {
	_ = e.pool.run(context.Background(), n, max(1, n/(8*e.pool.threads)), f)
}

// Product is one matrix that reads a batch of activations: Dst[m][n] = sum over
// k of x[m][k] * W[n][k]. Dst is row-major, M x W.N().
type Product struct {
	W   *Linear
	Dst []float32
}

// streamPanels is how many panels a thread takes at least for few tokens, where
// panels are a stream from memory: as many as are worth starting it for.
const streamPanels = 4

// fewTokens is how many tokens leave a product bound by the stream of its weights.
const fewTokens = 24

// spread runs f over panels that m tokens meet, on all threads or on this one; what
// f gets are a worker, panels p0 to p1, and tokens m0 to m1. A batch is cut into
// blocks of panels, and where these are few, by its tokens as well if byTokens allows.
func (e *Engine) spread(ctx context.Context, workers, block, panels, m int, byTokens bool, f func(worker, p0, p1, m0, m1 int)) error {
	all := func(worker, lo, hi int) { f(worker, lo, hi, 0, m) }
	switch {
	case workers == 1 && m <= fewTokens:
		return serial(ctx, panels, panels, all)
	case workers == 1:
		return serial(ctx, panels, block, all)
	case m <= fewTokens:
		return e.pool.stream(ctx, panels, streamPanels, all)
	case !byTokens:
		return e.pool.run(ctx, panels, max(2, min(block, panels/(4*workers)&^1)), all)
	}
	blocks := (panels + block - 1) / block
	wide := roundUp((panels+blocks-1)/blocks, 2) // panels of a chunk
	blocks = (panels + wide - 1) / wide
	parts := min((4*workers+blocks-1)/blocks, (m+actTile-1)/actTile)
	long := roundUp((m+parts-1)/parts, actTile) // tokens of a chunk
	parts = (m + long - 1) / long
	return e.pool.run(ctx, blocks*parts, 1, func(worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			p0, m0 := i/parts*wide, i%parts*long
			f(worker, p0, min(p0+wide, panels), m0, min(m0+long, m))
		}
	})
}

// MatMul multiplies one batch of activations by several matrices (query, key
// and value; gate and up) in one parallel region. When ctx ends, so does MatMul,
// within milliseconds, with its error.
func (e *Engine) MatMul(ctx context.Context, a *Acts, ps ...Product) error {
	all, sums := a.withTops(ps)
	if err := e.matMul(ctx, a, all); err != nil {
		return err
	}
	for _, s := range sums {
		if err := e.addTops(ctx, a.m, s); err != nil {
			return err
		}
	}
	return nil
}

// matMul is MatMul without what further codes add.
func (e *Engine) matMul(ctx context.Context, a *Acts, ps []Product) error {
	type part struct {
		first, panels int
		way           way
	}
	parts := make([]part, len(ps))
	total := 0
	var qa *quantActs
	var fa *floatActs
	workers, block := 1, panelBlock
	for i, p := range ps {
		if p.W.k != a.k {
			panic(fmt.Sprintf("kernels: %d activation columns meet a matrix of %d", a.k, p.W.k))
		}
		w := way{workers: e.Threads(), block: panelBlock} // of a float product
		var err error
		if p.W.quant != nil {
			w = e.wayFor(p.W, a.m)
			if qa, err = a.quantized(ctx, e); err == nil {
				qa.prepare(p.W.quant.scheme)
			}
		} else {
			fa, err = a.floats(ctx, e)
		}
		if err != nil {
			return err
		}
		panels := (p.W.n + layout.PanelRows - 1) / layout.PanelRows
		parts[i] = part{total, panels, w}
		workers, block = max(workers, w.workers), min(block, w.block)
		total += panels
	}
	defer runtime.KeepAlive(ps) // and with them the weights, which lie outside the Go heap
	return e.spread(ctx, workers, block, total, a.m, fa == nil, func(worker, lo, hi, m0, m1 int) {
		for i, p := range ps {
			p0, p1 := max(lo-parts[i].first, 0), min(hi-parts[i].first, parts[i].panels)
			if p0 >= p1 {
				continue
			}
			if p.W.quant == nil {
				e.float().mul(p.Dst, p.W.n, p.W.floatRows(), fa, p0*layout.PanelRows, min(p1*layout.PanelRows, p.W.n))
				continue
			}
			e.ints[parts[i].way.kernel].product(p.Dst, qa, m0, m1, p.W.quant, p0, p1, parts[i].way.block)
		}
	})
}
