//go:build !linux

package kernels

// adviseHuge does nothing: only Linux takes the request.
func adviseHuge([]byte) {}
