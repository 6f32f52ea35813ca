package matmul

import (
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
	"nibble/kernels/number"
	"nibble/kernels/pool"
)

// Options are those of a test's engine.
type Options struct {
	Threads int
	ISA     cpu.ISA // "" is the best
	Exclude []string
}

// Engine is products and the threads they are computed on.
type Engine struct {
	*pool.Pool
	*Products
}

func testEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.ISA == "" {
		o.ISA = kerneltest.Best()
	}
	p := pool.New(max(1, o.Threads))
	t.Cleanup(p.Close)
	e, err := New(o.ISA, p, o.Exclude)
	kerneltest.Must(t, err)
	return &Engine{p, e}
}

// bytesOf are numbers as they are stored.
func bytesOf(x []float32, dt number.DType) []byte {
	b := make([]byte, len(x)*dt.Size())
	number.EncodeFloats(b, x, dt)
	return b
}
