package vector

import (
	"math"

	"nibble/kernels/cpu"
	"nibble/kernels/number"
)

// VectorLanes is how many sums each operation on whole vectors has, in every tier.
const VectorLanes = 8

// Ops are the operations that have assembly, by tier. All tiers give the same
// bits, but for which NaN a NaN is.
type Ops struct {
	// expSum stores exp(x-shift) and returns the sum. Below the normal float32
	// range results are 0, beyond it they saturate.
	expSum func(dst, x []float32, shift float32) float32
	swiGLU func(dst, gate, up []float32)

	squares   func(x []float32) float32
	ScaleMul  func(dst, x, w []float32, scale float32) // x * scale * w
	add       func(dst, x []float32)
	maximum   func(x []float32) float32
	rotate    func(lo, hi, cos, sin []float32)
	EncodeF16 func(dst []uint16, x []float32)

	Transpose  func(dst []float32, ldd int, src []float32, lds, rows, cols int)
	extent     func(x []float32) (lo, hi float32)
	roundGroup func(dst []byte, x []float32, bits int, g Grid, sums *RoundSums)
}

// New returns the operations of a tier.
func New(isa cpu.ISA) *Ops {
	ops := genericOps()
	if isa != cpu.Generic {
		ops = archOps(isa)
	}
	return &ops
}

func genericOps() Ops {
	return Ops{
		expSum: expSumGeneric, swiGLU: swiGLUGeneric,
		squares: squaresGeneric, ScaleMul: scaleMulGeneric, add: AddGeneric, maximum: maximumGeneric,
		rotate: rotateGeneric, EncodeF16: encodeF16Generic, extent: extentGeneric, roundGroup: roundGroupGeneric, Transpose: transposeGeneric,
	}
}

// RMSNorm writes x / sqrt(mean(x²) + eps) * w to dst (Zhang and Sennrich,
// "Root Mean Square Layer Normalization", 2019). dst may be x.
func (ops *Ops) RMSNorm(dst, x, w []float32, eps float32) {
	mean := float64(ops.squares(x)) / float64(len(x))
	ops.ScaleMul(dst, x, w, float32(1/math.Sqrt(mean+float64(eps))))
}

// Add adds x to dst.
func (ops *Ops) Add(dst, x []float32) { ops.add(dst, x) }

// Rotate turns the pairs (lo[i], hi[i]) by the angles whose cosines and sines are
// given.
func (ops *Ops) Rotate(lo, hi, cos, sin []float32) { ops.rotate(lo, hi, cos, sin) }

// SwiGLU writes silu(gate) * up to dst, silu(x) = x / (1 + exp(-x)) (Shazeer,
// "GLU Variants Improve Transformer", 2020). dst may be gate or up.
func (ops *Ops) SwiGLU(dst, gate, up []float32) { ops.swiGLU(dst, gate, up) }

// Max returns the largest of x.
func (ops *Ops) Max(x []float32) float32 { return ops.maximum(x) }

// Exp stores exp(x-shift) in dst, which may be x, and returns the sum.
func (ops *Ops) Exp(dst, x []float32, shift float32) float32 { return ops.expSum(dst, x, shift) }

// LogSumExp returns log(sum exp(x)).
func (ops *Ops) LogSumExp(x []float32) float64 {
	top := ops.maximum(x)
	var buf [256]float32 // a float32 sum of few terms, a float64 sum of those
	var sum float64
	for len(x) > 0 {
		n := min(len(x), len(buf))
		sum += float64(ops.expSum(buf[:n], x[:n], top))
		x = x[n:]
	}
	return float64(top) + math.Log(sum)
}

// Softmax replaces x by exp(x) / sum exp(x). Entries of minus infinity become 0.
func (ops *Ops) Softmax(x []float32) {
	inv := 1 / ops.expSum(x, x, ops.maximum(x))
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
		dst[i] = g / (1 + Exp32(-g)) * up[i]
	}
}

// LanesTotal adds up the sums of eight lanes as vectors do: halves, and halves of
// these.
func LanesTotal(l *[VectorLanes]float32) float32 {
	return l[0] + l[4] + (l[2] + l[6]) + (l[1] + l[5] + (l[3] + l[7]))
}

// expSumGeneric has a sum for each lane, and one for what is left of the last vector.
func expSumGeneric(dst, x []float32, shift float32) float32 {
	var lanes [VectorLanes]float32
	for ; len(x) >= VectorLanes; x, dst = x[VectorLanes:], dst[VectorLanes:] {
		for i, v := range x[:VectorLanes] {
			dst[i] = Exp32(v - shift)
			lanes[i] += dst[i]
		}
	}
	var rest float32
	for i, v := range x {
		dst[i] = Exp32(v - shift)
		rest += dst[i]
	}
	return LanesTotal(&lanes) + rest
}

// squaresGeneric has sums as expSumGeneric.
func squaresGeneric(x []float32) float32 {
	var lanes [VectorLanes]float32
	for ; len(x) >= VectorLanes; x = x[VectorLanes:] {
		for i, v := range x[:VectorLanes] {
			lanes[i] = number.FMA(v, v, lanes[i])
		}
	}
	var rest float32
	for _, v := range x {
		rest = number.FMA(v, v, rest)
	}
	return LanesTotal(&lanes) + rest
}

func scaleMulGeneric(dst, x, w []float32, scale float32) {
	for i, v := range x {
		dst[i] = v * scale * w[i]
	}
}

func AddGeneric(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func rotateGeneric(lo, hi, cos, sin []float32) {
	for i, c := range cos {
		a, b, s := lo[i], hi[i], sin[i]
		lo[i] = number.FMA(a, c, -float32(b*s))
		hi[i] = number.FMA(b, c, float32(a*s))
	}
}

func encodeF16Generic(dst []uint16, x []float32) {
	for i, v := range x {
		dst[i] = number.F32ToF16(v)
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

// Exp32 is exp to within 2 units in the last place of float32, 0 where the result
// would be subnormal and saturated near the largest float32: x = n*log(2) + r
// with |r| <= log(2)/2, and a polynomial for exp(r) (the coefficients are those
// of Cephes' expf). Each step is one instruction of the vectors.
func Exp32(x float32) float32 {
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
	x = number.FMA(-ln2hi, n, x)
	x = number.FMA(-ln2lo, n, x)
	p := float32(1.9875691500e-4)
	for _, c := range [...]float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1} {
		p = number.FMA(p, x, c)
	}
	return math.Float32frombits(math.Float32bits(p) + uint32(int32(n))<<23) // times 2^n
}
