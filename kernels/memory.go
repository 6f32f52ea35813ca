package kernels

import (
	"runtime"
	"unsafe"

	"nibble/kernels/layout"
)

// memory is a block of bytes that starts on a cache line. Large blocks lie
// outside the Go heap, on huge pages where the system grants them: a matrix is
// read from end to end for every token, and with 4 KiB pages the translation of
// addresses and the prefetchers' stop at each page cost up to half of the memory
// bandwidth. Packed weights also stay out of the garbage collector's sums, which
// would otherwise let garbage grow to their size.
//
// The bytes live as long as the memory does, not as long as slices of it: who
// hands such a slice to assembly keeps the memory alive until it returns.
type memory struct {
	bytes   []byte
	region  []byte // what was mapped, nil if bytes are on the Go heap
	arena   *Arena // whose bytes they are, if they are
	cleanup runtime.Cleanup
}

// hugeBytes is the size of a huge page on amd64 and on arm64 with 4 KiB pages.
const hugeBytes = 2 << 20

// newMemory allocates n zero bytes.
func newMemory(n int) *memory {
	m := new(memory)
	if n >= hugeBytes/2 {
		m.region = mapRegion(n + hugeBytes)
	}
	if m.region == nil {
		m.bytes = aligned(make([]byte, n+layout.LineBytes), layout.LineBytes, n)
		return m
	}
	m.bytes = aligned(m.region, hugeBytes, n)
	adviseHuge(m.bytes)
	m.cleanup = runtime.AddCleanup(m, unmapRegion, m.region)
	return m
}

// free gives the memory back at once instead of when nothing refers to it.
func (m *memory) free() {
	if m.region != nil {
		m.cleanup.Stop()
		unmapRegion(m.region)
	}
	m.bytes, m.region, m.arena = nil, nil, nil
}

// aligned is the first stretch of n bytes of b that starts on a multiple of
// align.
func aligned(b []byte, align, n int) []byte {
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & uintptr(align-1))
	return b[off : off+n : off+n]
}
