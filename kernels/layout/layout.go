// Package layout holds the numbers that describe memory which assembly reads: they
// stand here once, for the packages that fill it and for the generators of the
// assembly. It imports nothing.
package layout

// Quantized weights. Rows are interleaved in panels, columns are cut into blocks; a
// line holds four bytes of each row of a panel.
const (
	LineBytes = 64 // a cache line, and a vector of 512 bits
	PanelRows = 16
	BlockCols = 32

	ScaleBytes = 2 * PanelRows // scales of a group in a panel
	ZeroBytes  = PanelRows     // its zero points

	// Groups in a span: as many as fill whole lines with their scales and zero points.
	SymSpan  = 2 // without zero points
	AsymSpan = 4
)

// A block of quantized activations: BlockCols INT8, then their scale, float32, and
// three int32, minus the sum of the INT8 and 8 and 128 times that.
const (
	ActBytes     = 48
	ActScale     = 32
	ActNegSum    = 36
	ActNegSum8   = 40
	ActNegSum128 = 44
)

// Tiles of quantized products.
const (
	MaxTokens = 12 // of a tile that works in scratch
	AMXTokens = 16 // of an AMX tile, which takes neither fewer nor more
)

// KeyBlock is the number of positions whose keys are interleaved.
const KeyBlock = 16

// DotLanes is how many sums make up an inner product of floats.
const DotLanes = 16
