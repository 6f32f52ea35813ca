//go:build (!amd64 && !arm64) || noasm

package attention

import "nibble/kernels/cpu"

func archHeads(cpu.ISA) headOps { return genericHeads() }
