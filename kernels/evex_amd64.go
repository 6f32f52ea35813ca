//go:build evex

package kernels

// evex is set in builds whose AVX-VNNI kernels use the AVX-512 encoding of
// VPDPBUSD, so that a CPU with AVX-512 VNNI can test them:
//
//	go test -tags evex '-asmflags=-D EVEX' ./kernels
const evex = true
