package kernels

// floatKernel multiplies float32 activations by float weights of any storage
// type, straight from where they are stored.
type floatKernel struct {
	Name string // "4x4": rows x tokens of its largest tile
	ISA  ISA
	// dots computes dst[t*ldd+r] = sum over i < k of w[r*ldw+i] * x[t*ldx+i], in
	// float32, for r below rows and t below tokens.
	dots func(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, k, rows, tokens int)
}

func floatKernels() []floatKernel {
	return append([]floatKernel{{Name: "1x1", ISA: Generic, dots: dotsGeneric}}, archFloatKernels()...)
}

// floatBlock is how many activations stay in the second-level cache while the
// rows of weights pass by, in elements; floatDepth how many columns of four of
// them stay in the first.
const (
	floatBlock = 64 << 10
	floatDepth = 1024
)

// mul computes panels p0 to p1 of 16 rows for all m tokens. Long sums are made of
// those of stretches of columns, whatever m, so that a token's result does not
// depend on its batch.
func (f floatKernel) mul(dst []float32, w *Linear, x []float32, m, p0, p1 int) {
	size := w.dtype.Size()
	stretches := (w.k + floatDepth - 1) / floatDepth
	depth := roundUp((w.k+stretches-1)/stretches, 16)
	if m == 1 && stretches > 1 {
		f.rows(dst, w, x, p0*panelRows, min(p1*panelRows, w.n), depth)
		return
	}
	block := max(4, floatBlock/w.k&^3)
	var part [64 * panelRows]float32
	for t := 0; t < m; t += block {
		for p := p0; p < p1; p++ {
			r := p * panelRows
			rows := min(panelRows, w.n-r)
			f.dots(dst[t*w.n+r:], w.n, w.float[r*w.k*size:], w.k, w.dtype, x[t*w.k:], w.k, min(depth, w.k), rows, min(block, m-t))
			for c := depth; c < w.k; c += depth {
				for t0 := t; t0 < min(t+block, m); t0 += len(part) / panelRows {
					tokens := min(len(part)/panelRows, t+block-t0, m-t0)
					f.dots(part[:], panelRows, w.float[(r*w.k+c)*size:], w.k, w.dtype, x[t0*w.k+c:], w.k, min(depth, w.k-c), rows, tokens)
					for i := range tokens {
						out := dst[(t0+i)*w.n+r:][:rows]
						for j, v := range part[i*panelRows:][:rows] {
							out[j] += v
						}
					}
				}
			}
		}
	}
}

// rows is mul for one token: each row in full, for memory to be read in a single
// stream, in sums of the same stretches.
func (f floatKernel) rows(dst []float32, w *Linear, x []float32, r0, r1, depth int) {
	size := w.dtype.Size()
	var part [1]float32
	for r := r0; r < r1; r++ {
		sum := float32(0)
		for c := 0; c < w.k; c += depth {
			f.dots(part[:], 1, w.float[(r*w.k+c)*size:], w.k, w.dtype, x[c:], w.k, min(depth, w.k-c), 1, 1)
			sum += part[0]
		}
		dst[r] = sum
	}
}

// dotsGeneric is the reference of the float products.
func dotsGeneric(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, k, rows, tokens int) {
	row := make([]float32, k)
	for r := range rows {
		DecodeFloats(row, w[r*ldw*dt.Size():], dt)
		for t := range tokens {
			dst[t*ldd+r] = Dot(row, x[t*ldx:t*ldx+k])
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
