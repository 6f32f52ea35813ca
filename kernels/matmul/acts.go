package matmul

import "context"

// Acts is a batch of activations on its way into one or more products. The forms
// that kernels read are made on first use and shared by every matrix that reads
// them. An Acts is reused from step to step and belongs to one goroutine.
type Acts struct {
	m, k  int
	float floatActs
	quant QuantActs
	top   []float32 // products of further codes: see Engine.MatMul

	floatReady, quantReady bool
}

// Set makes x, row-major with m rows of k columns, the activations of the next
// products. x must not change until they are done.
func (a *Acts) Set(x []float32, m, k int) {
	a.m, a.k, a.floatReady, a.quantReady = m, k, false, false
	a.float = floatActs{x: x[:m*k], ld: k, m: m, k: k, copied: a.float.copied}
}

// floats returns the form for float products, copying in parallel when it is new.
func (a *Acts) floats(ctx context.Context, e *Products) (*floatActs, error) {
	if !a.floatReady {
		if err := a.float.prepare(ctx, e); err != nil {
			return nil, err
		}
		a.floatReady = true
	}
	return &a.float, nil
}

// Quantized returns the INT8 form, computing it in parallel when it is new.
func (a *Acts) Quantized(ctx context.Context, e *Products) (*QuantActs, error) {
	if !a.quantReady {
		a.quant.resize(a.m, a.k)
		err := e.Pool.Run(ctx, a.m, max(1, 16384/a.k), func(_, lo, hi int) { a.quant.quantize(a.float.x, lo, hi, e.quantize) })
		if err != nil {
			return nil, err
		}
		a.quantReady = true
	}
	return &a.quant, nil
}
