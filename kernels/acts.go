package kernels

import "context"

// Acts is a batch of activations on its way into one or more products. The INT8
// form is made on first use and shared by every quantized matrix that reads it.
// An Acts is reused from step to step and belongs to one goroutine.
type Acts struct {
	x     []float32
	m, k  int
	quant quantActs
	ready bool
}

// Set makes x, row-major with m rows of k columns, the activations of the next
// products. x must not change until they are done.
func (a *Acts) Set(x []float32, m, k int) {
	a.x, a.m, a.k, a.ready = x[:m*k], m, k, false
}

// quantized returns the INT8 form, computing it in parallel when it is new.
func (a *Acts) quantized(ctx context.Context, e *Engine) (*quantActs, error) {
	if !a.ready {
		a.quant.resize(a.m, a.k)
		err := e.pool.run(ctx, a.m, max(1, 16384/a.k), func(_, lo, hi int) { a.quant.quantize(a.x, lo, hi, e.ops.quantizeBlocks) })
		if err != nil {
			return nil, err
		}
		a.ready = true
	}
	return &a.quant, nil
}
