//go:build evex

package cpu

import "github.com/klauspost/cpuid/v2"

// avxvnniFeatures are those of AVX-512: in these builds the AVX-VNNI kernels use its
// encoding of VPDPBUSD, so that a CPU with AVX-512 VNNI can test them:
//
//	go test -tags evex '-asmflags=-D EVEX' ./kernels
var avxvnniFeatures = []cpuid.FeatureID{cpuid.AVX512F, cpuid.AVX512VL, cpuid.AVX512VNNI}
