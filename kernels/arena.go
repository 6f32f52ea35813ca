package kernels

import (
	"sync/atomic"

	"nibble/kernels/layout"
)

// Arena is memory for many parts that come and go together, such as the matrices
// of a model or the caches of a session: it is one block on huge pages where each
// part by itself would be too small for them, or would end in small pages. A
// small page costs a fault, which under virtualization takes longer than filling
// the page. The block lives as long as the arena or a part of it does.
type Arena struct {
	mem  *memory
	next atomic.Int64
}

// NewArena returns an arena of at least n bytes. What does not fit it is
// allocated by itself.
func NewArena(n int64) *Arena {
	if n >= hugeBytes/2 {
		n = (n + hugeBytes - 1) / hugeBytes * hugeBytes // for the tail as well
	}
	return &Arena{mem: newMemory(int(n))}
}

// memory returns n zero bytes, of the arena if it has them. It may be called
// concurrently, and for nil.
func (a *Arena) memory(n int) *memory {
	if a != nil {
		size := int64(roundUp(n, layout.LineBytes))
		if end := a.next.Add(size); end <= int64(len(a.mem.bytes)) {
			return &memory{bytes: a.mem.bytes[end-size:][:n:n], arena: a}
		}
		a.next.Add(-size)
	}
	return newMemory(n)
}

// Free gives the block back at once. Its parts must not be used any more.
func (a *Arena) Free() { a.mem.free() }
