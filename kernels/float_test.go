package kernels

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func encodeFloats(x []float32, dt DType) []byte {
	var b []byte
	for _, v := range x {
		switch dt {
		case F32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		case F16:
			b = binary.LittleEndian.AppendUint16(b, F32ToF16(v))
		case BF16:
			b = binary.LittleEndian.AppendUint16(b, F32ToBF16(v))
		}
	}
	return b
}

func normals(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// Products of plain Go equal a float64 sum within rounding, and those of every other
// kernel equal them bit for bit; all write only their own elements, and do not depend
// on how tokens are batched.
func TestFloatProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var engines []*Engine
	for _, kernel := range floatKernels() {
		if best().allows(kernel.ISA) {
			e := testEngine(t, Options{ISA: kernel.ISA, Threads: 2})
			e.float = func() floatChoice { return floatChoice{floatKernel: kernel} }
			engines = append(engines, e)
		}
	}
	for _, dt := range []DType{F32, F16, BF16} {
		for _, n := range []int{1, 4, 21} {
			for _, k := range []int{1, 15, 16, 33, 172, 400} {
				for _, m := range []int{1, 2, 5, 7, 9, 20, 47} {
					testFloatProduct(t, engines, rng, dt, n, k, m)
				}
			}
		}
		testFloatProduct(t, engines, rng, dt, 19, 1030, 103)
		testFloatProduct(t, engines, rng, dt, 66, 390, 521)
	}
}

func testFloatProduct(t *testing.T, engines []*Engine, rng *rand.Rand, dt DType, n, k, m int) {
	t.Helper()
	w, x := encodeFloats(normals(rng, n*k), dt), normals(rng, m*k)
	l, err := NewFloatLinear(n, k, dt, w)
	must(t, err)
	var want []float32
	for _, e := range engines {
		const guard = -4321
		what := fmt.Sprintf("%s %s n=%d k=%d m=%d", e.float(), dt, n, k, m)
		dst := slices.Repeat([]float32{guard}, m*n+16)
		got := dst[:m*n]
		a := e.NewActs()
		a.Set(x, m, k)
		must(t, e.MatMul(context.Background(), a, Product{l, got}))
		for _, v := range dst[m*n:] {
			if v != guard {
				t.Fatalf("%s: written beyond the end", what)
			}
		}
		if want == nil {
			checkFloatProduct(t, what, got, w, x, dt, n, k, m)
			want = got
		}
		sameBits(t, what, got, want)
		one := make([]float32, n)
		for _, token := range []int{0, m / 3, m / 2, m - 1} {
			a.Set(x[token*k:], 1, k)
			must(t, e.MatMul(context.Background(), a, Product{l, one}))
			sameBits(t, what+", a token alone", one, want[token*n:][:n])
		}
	}
}

// checkFloatProduct compares a product with sums in float64.
func checkFloatProduct(t *testing.T, what string, got []float32, w []byte, x []float32, dt DType, n, k, m int) {
	t.Helper()
	wf := make([]float32, n*k)
	DecodeFloats(wf, w, dt)
	for i, v := range got {
		want, size := 0.0, 0.0
		for c := range k {
			p := float64(wf[i%n*k+c]) * float64(x[i/n*k+c])
			want += p
			size += math.Abs(p)
		}
		if math.Abs(float64(v)-want) > 1e-6*size+1e-30 {
			t.Fatalf("%s element %d: %g, want %g", what, i, v, want)
		}
	}
}

// A kernel that is not clearly faster than the first, or gives other bits, is not
// chosen.
func TestFloatChoice(t *testing.T) {
	var clock time.Time
	slow := func(by int, wrong bool) floatKernel {
		k := floatKernels()[0]
		k.dots = func(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, n, rows, tokens int, add bool) {
			clock = clock.Add(time.Duration(by))
			for t := range tokens {
				for r := range rows {
					dst[t*ldd+r] = 1
				}
			}
			if wrong {
				dst[0]++
			}
		}
		k.Name = fmt.Sprint(by)
		return k
	}
	for _, c := range []struct {
		kernels      []floatKernel
		want, reason string
	}{
		{[]floatKernel{slow(2, false)}, "2", "generic 2"},
		{[]floatKernel{slow(3, false), slow(1, false)}, "1", "x generic 3"},
		{[]floatKernel{slow(1, false), slow(2, false)}, "1", "x generic 2"},
		{[]floatKernel{slow(4, false), slow(1, true), slow(2, false)}, "2", "generic 1 is wrong"},
		{[]floatKernel{slow(104, false), slow(100, false)}, "104", "0.96x generic 100"},
		{[]floatKernel{slow(106, false), slow(100, false)}, "100", "1.06x generic 106"},
	} {
		if got := measureFloats(c.kernels, func() time.Time { return clock }); got.Name != c.want || !strings.HasPrefix(got.reason, "generic "+c.want) || !strings.Contains(got.reason, c.reason) {
			t.Errorf("chose %s (%s), want %s", got.Name, got.reason, c.want)
		}
	}
}

func TestHalfPrecision(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := F16ToF32(h)
		if f != f {
			if b := F16ToF32(F32ToF16(f)); b == b {
				t.Fatalf("NaN %#04x became %g", h, b)
			}
			continue
		}
		if back := F32ToF16(f); back != h {
			t.Fatalf("%#04x is %g, which became %#04x", h, f, back)
		}
		if b := BF16ToF32(h); b == b && F32ToBF16(b) != h {
			t.Fatalf("BF16 %#04x does not round-trip", h)
		}
	}
	for f, want := range map[float32]uint16{65504: 0x7bff, 65519: 0x7bff, 65520: 0x7c00, 1e30: 0x7c00, -1e30: 0xfc00,
		1 + 1.0/2048: 0x3c00, 1 + 3.0/2048: 0x3c02, 1.0 / (1 << 25): 0, 3.0 / (1 << 25): 2} {
		if got := F32ToF16(f); got != want {
			t.Errorf("%g became %#04x, want %#04x", f, got, want)
		}
	}
}

