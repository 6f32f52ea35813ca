//go:build (!amd64 && !arm64) || noasm

package kernels

func archTiers() []ISA { return nil }

func archIntKernels() []intKernel { return nil }

func archFloatKernels() []floatKernel { return nil }

func archOps(ISA) vectorOps { return genericOps() }

func readMemory([]byte) {}

func peakInt(ISA, int) {}

func peakOps(ISA) float64 { return 0 }

func peakFloat(ISA, int) {}

func peakFlops(ISA) float64 { return 0 }

// archPackNibbles and archPackBytes report that there is no assembly for packing.
func archPackNibbles(_, _ []byte, _, _ int) bool { return false }

func archPackBytes(_, _ []byte, _, _ int) bool { return false }
