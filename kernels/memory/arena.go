package memory

import (
	"sync/atomic"

	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// Arena is memory for many parts that come and go together, such as the matrices
// of a model or the caches of a session: it is one block on huge pages where each
// part by itself would be too small for them, or would end in small pages. A
// small page costs a fault, which under virtualization takes longer than filling
// the page. The block lives as long as the arena or a part of it does.
type Arena struct {
	mem  *Block
	next atomic.Int64
}

// NewArena returns an arena of at least n bytes. What does not fit it is
// allocated by itself.
func NewArena(n int64) *Arena {
	if n >= hugeBytes/2 {
		n = (n + hugeBytes - 1) / hugeBytes * hugeBytes // for the tail as well
	}
	return &Arena{mem: New(int(n))}
}

// Take returns n zero bytes, of the arena if it has them. It may be called
// concurrently, and for nil.
func (a *Arena) Take(n int) *Block {
	if a != nil {
		size := int64(number.RoundUp(n, layout.LineBytes))
		if end := a.next.Add(size); end <= int64(len(a.mem.Bytes)) {
			return &Block{Bytes: a.mem.Bytes[end-size:][:n:n], arena: a}
		}
		a.next.Add(-size)
	}
	return New(n)
}

// Free gives the block back at once. Its parts must not be used any more.
func (a *Arena) Free() { a.mem.Free() }
