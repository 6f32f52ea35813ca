//go:build !linux

package memory

// adviseHuge does nothing: only Linux takes the request.
func adviseHuge([]byte) {}
