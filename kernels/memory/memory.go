package memory

import (
	"runtime"
	"unsafe"

	"nibble/kernels/layout"
)

// Block is a block of bytes that starts on a cache line. Large blocks lie
// outside the Go heap, on huge pages where the system grants them: a matrix is
// read from end to end for every token, and with 4 KiB pages the translation of
// addresses and the prefetchers' stop at each page cost up to half of the memory
// bandwidth. Packed weights also stay out of the garbage collector's sums, which
// would otherwise let garbage grow to their size.
//
// The bytes live as long as the memory does, not as long as slices of it: who
// hands such a slice to assembly keeps the memory alive until it returns.
type Block struct {
	Bytes   []byte
	region  []byte // what was mapped, nil if bytes are on the Go heap
	arena   *Arena // whose bytes they are, if they are
	cleanup runtime.Cleanup
}

// hugeBytes is the size of a huge page on amd64 and on arm64 with 4 KiB pages.
const hugeBytes = 2 << 20

// New allocates n zero bytes.
func New(n int) *Block {
	m := new(Block)
	if n >= hugeBytes/2 {
		m.region = mapRegion(n + hugeBytes)
	}
	if m.region == nil {
		m.Bytes = aligned(make([]byte, n+layout.LineBytes), layout.LineBytes, n)
		return m
	}
	m.Bytes = aligned(m.region, hugeBytes, n)
	adviseHuge(m.Bytes)
	m.cleanup = runtime.AddCleanup(m, unmapRegion, m.region)
	return m
}

// Free gives the memory back at once instead of when nothing refers to it.
func (m *Block) Free() {
	if m.region != nil {
		m.cleanup.Stop()
		unmapRegion(m.region)
	}
	m.Bytes, m.region, m.arena = nil, nil, nil
}

// aligned is the first stretch of n bytes of b that starts on a multiple of
// align.
func aligned(b []byte, align, n int) []byte {
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & uintptr(align-1))
	return b[off : off+n : off+n]
}
