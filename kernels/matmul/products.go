package matmul

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/pool"
)

// Products computes products with prepared matrices: it owns the choice of kernels. Its
// methods may be called from several goroutines.
type Products struct {
	Pool     *pool.Pool
	Tier     cpu.ISA
	Ints     []Kernel
	float    func() floatChoice // chooseFloat of the tier
	quantize func(dst []actBlock, step int, x []float32)

	chosen atomic.Pointer[map[choiceKey]Way]
	force  atomic.Pointer[string]
}

// New returns the products of a tier without the kernels whose names are
// excluded.
func New(isa cpu.ISA, p *pool.Pool, exclude []string) (*Products, error) {
	e := &Products{Pool: p, Tier: isa, quantize: quantizeBlocksGeneric}
	if isa != cpu.Generic {
		e.quantize = archQuantizeBlocks
	}
	for _, k := range Kernels() {
		if isa.Allows(k.ISA) && !slices.Contains(exclude, k.String()) {
			e.Ints = append(e.Ints, k)
		}
	}
	for _, s := range format.Plain() {
		if !slices.ContainsFunc(e.Ints, func(k Kernel) bool { return k.Takes(s) }) {
			return nil, fmt.Errorf("every kernel for %s is excluded", s)
		}
	}
	e.float = sync.OnceValue(func() floatChoice { return chooseFloat(isa) })
	return e, nil
}

// NewActs returns an empty activation buffer.
func (e *Products) NewActs() *Acts { return new(Acts) }

// MBuckets are the batch sizes that choices are made for; a batch takes the
// choice of the first bucket that holds it, or of the last.
func MBuckets() []int { return []int{1, 4, 16, 64, 256} }

func bucketOf(m int) int {
	buckets := MBuckets()
	for _, b := range buckets {
		if m <= b {
			return b
		}
	}
	return buckets[len(buckets)-1]
}

// Way is how a product is computed.
type Way struct {
	Kernel  int // index into Engine.ints
	Workers int // threads: all, or one, which needs no handover
	Block   int // panels of weights that all tokens meet before the next
}

// PanelBlock is the usual block of a batch: panels that stay in the second-level
// cache while tile after tile of tokens passes by, and few enough to stop soon
// when cancelled.
const PanelBlock = 16

// choiceKey identifies a choice at run time.
type choiceKey struct {
	scheme       format.Scheme
	n, k, bucket int
}

// Kernels lists the names of the quantized kernels the engine may use.
func (e *Products) Kernels() []string {
	var names []string
	for _, k := range e.Ints {
		if !slices.Contains(names, k.String()) {
			names = append(names, k.String())
		}
	}
	return names
}

// Force makes every quantized product use the named kernel, where it exists for
// the format; the empty name returns to the selected ones. Results do not
// change, only speed: a kernel that does not equal the reference is refused with
// ErrWrong.
func (e *Products) Force(kernel string) error {
	if kernel == "" {
		e.force.Store(nil)
		return nil
	}
	if !slices.Contains(e.Kernels(), kernel) {
		return fmt.Errorf("no kernel is called %q (there are: %s)", kernel, strings.Join(e.Kernels(), ", "))
	}
	for _, k := range e.Ints {
		if k.String() == kernel {
			if err := k.verdict(); err != nil {
				return err
			}
		}
	}
	e.force.Store(&kernel)
	return nil
}

// Forced returns the name given to Force, or "".
func (e *Products) Forced() string {
	if f := e.force.Load(); f != nil {
		return *f
	}
	return ""
}

// wayFor picks how to compute a product: with the forced kernel, as measured, or
// with the last kernel of the highest tier.
func (e *Products) wayFor(w *Linear, m int) Way {
	if f := e.force.Load(); f != nil {
		for i, k := range e.Ints {
			if k.Takes(w.Quant.Scheme) && k.String() == *f {
				return Way{i, e.Pool.Threads(), PanelBlock}
			}
		}
	}
	if chosen := e.chosen.Load(); chosen != nil {
		if v, ok := (*chosen)[choiceKey{w.Quant.Scheme, w.n, w.k, bucketOf(m)}]; ok {
			return v
		}
	}
	return e.static(w.Quant.Scheme)
}

// static is the choice without measurement: the highest tier's largest tile that is
// right.
func (e *Products) static(s format.Scheme) Way {
	for i, k := range slices.Backward(e.Ints) {
		if k.Takes(s) && k.verdict() == nil {
			return Way{i, e.Pool.Threads(), PanelBlock}
		}
	}
	panic(fmt.Sprintf("kernels: no kernel of this engine for %s is right", s))
}

// Chosen is how products of one shape are computed.
type Chosen struct {
	Scheme         format.Scheme
	N, K           int
	M              int    // of MBuckets
	Kernel         string // its name
	Workers, Block int
}

// Install makes choices those that products take; of a kernel that there is none of,
// nothing comes.
func (e *Products) Install(choices []Chosen) {
	ways := make(map[choiceKey]Way, len(choices))
	for _, c := range choices {
		for i, k := range e.Ints {
			if k.Takes(c.Scheme) && k.String() == c.Kernel {
				ways[choiceKey{c.Scheme, c.N, c.K, c.M}] = Way{i, c.Workers, c.Block}
			}
		}
	}
	e.chosen.Store(&ways)
}
