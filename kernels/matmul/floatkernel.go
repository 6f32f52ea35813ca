package matmul

import (
	"context"
	"sync"

	"nibble/kernels/cpu"
	"nibble/kernels/layout"
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

// floatKernel multiplies float32 activations by float weights of any storage
// type, from where they are stored. Every kernel gives the same bits.
type floatKernel struct {
	Name string // "4x4": rows x tokens of its largest tile
	ISA  cpu.ISA
	// dots computes the sum over i < k of w[r*ldw+i] * x[t*ldx+i], in float32, for r
	// below rows and t below tokens, and stores it in dst[t*ldd+r], or adds it.
	dots func(dst []float32, ldd int, w []byte, ldw int, dt number.DType, x []float32, ldx, k, rows, tokens int, add bool)
	// whole says that dots and row take whole vectors alone: k is a multiple of layout.DotLanes.
	whole bool
	// row, which may be nil, is dots for one token, of stretches of depth columns.
	row func(dst []float32, w []byte, ldw int, dt number.DType, x []float32, k, depth, rows int)
	// decode is decodeRows.
	decode func(dst []float32, ldd int, src []byte, lds int, dt number.DType, n, rows int)
	outer  outerSet // for batches; may be empty
}

func floatKernels() []floatKernel {
	return append([]floatKernel{{Name: "1x1", ISA: cpu.Generic, dots: dotsGeneric, decode: number.DecodeRows}}, archFloatKernels()...)
}

// floatRows are rows of weights as they are stored, ld elements apart.
type floatRows struct {
	data []byte
	dt   number.DType
	ld   int
}

// at are the bytes from a row and column on.
func (w floatRows) at(r, c int) []byte { return w.data[(r*w.ld+c)*w.dt.Size():] }

// floatDepth is the most columns in a stretch. Sums are made of those of
// stretches, whatever the number of tokens, so that a token's result does not
// depend on its batch. A stretch of a panel of 16 rows and of six tokens fits the
// first-level cache, and one of a few hundred tokens the second.
const floatDepth = 384

// depthOf is the length of the stretches of k columns.
func depthOf(k int) int {
	stretches := (k + floatDepth - 1) / floatDepth
	return number.RoundUp((k+stretches-1)/stretches, 16)
}

// strideOf is the distance of rows in copies of a stretch: not that of a power of
// two, which rows of a matrix often have and which puts them all in the same place
// of the caches.
func strideOf(depth int) int { return depth + 16 }

// copyTokens is how many tokens are worth copying the weights for.
const copyTokens = 8

// floatActs is a batch of activations, m rows of k, copied stretch by stretch if
// there are enough of them: for tiles of outer products as packChains arranges them,
// and what these leave as it was.
type floatActs struct {
	x      []float32 // as they were given, ld apart
	ld     int
	m, k   int
	add    bool // to what is there already
	copied []float32
	blocks []outerBlock
	rest   int // the first token that is in no block
}

// prepare makes the copy on all threads, in memory that may be used again.
func (a *floatActs) prepare(ctx context.Context, e *Products) error {
	if a.m < copyTokens {
		return nil
	}
	depth := depthOf(a.k)
	stride := strideOf(depth)
	a.copied = number.Grow(a.copied, (a.k+depth-1)/depth*a.m*stride)
	float := e.float()
	a.blocks, a.rest = float.outer.split(a.blocks[:0], a.m)
	parts := len(a.blocks) + (a.m-a.rest+copyTokens-1)/copyTokens
	return e.Pool.Run(ctx, parts, 1, func(_, lo, hi int) {
		for c := 0; c < a.k; c += depth {
			k, copied := min(depth, a.k-c), a.stretch(c)
			for i := lo; i < hi; i++ {
				if i < len(a.blocks) {
					b := a.blocks[i]
					float.outer.packChains(copied[b.first*stride:], a.x[b.first*a.ld+c:], a.ld, k, b.tokens)
					continue
				}
				t := a.rest + (i-len(a.blocks))*copyTokens
				tokens := min(copyTokens, a.m-t)
				float.decode(copied[t*stride:], stride, number.Bytes(a.x[t*a.ld+c:]), a.ld, number.F32, k, tokens)
				for ; tokens > 0; t, tokens = t+1, tokens-1 {
					clear(copied[t*stride:][k:number.RoundUp(k, layout.DotLanes)])
				}
			}
		}
	})
}

// stretch is the copy of the columns from c on: strideOf elements for each token.
func (a *floatActs) stretch(c int) []float32 {
	depth := depthOf(a.k)
	return a.copied[c/depth*a.m*strideOf(depth):]
}

// mul computes rows r0 to r1 of w for all tokens; the rows of dst lie ldd apart
// and begin with w's row 0.
func (f floatKernel) mul(dst []float32, ldd int, w floatRows, a *floatActs, r0, r1 int) {
	if a.m < copyTokens {
		f.mulStored(dst, ldd, w, a, r0, r1)
		return
	}
	room := floatRooms.Get().(*floatRoom)
	defer floatRooms.Put(room)
	blocks := a.blocks
	for last := false; !last; {
		some := blocks[:min(outerBlocks, len(blocks))]
		blocks = blocks[len(some):]
		last = len(blocks) == 0
		f.mulBlocks(dst, ldd, w, a, r0, r1, some, last && a.rest < a.m, room)
	}
}

// mulStored is mul straight from where the weights are stored. One token meets
// each row in full, for memory to be read in a single stream.
func (f floatKernel) mulStored(dst []float32, ldd int, w floatRows, a *floatActs, r0, r1 int) {
	depth, c, k := depthOf(a.k), 0, a.k // k columns are taken from where they are
	if f.whole && k%layout.DotLanes != 0 {
		k -= k % depth // all stretches but the last
	}
	if a.m == 1 && f.row != nil && !a.add && k > 0 {
		f.row(dst[r0:], w.at(r0, 0), w.ld, w.dt, a.x, k, depth, r1-r0)
		c = k
	}
	for ; c < k; c += depth {
		f.dots(dst[r0:], ldd, w.at(r0, c), w.ld, w.dt, a.x[c:], a.ld, min(depth, k-c), r1-r0, a.m, a.add || c > 0)
	}
	if c < a.k {
		f.mulPadded(dst, ldd, w, a, r0, r1, c)
	}
}

// mulPadded is mulStored for the last columns, from c on, whose vectors are not whole:
// from copies that zeros complete.
func (f floatKernel) mulPadded(dst []float32, ldd int, w floatRows, a *floatActs, r0, r1, c int) {
	room := floatRooms.Get().(*floatRoom)
	defer floatRooms.Put(room)
	k := a.k - c
	whole := number.RoundUp(k, layout.DotLanes)
	stride := strideOf(whole)
	x := room.tokens[:copyTokens*stride]
	for t := range a.m {
		copy(x[t*stride:], a.x[t*a.ld+c:][:k])
		clear(x[t*stride:][k:whole])
	}
	for r := r0; r < r1; r += layout.PanelRows {
		rows := min(layout.PanelRows, r1-r)
		room.fill(f, w, r, c, k, rows, stride)
		f.dots(dst[r:], ldd, number.Bytes(room.weights[:]), stride, number.F32, x, stride, whole, rows, a.m, a.add || c > 0)
	}
}

// floatRoom holds a stretch of a panel of weights, and what tiles of outer products
// need.
type floatRoom struct {
	weights [layout.PanelRows * (floatDepth + 16)]float32 // strideOf(floatDepth)
	tokens  [copyTokens * (floatDepth + 16)]float32
	sums    [outerSums]float32
	stack   [outerStack]float32
}

var floatRooms = sync.Pool{New: func() any { return new(floatRoom) }}

// fill copies k columns of rows of w, from row r and column c on, stride apart, and
// completes their last vectors with zeros.
func (room *floatRoom) fill(f floatKernel, w floatRows, r, c, k, rows, stride int) {
	f.decode(room.weights[:], stride, w.at(r, c), w.ld, w.dt, k, rows)
	for i := range rows {
		clear(room.weights[i*stride:][k:number.RoundUp(k, layout.DotLanes)])
	}
}

// dotsGeneric is the reference of the float products. In every tier layout.DotLanes sums
// make up each inner product of a stretch: sum i is that of the columns i, i+16, i+32 and
// so on, each added by a fused multiply-add. They are added as lanes of vectors are,
// halves and halves of these.
func dotsGeneric(dst []float32, ldd int, w []byte, ldw int, dt number.DType, x []float32, ldx, k, rows, tokens int, add bool) {
	whole := number.RoundUp(k, layout.DotLanes) // zeros complete the last columns
	row, wide := make([]float32, whole), make([]float32, tokens*whole)
	for t := range tokens {
		copy(wide[t*whole:], x[t*ldx:][:k])
	}
	for r := range rows {
		number.DecodeFloats(row[:k], w[r*ldw*dt.Size():], dt)
		for t := range tokens {
			sum := dotGeneric(row, wide[t*whole:])
			if add {
				sum += dst[t*ldd+r]
			}
			dst[t*ldd+r] = sum
		}
	}
}

// dotGeneric is the inner product of a and as many elements of b, whole vectors.
func dotGeneric(a, b []float32) float32 {
	var lanes [layout.DotLanes]float32
	const some = 4 // lanes whose sums are in registers
	for lane := 0; lane < layout.DotLanes; lane += some {
		var l0, l1, l2, l3 float32
		for i := lane; i < len(a); i += layout.DotLanes {
			x, y := (*[some]float32)(a[i:]), (*[some]float32)(b[i:])
			s0, s1 := float64(x[0])*float64(y[0])+float64(l0), float64(x[1])*float64(y[1])+float64(l1)
			s2, s3 := float64(x[2])*float64(y[2])+float64(l2), float64(x[3])*float64(y[3])+float64(l3)
			if number.RoundsOnce(s0) && number.RoundsOnce(s1) && number.RoundsOnce(s2) && number.RoundsOnce(s3) { // FMA, without calls
				l0, l1, l2, l3 = float32(s0), float32(s1), float32(s2), float32(s3)
			} else {
				l0, l1, l2, l3 = number.FMAOdd(x[0], y[0], l0), number.FMAOdd(x[1], y[1], l1), number.FMAOdd(x[2], y[2], l2), number.FMAOdd(x[3], y[3], l3)
			}
		}
		*(*[some]float32)(lanes[lane:]) = [some]float32{l0, l1, l2, l3}
	}
	var halves [vector.VectorLanes]float32
	for i := range halves {
		halves[i] = lanes[i] + lanes[vector.VectorLanes+i]
	}
	return vector.LanesTotal(&halves)
}
