package attention

import (
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
	"nibble/kernels/pool"
	"nibble/kernels/vector"
)

// Options are those of a test's engine.
type Options struct {
	Threads int
	ISA     cpu.ISA // "" is the best
	Exclude []string
}

// Engine is attention and the threads it is computed on.
type Engine struct {
	*pool.Pool
	*Heads
}

func testEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.ISA == "" {
		o.ISA = kerneltest.Best()
	}
	p := pool.New(max(1, o.Threads))
	t.Cleanup(p.Close)
	return &Engine{p, New(o.ISA, p, vector.New(o.ISA))}
}

// forTiers runs f with the engines of plain Go and of each other tier.
func forTiers(t *testing.T, f func(t *testing.T, plain, e *Engine)) {
	plain := testEngine(t, Options{ISA: cpu.Generic, Threads: 2})
	for _, isa := range cpu.Supported()[1:] {
		t.Run(string(isa), func(t *testing.T) { f(t, plain, testEngine(t, Options{ISA: isa, Threads: 2})) })
	}
}
