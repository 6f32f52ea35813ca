//go:build arm64 && !noasm

package kernels

// compositions lists kernels in ascending order of tiers, and within a tier of what is
// taken without a measurement: the last.
var compositions = []composition{
	{isa: NEON, sizes: []tileSize{{16, 1}}},
	{isa: NEON, sizes: []tileSize{{8, 2}, {16, 1}}},
	{isa: DotProd, sizes: []tileSize{{16, 2}, {16, 1}}},
	{isa: DotProd, sizes: []tileSize{{8, 4}, {16, 2}, {16, 1}}},
	{isa: I8MM, sizes: []tileSize{{8, 2}, {16, 1}}},
	{isa: I8MM, sizes: []tileSize{{8, 4}, {8, 2}, {16, 1}}},
	{isa: I8MM, sizes: []tileSize{{8, 8}, {8, 4}, {8, 2}, {16, 1}}},
}

// amxInt is of amd64 alone.
func amxInt(intKernel, Format) (intKernel, bool) { return intKernel{}, false }
