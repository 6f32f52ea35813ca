package kernels

import (
	"fmt"

	"nibble/kernels/attention"
	"nibble/kernels/cpu"
	"nibble/kernels/matmul"
	"nibble/kernels/pool"
	"nibble/kernels/selector"
	"nibble/kernels/vector"
)

// Options configures an Engine.
type Options struct {
	Threads int      // compute threads, up to MaxThreads; 0 is one per core
	ISA     cpu.ISA  // highest tier to use; "" is NIBBLE_ISA or else the best
	Exclude []string // kernel names ("avx2 16x4") that may not be used
}

// MaxThreads is the most compute threads there may be.
const MaxThreads = 1024

// What an Engine consists of, without the names of the parts.
type (
	threads  = pool.Pool
	vectors  = vector.Ops
	heads    = attention.Heads
	products = matmul.Products
	chooser  = selector.Selector
)

// Engine owns the threads and the choice of kernels. Its methods are those of its parts;
// they may be called from several goroutines, and parallel loops run one after the
// other.
type Engine struct {
	*threads
	*vectors
	*heads
	*products
	*chooser
	isa cpu.ISA
}

// New starts an engine.
func New(o Options) (*Engine, error) {
	isa := o.ISA
	var err error
	if isa == "" {
		isa, err = cpu.FromEnv()
	} else {
		isa, err = cpu.ParseISA(string(isa))
	}
	if err != nil {
		return nil, err
	}
	if o.Threads < 0 || o.Threads > MaxThreads {
		return nil, fmt.Errorf("threads: %d is not between 1 and %d (0 means one per core)", o.Threads, MaxThreads)
	}
	n := o.Threads
	if n == 0 {
		n = cpu.DefaultThreads()
	}
	e := &Engine{threads: pool.New(n), isa: isa}
	if e.products, err = matmul.New(isa, e.threads, o.Exclude); err != nil {
		e.Close()
		return nil, err
	}
	e.vectors = vector.New(isa)
	e.heads = attention.New(isa, e.threads, e.vectors)
	e.chooser = selector.New(e.products, e.Limits)
	return e, nil
}

// ISA returns the highest tier the engine uses.
func (e *Engine) ISA() cpu.ISA { return e.isa }

// Limits measures what the machine can do at best on the engine's threads.
func (e *Engine) Limits() selector.Limits { return selector.MeasureLimits(e.isa, e.threads) }
