//go:build (!amd64 && !arm64) || noasm

package matmul

func archIntKernels() []Kernel { return nil }

func archFloatKernels() []floatKernel { return nil }

// archQuantizeBlocks stands for assembly that there is none of.
func archQuantizeBlocks(dst []actBlock, step int, x []float32) { quantizeBlocksGeneric(dst, step, x) }
