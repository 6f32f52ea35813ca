package kernels

import (
	"context"
	"sync"
)

// floatKernel multiplies float32 activations by float weights of any storage
// type, from where they are stored.
type floatKernel struct {
	Name string // "4x4": rows x tokens of its largest tile
	ISA  ISA
	// dots computes the sum over i < k of w[r*ldw+i] * x[t*ldx+i], in float32, for r
	// below rows and t below tokens, and stores it in dst[t*ldd+r], or adds it.
	dots func(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, k, rows, tokens int, add bool)
	// row, which may be nil, is dots for one token, of stretches of depth columns.
	row func(dst []float32, w []byte, ldw int, dt DType, x []float32, k, depth, rows int)
	// decode is decodeRows.
	decode func(dst []float32, ldd int, src []byte, lds int, dt DType, n, rows int)
	outer  outerSet // for batches; may be empty
}

func floatKernels() []floatKernel {
	return append([]floatKernel{{Name: "1x1", ISA: Generic, dots: dotsGeneric, decode: decodeRows}}, archFloatKernels()...)
}

// floatRows are rows of weights as they are stored, ld elements apart.
type floatRows struct {
	data []byte
	dt   DType
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
	return roundUp((k+stretches-1)/stretches, 16)
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
func (a *floatActs) prepare(ctx context.Context, e *Engine) error {
	if a.m < copyTokens {
		return nil
	}
	depth := depthOf(a.k)
	stride := strideOf(depth)
	a.copied = grow(a.copied, (a.k+depth-1)/depth*a.m*stride)
	float := e.float()
	a.blocks, a.rest = float.outer.split(a.blocks[:0], a.m)
	parts := len(a.blocks) + (a.m-a.rest+copyTokens-1)/copyTokens
	return e.pool.run(ctx, parts, 1, func(_, lo, hi int) {
		for c := 0; c < a.k; c += depth {
			k, copied := min(depth, a.k-c), a.stretch(c)
			for i := lo; i < hi; i++ {
				if i < len(a.blocks) {
					b := a.blocks[i]
					float.outer.packChains(copied[b.first*stride:], a.x[b.first*a.ld+c:], a.ld, k, b.tokens)
					continue
				}
				t := a.rest + (i-len(a.blocks))*copyTokens
				float.decode(copied[t*stride:], stride, floatBytes(a.x[t*a.ld+c:]), a.ld, F32, k, min(copyTokens, a.m-t))
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
	depth := depthOf(a.k)
	if a.m == 1 && f.row != nil && !a.add {
		f.row(dst[r0:], w.at(r0, 0), w.ld, w.dt, a.x, a.k, depth, r1-r0)
		return
	}
	for c := 0; c < a.k; c += depth {
		f.dots(dst[r0:], ldd, w.at(r0, c), w.ld, w.dt, a.x[c:], a.ld, min(depth, a.k-c), r1-r0, a.m, a.add || c > 0)
	}
}

// floatRoom holds a stretch of a panel of weights, and what tiles of outer products
// need.
type floatRoom struct {
	weights [panelRows * (floatDepth + 16)]float32 // strideOf(floatDepth)
	sums    [outerSums]float32
	stack   [outerStack]float32
}

var floatRooms = sync.Pool{New: func() any { return new(floatRoom) }}

// fill copies k columns of rows of w, from row r and column c on, stride apart, and
// completes their last vectors with zeros.
func (room *floatRoom) fill(f floatKernel, w floatRows, r, c, k, rows, stride int) {
	f.decode(room.weights[:], stride, w.at(r, c), w.ld, w.dt, k, rows)
	if whole := roundUp(k, 16); k < whole {
		for i := range rows {
			clear(room.weights[i*stride:][k:whole])
		}
	}
}

// decodeRows converts rows of n floats, ldd elements apart in dst and lds in src.
func decodeRows(dst []float32, ldd int, src []byte, lds int, dt DType, n, rows int) {
	for r := range rows {
		DecodeFloats(dst[r*ldd:][:n], src[r*lds*dt.Size():], dt)
	}
}

// dotsGeneric is the reference of the float products.
func dotsGeneric(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, k, rows, tokens int, add bool) {
	row := make([]float32, k)
	for r := range rows {
		DecodeFloats(row, w[r*ldw*dt.Size():], dt)
		for t := range tokens {
			sum := Dot(row, x[t*ldx:t*ldx+k])
			if add {
				sum += dst[t*ldd+r]
			}
			dst[t*ldd+r] = sum
		}
	}
}

// addDots adds dotGeneric of every row and token.
func addDots(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, k, rows, tokens int) {
	for t := range tokens {
		for r := range rows {
			dst[t*ldd+r] += dotGeneric(w[r*ldw*dt.Size():], x[t*ldx:][:k], dt)
		}
	}
}

// dotGeneric is the product of a stretch of one stored row.
func dotGeneric(row []byte, x []float32, dt DType) float32 {
	var sum float32
	for i, v := range x {
		switch dt {
		case F32:
			sum += v * f32At(row, i)
		case F16:
			sum += v * F16ToF32(u16At(row, i))
		case BF16:
			sum += v * BF16ToF32(u16At(row, i))
		}
	}
	return sum
}
