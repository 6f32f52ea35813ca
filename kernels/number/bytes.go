package number

import "unsafe"

// Bytes views float32 as bytes, the form in which weights are stored.
func Bytes(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

func RoundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// Elements views bytes, which are aligned, as numbers; every platform that
// nibble supports is little-endian.
func Elements[T float32 | uint16](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}

// Flag is 1 for true, for assembly.
func Flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func Grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
