package matmul

import (
	"context"
	"fmt"
	"runtime"

	"nibble/kernels/layout"
	"nibble/kernels/number"
	"nibble/kernels/pool"
)

// Product is one matrix that reads a batch of activations: Dst[m][n] = sum over
// k of x[m][k] * W[n][k]. Dst is row-major, M x W.N().
type Product struct {
	W   *Linear
	Dst []float32
}

// streamPanels is how many panels a thread takes at least for few tokens, where
// panels are a stream from memory: as many as are worth starting it for.
const streamPanels = 4

// FewTokens is how many tokens leave a product bound by the stream of its weights.
const FewTokens = 24

// Spread runs f over panels that m tokens meet, on all threads or on this one; what
// f gets are a worker, panels p0 to p1, and tokens m0 to m1. A batch is cut into
// blocks of panels, and where these are few, by its tokens as well if byTokens allows.
func (e *Products) Spread(ctx context.Context, workers, block, panels, m int, byTokens bool, f func(worker, p0, p1, m0, m1 int)) error {
	all := func(worker, lo, hi int) { f(worker, lo, hi, 0, m) }
	switch {
	case workers == 1 && m <= FewTokens:
		return pool.Serial(ctx, panels, panels, all)
	case workers == 1:
		return pool.Serial(ctx, panels, block, all)
	case m <= FewTokens:
		return e.Pool.Stream(ctx, panels, streamPanels, all)
	case !byTokens:
		return e.Pool.Run(ctx, panels, max(2, min(block, panels/(4*workers)&^1)), all)
	}
	blocks := (panels + block - 1) / block
	wide := number.RoundUp((panels+blocks-1)/blocks, 2) // panels of a chunk
	blocks = (panels + wide - 1) / wide
	parts := min((4*workers+blocks-1)/blocks, (m+actTile-1)/actTile)
	long := number.RoundUp((m+parts-1)/parts, actTile) // tokens of a chunk
	parts = (m + long - 1) / long
	return e.Pool.Run(ctx, blocks*parts, 1, func(worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			p0, m0 := i/parts*wide, i%parts*long
			f(worker, p0, min(p0+wide, panels), m0, min(m0+long, m))
		}
	})
}

// MatMul multiplies one batch of activations by several matrices (query, key
// and value; gate and up) in one parallel region. When ctx ends, so does MatMul,
// within milliseconds, with its error.
func (e *Products) MatMul(ctx context.Context, a *Acts, ps ...Product) error {
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
func (e *Products) matMul(ctx context.Context, a *Acts, ps []Product) error {
	type part struct {
		first, panels int
		way           Way
	}
	parts := make([]part, len(ps))
	total := 0
	var qa *QuantActs
	var fa *floatActs
	workers, block := 1, PanelBlock
	for i, p := range ps {
		if p.W.k != a.k {
			panic(fmt.Sprintf("kernels: %d activation columns meet a matrix of %d", a.k, p.W.k))
		}
		w := Way{Workers: e.Pool.Threads(), Block: PanelBlock} // of a float product
		var err error
		if p.W.Quant != nil {
			w = e.wayFor(p.W, a.m)
			if qa, err = a.Quantized(ctx, e); err == nil {
				qa.Prepare(p.W.Quant.Format)
			}
		} else {
			fa, err = a.floats(ctx, e)
		}
		if err != nil {
			return err
		}
		panels := (p.W.n + layout.PanelRows - 1) / layout.PanelRows
		parts[i] = part{total, panels, w}
		workers, block = max(workers, w.Workers), min(block, w.Block)
		total += panels
	}
	defer runtime.KeepAlive(ps) // and with them the weights, which lie outside the Go heap
	return e.Spread(ctx, workers, block, total, a.m, fa == nil, func(worker, lo, hi, m0, m1 int) {
		for i, p := range ps {
			p0, p1 := max(lo-parts[i].first, 0), min(hi-parts[i].first, parts[i].panels)
			if p0 >= p1 {
				continue
			}
			if p.W.Quant == nil {
				e.float().mul(p.Dst, p.W.n, p.W.floatRows(), fa, p0*layout.PanelRows, min(p1*layout.PanelRows, p.W.n))
				continue
			}
			e.Ints[parts[i].way.Kernel].Product(p.Dst, qa, m0, m1, p.W.Quant, p0, p1, parts[i].way.Block)
		}
	})
}
