//go:build !unix

package memory

// mapRegion maps nothing: memory comes from the Go heap.
func mapRegion(int) []byte { return nil }

func unmapRegion([]byte) {}
