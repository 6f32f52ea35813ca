//go:build arm64 && !noasm

package matmul

import (
	"nibble/kernels/cpu"
	"nibble/kernels/format"
)

// compositions lists kernels in ascending order of tiers, and within a tier of what is
// taken without a measurement: the last.
var compositions = []composition{
	{isa: cpu.NEON, sizes: []tileSize{{16, 1}}},
	{isa: cpu.NEON, sizes: []tileSize{{8, 2}, {16, 1}}},
	{isa: cpu.DotProd, sizes: []tileSize{{16, 2}, {16, 1}}},
	{isa: cpu.DotProd, sizes: []tileSize{{8, 4}, {16, 2}, {16, 1}}},
	{isa: cpu.I8MM, sizes: []tileSize{{8, 2}, {16, 1}}},
	{isa: cpu.I8MM, sizes: []tileSize{{8, 4}, {8, 2}, {16, 1}}},
	{isa: cpu.I8MM, sizes: []tileSize{{8, 8}, {8, 4}, {8, 2}, {16, 1}}},
}

// amxInt is of amd64 alone.
func amxInt(Kernel, format.Format) (Kernel, bool) { return Kernel{}, false }
