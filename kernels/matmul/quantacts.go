package matmul

import (
	"math"
	"unsafe"

	"nibble/kernels/format"
	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// actBlock is 32 activations as INT8 with one scale, laid out for the kernels:
// everything a block's product needs is reached from one pointer.
type actBlock struct {
	q     [layout.BlockCols]int8
	scale float32

	// Minus the sum of q, which meets the zero points; and 8 and 128 times that,
	// where the sums of symmetric products start.
	nsum, nsum8, nsum128 int32
}

// The assembly counts on where the parts are.
const (
	_ = uint(layout.ActBytes-unsafe.Sizeof(actBlock{})) + uint(unsafe.Sizeof(actBlock{})-layout.ActBytes)
	_ = uint(layout.ActScale-unsafe.Offsetof(actBlock{}.scale)) + uint(unsafe.Offsetof(actBlock{}.scale)-layout.ActScale)
	_ = uint(layout.ActNegSum128-unsafe.Offsetof(actBlock{}.nsum128)) + uint(unsafe.Offsetof(actBlock{}.nsum128)-layout.ActNegSum128)
)

// QuantActs holds M rows of activations as INT8, the "dynamic" half of a
// quantized product.
//
// For a block with amax = max|x|: scale = amax/127, q = roundeven(x*(127/amax)),
// all in float32, so that every tier arrives at the same integers. Columns are
// padded with zeros to whole blocks. See quantizeBlocksGeneric for what is not
// finite.
//
// Tokens come in tiles of actTile; the blocks of a tile follow each other token
// by token, so that a kernel reads next to one stream whatever the number of
// tokens it takes at a time.
type QuantActs struct {
	M, k   int
	stride int        // blocks in a row
	blocks []actBlock // m * stride

	// What stands beside the blocks for formats that need it, empty until one does.
	sums   []float32  // of the activations, for least values
	halves [][2]int32 // minus 32 times the sums of each half, where sums of 6-bit codes start
}

// sum is that of the block's activations.
func (b *actBlock) sum() float32 { return float32(-b.nsum) * b.scale }

// Prepare computes what stands beside the blocks for products with weights of a format.
// It may not be called while they run.
func (a *QuantActs) Prepare(f *format.Format) {
	switch {
	case f.Mins && len(a.sums) == 0:
		a.sums = number.Grow(a.sums, len(a.blocks))
		for i := range a.blocks {
			a.sums[i] = a.blocks[i].sum()
		}
	case f.Group == 16 && len(a.halves) == 0:
		a.halves = number.Grow(a.halves, len(a.blocks))
		for i := range a.blocks {
			var sums [2]int32
			for c, q := range a.blocks[i].q {
				sums[c/16] -= int32(q)
			}
			a.halves[i] = [2]int32{32 * sums[0], 32 * sums[1]}
		}
	}
}

// beside returns what stands beside block i for a format, and the bytes of that.
func (a *QuantActs) beside(f *format.Format, i int) (*byte, int) {
	switch {
	case f.Mins:
		return (*byte)(unsafe.Pointer(&a.sums[i])), int(unsafe.Sizeof(a.sums[i]))
	case f.Group == 16:
		return (*byte)(unsafe.Pointer(&a.halves[i])), int(unsafe.Sizeof(a.halves[i]))
	}
	return nil, 0
}

// actTile is the number of tokens in a tile of activations, of which a tile of a
// kernel takes a part: a multiple of 12 and of 16. The last may have fewer.
const actTile = 48

// resize prepares for m rows of k columns, reusing memory.
func (a *QuantActs) resize(m, k int) {
	a.M, a.k = m, k
	a.stride = (k + layout.BlockCols - 1) / layout.BlockCols
	a.blocks = number.Grow(a.blocks, m*a.stride)
	a.sums, a.halves = a.sums[:0], a.halves[:0]
}

// place returns where the first block of a row is, and how far apart its blocks
// are.
func (a *QuantActs) place(m int) (first, step int) {
	tile := m / actTile * actTile
	return tile*a.stride + m - tile, min(actTile, a.M-tile)
}

// block returns a row's block.
func (a *QuantActs) block(m, b int) *actBlock {
	first, step := a.place(m)
	return &a.blocks[first+b*step]
}

// quantize fills rows lo to hi from x, row-major with k columns. Different row
// ranges may be filled concurrently.
func (a *QuantActs) quantize(x []float32, lo, hi int, blocks func(dst []actBlock, step int, x []float32)) {
	full := a.k / layout.BlockCols
	for r := lo; r < hi; r++ {
		in := x[r*a.k : (r+1)*a.k]
		first, step := a.place(r)
		blocks(a.blocks[first:], step, in[:full*layout.BlockCols])
		if full < a.stride {
			var tail [layout.BlockCols]float32
			copy(tail[:], in[full*layout.BlockCols:])
			blocks(a.blocks[first+full*step:], step, tail[:])
		}
	}
}

// quantizeBlocksGeneric quantizes x, whole blocks, to every step-th block of dst.
// A block with an infinity
// or a NaN becomes zeros with a scale of NaN, so that every product with it is
// NaN, in every tier, instead of something that looks like a number.
func quantizeBlocksGeneric(dst []actBlock, step int, x []float32) {
	for b := range len(x) / layout.BlockCols {
		in, out := x[b*layout.BlockCols:(b+1)*layout.BlockCols], &dst[b*step]
		top := uint32(0) // bits of magnitudes are ordered as the values are
		for _, v := range in {
			top = max(top, math.Float32bits(v)&^(1<<31))
		}
		if top >= infBits {
			*out = actBlock{scale: math.Float32frombits(quietNaN)}
			continue
		}
		amax := math.Float32frombits(top)
		out.scale = amax / 127
		inv := 127 / amax
		if inv > math.MaxFloat32 { // a block of zeros, or next to it
			inv, out.scale = 0, 0
		}
		sum := int32(0)
		for i, v := range in {
			t := int32(math.RoundToEven(float64(v * inv)))
			out.q[i] = int8(t)
			sum += t
		}
		out.nsum, out.nsum8, out.nsum128 = -sum, -8*sum, -128*sum
	}
}

const (
	infBits  = 0x7f800000
	quietNaN = 0x7fc00000
)
