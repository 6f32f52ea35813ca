package kernels

import "math"

// vectorLanes is how many sums each operation on whole vectors has, in every tier.
const vectorLanes = 8

// vectorOps are the operations that have assembly, by tier. All tiers give the same
// bits, but for which NaN a NaN is.
type vectorOps struct {
	// expSum stores exp(x-shift) and returns the sum. Below the normal float32
	// range results are 0, beyond it they saturate.
	expSum         func(dst, x []float32, shift float32) float32
	swiGLU         func(dst, gate, up []float32)
	quantizeBlocks func(dst []actBlock, step int, x []float32)

	squares   func(x []float32) float32
	scaleMul  func(dst, x, w []float32, scale float32) // x * scale * w
	add       func(dst, x []float32)
	maximum   func(x []float32) float32
	rotate    func(lo, hi, cos, sin []float32)
	encodeF16 func(dst []uint16, x []float32)

	transpose  func(dst []float32, ldd int, src []float32, lds, rows, cols int)
	extent     func(x []float32) (lo, hi float32)
	roundGroup func(dst []byte, x []float32, bits int, g Grid, sums *RoundSums)

	scores func(dst []float32, ldd int, q []float32, keys []byte, step int, dt DType, blocks, dim, rows int)
	values func(dst []float32, ldd int, weights []float32, ldw int, values []byte, step int, dt DType, n, width, rows int, add bool)
	// valuesHeads is values of at most a block of each of some heads, whose sums follow
	// each other in dst, and a query each.
	valuesHeads func(dst []float32, weights []float32, ldw int, values []byte, dt DType, n, width, heads int, add bool)
}

func genericOps() vectorOps {
	return vectorOps{
		expSum: expSumGeneric, swiGLU: swiGLUGeneric, quantizeBlocks: quantizeBlocksGeneric,
		squares: squaresGeneric, scaleMul: scaleMulGeneric, add: addGeneric, maximum: maximumGeneric,
		rotate: rotateGeneric, encodeF16: encodeF16Generic, extent: extentGeneric, roundGroup: roundGroupGeneric, transpose: transposeGeneric,
		scores: scoresGeneric, values: valuesGeneric, valuesHeads: headByHead(valuesGeneric),
	}
}

// RMSNorm writes x / sqrt(mean(x²) + eps) * w to dst (Zhang and Sennrich,
// "Root Mean Square Layer Normalization", 2019). dst may be x.
func (e *Engine) RMSNorm(dst, x, w []float32, eps float32) {
	mean := float64(e.ops.squares(x)) / float64(len(x))
	e.ops.scaleMul(dst, x, w, float32(1/math.Sqrt(mean+float64(eps))))
}

// Add adds x to dst.
func (e *Engine) Add(dst, x []float32) { e.ops.add(dst, x) }

// Rotate turns the pairs (lo[i], hi[i]) by the angles whose cosines and sines are
// given.
func (e *Engine) Rotate(lo, hi, cos, sin []float32) { e.ops.rotate(lo, hi, cos, sin) }

// SwiGLU writes silu(gate) * up to dst, silu(x) = x / (1 + exp(-x)) (Shazeer,
// "GLU Variants Improve Transformer", 2020). dst may be gate or up.
func (e *Engine) SwiGLU(dst, gate, up []float32) { e.ops.swiGLU(dst, gate, up) }

// Exp stores exp(x-shift) in dst, which may be x, and returns the sum.
func (e *Engine) Exp(dst, x []float32, shift float32) float32 { return e.ops.expSum(dst, x, shift) }

// LogSumExp returns log(sum exp(x)).
func (e *Engine) LogSumExp(x []float32) float64 {
	top := e.ops.maximum(x)
	var buf [256]float32 // a float32 sum of few terms, a float64 sum of those
	var sum float64
	for len(x) > 0 {
		n := min(len(x), len(buf))
		sum += float64(e.ops.expSum(buf[:n], x[:n], top))
		x = x[n:]
	}
	return float64(top) + math.Log(sum)
}

// Softmax replaces x by exp(x) / sum exp(x). Entries of minus infinity become 0.
func (e *Engine) Softmax(x []float32) {
	inv := 1 / e.ops.expSum(x, x, e.ops.maximum(x))
	for i := range x {
		x[i] *= inv
	}
}

func maximumGeneric(x []float32) float32 {
	top := x[0]
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	return top
}

func swiGLUGeneric(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = g / (1 + exp32(-g)) * up[i]
	}
}

// lanesTotal adds up the sums of eight lanes as vectors do: halves, and halves of
// these.
func lanesTotal(l *[vectorLanes]float32) float32 {
	return l[0] + l[4] + (l[2] + l[6]) + (l[1] + l[5] + (l[3] + l[7]))
}

// expSumGeneric has a sum for each lane, and one for what is left of the last vector.
func expSumGeneric(dst, x []float32, shift float32) float32 {
	var lanes [vectorLanes]float32
	for ; len(x) >= vectorLanes; x, dst = x[vectorLanes:], dst[vectorLanes:] {
		for i, v := range x[:vectorLanes] {
			dst[i] = exp32(v - shift)
			lanes[i] += dst[i]
		}
	}
	var rest float32
	for i, v := range x {
		dst[i] = exp32(v - shift)
		rest += dst[i]
	}
	return lanesTotal(&lanes) + rest
}

// squaresGeneric has sums as expSumGeneric.
func squaresGeneric(x []float32) float32 {
	var lanes [vectorLanes]float32
	for ; len(x) >= vectorLanes; x = x[vectorLanes:] {
		for i, v := range x[:vectorLanes] {
			lanes[i] = fma32(v, v, lanes[i])
		}
	}
	var rest float32
	for _, v := range x {
		rest = fma32(v, v, rest)
	}
	return lanesTotal(&lanes) + rest
}

func scaleMulGeneric(dst, x, w []float32, scale float32) {
	for i, v := range x {
		dst[i] = v * scale * w[i]
	}
}

func addGeneric(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func rotateGeneric(lo, hi, cos, sin []float32) {
	for i, c := range cos {
		a, b, s := lo[i], hi[i], sin[i]
		lo[i] = fma32(a, c, -float32(b*s))
		hi[i] = fma32(b, c, float32(a*s))
	}
}

func encodeF16Generic(dst []uint16, x []float32) {
	for i, v := range x {
		dst[i] = F32ToF16(v)
	}
}

// Dot returns the inner product of a and b, which have the same length.
func Dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + (s2 + s3)
}

// exp32 is exp to within 2 units in the last place of float32, 0 where the result
// would be subnormal and saturated near the largest float32: x = n*log(2) + r
// with |r| <= log(2)/2, and a polynomial for exp(r) (the coefficients are those
// of Cephes' expf). Each step is one instruction of the vectors.
func exp32(x float32) float32 {
	const (
		log2e = 1.44269504088896341
		ln2hi = 0.693359375
		ln2lo = -2.12194440e-4
	)
	switch {
	case x < -87.33654: // exp(x) would be subnormal
		return 0
	case x > 88.37626: // and here it would overflow in the last step
		x = 88.37626
	case x != x:
		return x
	}
	n := float32(math.RoundToEven(float64(x * log2e)))
	x = fma32(-ln2hi, n, x)
	x = fma32(-ln2lo, n, x)
	p := float32(1.9875691500e-4)
	for _, c := range [...]float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1} {
		p = fma32(p, x, c)
	}
	return math.Float32frombits(math.Float32bits(p) + uint32(int32(n))<<23) // times 2^n
}
