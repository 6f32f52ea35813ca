//go:build (!amd64 && !arm64) || noasm

package vector

import "nibble/kernels/cpu"

func archOps(cpu.ISA) Ops { return genericOps() }
