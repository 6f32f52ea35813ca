package vector

import (
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
)

// Options are those of a test's engine.
type Options struct {
	Threads int
	ISA     cpu.ISA // "" is the best
	Exclude []string
}

// Engine is the operations of a tier.
type Engine struct{ *Ops }

func testEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.ISA == "" {
		o.ISA = kerneltest.Best()
	}
	return &Engine{New(o.ISA)}
}
