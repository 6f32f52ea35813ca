package graph

import (
	"errors"
	"slices"
	"sync/atomic"

	"nibble/kernels"
)

// Cache is what the steps keep of a text from pass to pass.
type Cache struct {
	KV     []*kernels.KVCache // of the steps that keep keys and values
	States []State            // of the steps that keep a state
	Beyond atomic.Bool        // F16 does not hold some keys or values
}

// ErrBeyondF16 reports keys or values that do not fit an F16 cache.
var ErrBeyondF16 = errors.New("keys or values are beyond F16")

// shape is that of a cache of keys and values.
type shape struct{ heads, dim int }

// NewKV returns an empty cache for the keys and values that have a number.
func (g *Graph) NewKV(number int, dt kernels.DType) *kernels.KVCache {
	return newKV(g.caches[number], dt)
}

func newKV(s shape, dt kernels.DType) *kernels.KVCache {
	kv, err := kernels.NewKVCache(s.heads, s.dim, dt)
	if err != nil {
		panic(err) // a description is validated
	}
	return kv
}

// NewKVs returns empty caches for all steps that keep keys and values.
func (g *Graph) NewKVs(dt kernels.DType) []*kernels.KVCache {
	var all []*kernels.KVCache
	for i := range g.caches {
		all = append(all, g.NewKV(i, dt))
	}
	return all
}

// Width is how many elements the keys of a token have in a cache.
func (g *Graph) Width(number int) int { return g.caches[number].heads * g.caches[number].dim }

// NewStates returns the states of an empty text.
func (g *Graph) NewStates() []State {
	var all []State
	for _, r := range g.recurrent {
		all = append(all, r.start())
	}
	return all
}

// recurrence is the size of what a step keeps from token to token: the last inputs
// of a convolution, and cells.
type recurrence struct {
	channels, kernel int
	cells            int
}

// State is a recurrence at work.
type State struct {
	tail  []float32 // the last kernel-1 inputs of the convolution, oldest first
	cells []float32
}

func (r recurrence) start() State {
	return State{make([]float32, (r.kernel-1)*r.channels), make([]float32, r.cells)}
}

// Clone returns a copy that goes its own way.
func (t State) Clone() State { return State{slices.Clone(t.tail), slices.Clone(t.cells)} }

// Bytes is the memory of the state.
func (t State) Bytes() int64 { return 4 * int64(len(t.tail)+len(t.cells)) }
