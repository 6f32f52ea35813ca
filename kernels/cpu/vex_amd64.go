//go:build !evex

package cpu

import "github.com/klauspost/cpuid/v2"

// avxvnniFeatures are what the AVX-VNNI tier needs beside those of AVX2.
var avxvnniFeatures = []cpuid.FeatureID{cpuid.AVXVNNI}
