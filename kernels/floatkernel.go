package kernels

// floatKernel multiplies float32 activations by float weights of any storage
// type, straight from where they are stored.
type floatKernel struct {
	Name string // "4x4": rows x tokens of its largest tile
	ISA  ISA
	// dots computes dst[t*ldd+r] = sum over i < k of w[r*k+i] * x[t*k+i], in
	// float32, for r below rows and t below tokens.
	dots func(dst []float32, ldd int, w []byte, dt DType, x []float32, k, rows, tokens int)
}

func floatKernels() []floatKernel {
	return append([]floatKernel{{Name: "1x1", ISA: Generic, dots: dotsGeneric}}, archFloatKernels()...)
}

// floatBlock is how many activations stay in the second-level cache while the
// rows of weights pass by, in elements.
const floatBlock = 64 << 10

// mul computes panels p0 to p1 of 16 rows for all m tokens.
func (f floatKernel) mul(dst []float32, w *Linear, x []float32, m, p0, p1 int) {
	rowBytes := w.k * w.dtype.Size()
	block := max(4, floatBlock/w.k&^3)
	for t := 0; t < m; t += block {
		tokens := min(block, m-t)
		for p := p0; p < p1; p++ {
			r := p * panelRows
			rows := min(panelRows, w.n-r)
			f.dots(dst[t*w.n+r:], w.n, w.float[r*rowBytes:(r+rows)*rowBytes], w.dtype, x[t*w.k:(t+tokens)*w.k], w.k, rows, tokens)
		}
	}
}

// dotsGeneric is the reference of the float products.
func dotsGeneric(dst []float32, ldd int, w []byte, dt DType, x []float32, k, rows, tokens int) {
	row := make([]float32, k)
	for r := range rows {
		DecodeFloats(row, w[r*k*dt.Size():], dt)
		for t := range tokens {
			dst[t*ldd+r] = Dot(row, x[t*k:(t+1)*k])
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