func TestExp32(t *testing.T) {
	for x := float32(-87); x < 88.37; x += 0.00931 {
		got, want := float64(exp32(x)), math.Exp(float64(x))
		if math.Abs(got-want) > 3e-7*want {
			t.Fatalf("exp(%g) = %g, want %g", x, got, want)
		}
	}
	inf := float32(math.Inf(1))
	top := exp32(88.37626)
	for x, want := range map[float32]float32{-100: 0, -inf: 0, 89: top, inf: top, 0: 1} {
		if got := exp32(x); got != want {
			t.Errorf("exp(%g) = %g, want %g", x, got, want)
		}
	}
	if got := exp32(float32(math.NaN())); got == got {
		t.Errorf("exp(NaN) = %g", got)
	}
}

func BenchmarkFloat(b *testing.B) {
	const n, k = 2048, 2048
	rng := rand.New(rand.NewPCG(1, 1))
	for _, dt := range []DType{F32, F16, BF16} {
		l, err := NewFloatLinear(n, k, dt, encodeFloats(normals(rng, n*k), dt))
		if err != nil {
			b.Fatal(err)
		}
		for _, m := range []int{1, 64, 512} {
			x, dst := normals(rng, m*k), make([]float32, m*n)
			for _, kernel := range floatKernels()[1:] {
				if !best().allows(kernel.ISA) {
					continue
				}
				e := testEngine(b, Options{ISA: kernel.ISA, Threads: 1})
				e.float = func() floatChoice { return floatChoice{floatKernel: kernel} }
				a := e.NewActs()
				b.Run(fmt.Sprintf("%s/m=%d/kernel=%s-%s", dt, m, kernel.ISA, kernel.Name), func(b *testing.B) {
					for b.Loop() {
						a.Set(x, m, k)
						must(b, e.MatMul(context.Background(), a, Product{l, dst}))
					}
					ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
					b.ReportMetric(2*float64(m)*n*k/ns, "GFLOPS")
					b.ReportMetric(float64(len(l.float))/ns, "GB/s")
				})
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMulTransposed(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, isa := range Supported() {
		e, one := testEngine(t, Options{ISA: isa, Threads: 3}), testEngine(t, Options{ISA: isa, Threads: 1})
		for _, c := range [][3]int{{1, 1, 1}, {5, 17, 33}, {70, 40, 128}, {3, 100, 7}} {
			whole := Matrix{c[0] + 1, c[2], c[2] + 3, normals(rng, (c[0]+1)*(c[2]+3))}
			a, b := whole.Sub(1, c[0]+1, 0, c[2]), Matrix{c[1], c[2], c[2], normals(rng, c[1]*c[2])}
			got, again := NewMatrix(c[0], c[1]), NewMatrix(c[0], c[1])
			must(t, e.MulTransposed(context.Background(), got, a, b))
			must(t, one.MulTransposed(context.Background(), again, a, b))
			for i := range c[0] {
				for j := range c[1] {
					want, size := 0.0, 0.0
					for k := range c[2] {
						p := float64(a.Row(i)[k]) * float64(b.Row(j)[k])
						want += p
						size += math.Abs(p)
					}
					if g := got.Row(i)[j]; math.Abs(float64(g)-want) > 1e-6*size+1e-30 || g != again.Row(i)[j] {
						t.Fatalf("%s %v: element %d, %d is %g, on one thread %g, want %g", isa, c, i, j, g, again.Row(i)[j], want)
					}
				}
			}
		}
	}
}

// Sums are added to what is there.
func TestAddMulTransposed(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 7))
	for _, isa := range Supported() {
		e := testEngine(t, Options{ISA: isa, Threads: 3})
		for _, c := range [][3]int{{1, 1, 1}, {1, 50, 400}, {5, 17, 33}, {70, 40, 900}} {
			a, b := Matrix{c[0], c[2], c[2], normals(rng, c[0]*c[2])}, Matrix{c[1], c[2], c[2], normals(rng, c[1]*c[2])}
			got, product := NewMatrix(c[0], c[1]), NewMatrix(c[0], c[1])
			must(t, e.MulTransposed(context.Background(), product, a, b))
			for i := range got.Data {
				got.Data[i] = float32(i)
			}
			must(t, e.AddMulTransposed(context.Background(), got, a, b))
			for i, v := range product.Data {
				if d := got.Data[i] - float32(i) - v; math.Abs(float64(d)) > 1e-5*float64(c[2]+i) {
					t.Fatalf("%s %v: element %d is %g, want %d and %g", isa, c, i, got.Data[i], i, v)
				}
			}
		}
	}
}

func TestTranspose(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 8))
	for _, isa := range Supported() {
		e := testEngine(t, Options{ISA: isa, Threads: 3})
		for _, c := range [][2]int{{1, 1}, {8, 8}, {7, 9}, {64, 65}, {130, 24}, {23, 200}} {
			src := Matrix{c[0], c[1], c[1] + 5, normals(rng, c[0]*(c[1]+5))}
			whole := NewMatrix(c[1]+1, c[0]+3)
			e.Transpose(whole.Sub(0, c[1], 0, c[0]), src)
			for i := range whole.Rows {
				for j, got := range whole.Row(i) {
					want := float32(0) // beyond the edge
					if i < c[1] && j < c[0] {
						want = src.Row(j)[i]
					}
					if got != want {
						t.Fatalf("%s %v: element %d, %d is %g, want %g", isa, c, i, j, got, want)
					}
				}
			}
		}
	}
}
