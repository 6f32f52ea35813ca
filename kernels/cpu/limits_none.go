//go:build (!amd64 && !arm64) || noasm

package cpu

func ReadMemory([]byte) {}

func PeakInt(ISA, int) {}

func PeakOps(ISA) float64 { return 0 }

func PeakFloat(ISA, int) {}

func PeakFlops(ISA) float64 { return 0 }
