package selector

import (
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
	"nibble/kernels/matmul"
	"nibble/kernels/pool"
)

// Options are those of a test's engine.
type Options struct {
	Threads int
	ISA     cpu.ISA // "" is the best
	Exclude []string
}

// Engine is a selector and the threads it uses.
type Engine struct {
	*pool.Pool
	*Selector
}

func testEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.ISA == "" {
		o.ISA = kerneltest.Best()
	}
	p := pool.New(max(1, o.Threads))
	t.Cleanup(p.Close)
	e, err := matmul.New(o.ISA, p, o.Exclude)
	kerneltest.Must(t, err)
	return &Engine{p, New(e, func() Limits { return MeasureLimits(o.ISA, p) })}
}
