//go:build amd64 && !noasm

package matmul

import "nibble/kernels/cpu"

// near and far are how many bytes ahead of one token's codes the stream is fetched;
// see RATIONALE.md.
const near, far = 512, 1536

// compositions lists kernels in ascending order of tiers, and within a tier of what is
// taken without a measurement: the last.
var compositions = []composition{
	{isa: cpu.AVX2, sizes: []tileSize{{16, 1}}, ahead: near},
	{isa: cpu.AVX2, sizes: []tileSize{{8, 2}, {16, 1}}, ahead: near},
	{isa: cpu.AVX2, sizes: []tileSize{{8, 3}, {8, 2}, {16, 1}}, ahead: near},
	{isa: cpu.AVXVNNI, sizes: []tileSize{{8, 4}, {8, 2}, {16, 1}}, ahead: near},
	{isa: cpu.AVXVNNI, sizes: []tileSize{{16, 3}, {16, 2}, {16, 1}}, ahead: near},
	{isa: cpu.AVX512VNNI, sizes: []tileSize{{16, 1}}, ahead: far, note: " far"},
	{isa: cpu.AVX512VNNI, sizes: []tileSize{{16, 4}, {16, 2}, {16, 1}}, ahead: near},
	{isa: cpu.AVX512VNNI, sizes: []tileSize{{16, 12}, {16, 8}, {16, 4}, {16, 2}, {16, 1}}, ahead: near},
	{isa: cpu.AVX512VNNI, sizes: []tileSize{{32, 6}, {32, 4}, {32, 2}, {16, 1}}, ahead: near},
	{isa: cpu.AMX, sizes: []tileSize{{32, 6}, {32, 4}, {32, 2}, {16, 1}}, ahead: near, amx: true},
}
