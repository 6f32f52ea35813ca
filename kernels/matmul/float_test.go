package matmul

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/kerneltest"
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

// Products of plain Go equal a float64 sum within rounding, and those of every other
// kernel equal them bit for bit; all write only their own elements, and do not depend
// on how tokens are batched.
func TestFloatProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var engines []*Engine
	for _, kernel := range floatKernels() {
		if kerneltest.Best().Allows(kernel.ISA) {
			e := testEngine(t, Options{ISA: kernel.ISA, Threads: 2})
			e.float = func() floatChoice { return floatChoice{floatKernel: kernel} }
			engines = append(engines, e)
		}
	}
	for _, dt := range []number.DType{number.F32, number.F16, number.BF16} {
		for _, n := range []int{1, 4, 21} {
			for _, k := range []int{1, 15, 16, 24, 33, 172, 400} {
				for _, m := range []int{1, 2, 5, 7, 9, 20, 47} {
					testFloatProduct(t, engines, rng, dt, n, k, m)
				}
			}
		}
		testFloatProduct(t, engines, rng, dt, 19, 1030, 103)
		testFloatProduct(t, engines, rng, dt, 66, 390, 521)
	}
}

func testFloatProduct(t *testing.T, engines []*Engine, rng *rand.Rand, dt number.DType, n, k, m int) {
	t.Helper()
	w, x := bytesOf(kerneltest.Normals(rng, n*k), dt), kerneltest.Normals(rng, m*k)
	l, err := NewFloatLinear(n, k, dt, w)
	kerneltest.Must(t, err)
	var want []float32
	for _, e := range engines {
		const guard = -4321
		what := fmt.Sprintf("%s %s n=%d k=%d m=%d", e.float(), dt, n, k, m)
		dst := slices.Repeat([]float32{guard}, m*n+16)
		got := dst[:m*n]
		a := e.NewActs()
		a.Set(x, m, k)
		kerneltest.Must(t, e.MatMul(context.Background(), a, Product{l, got}))
		for _, v := range dst[m*n:] {
			if v != guard {
				t.Fatalf("%s: written beyond the end", what)
			}
		}
		if want == nil {
			checkFloatProduct(t, what, got, w, x, dt, n, k, m)
			want = got
		}
		kerneltest.SameBits(t, what, got, want)
		one := make([]float32, n)
		for _, token := range []int{0, m / 3, m / 2, m - 1} {
			a.Set(x[token*k:], 1, k)
			kerneltest.Must(t, e.MatMul(context.Background(), a, Product{l, one}))
			kerneltest.SameBits(t, what+", a token alone", one, want[token*n:][:n])
		}
	}
}

// checkFloatProduct compares a product with sums in float64.
func checkFloatProduct(t *testing.T, what string, got []float32, w []byte, x []float32, dt number.DType, n, k, m int) {
	t.Helper()
	wf := make([]float32, n*k)
	number.DecodeFloats(wf, w, dt)
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
		k.dots = func(dst []float32, ldd int, w []byte, ldw int, dt number.DType, x []float32, ldx, n, rows, tokens int, add bool) {
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

// A kernel that gives other bits than plain Go in some products is not measured; where
// all do, plain Go serves.
func TestRightFloats(t *testing.T) {
	spoil := func(when func(dt number.DType, tokens int) bool) floatKernel {
		k := floatKernels()[0]
		k.Name = "wrong"
		k.dots = func(dst []float32, ldd int, w []byte, ldw int, dt number.DType, x []float32, ldx, n, rows, tokens int, add bool) {
			dotsGeneric(dst, ldd, w, ldw, dt, x, ldx, n, rows, tokens, add)
			if when(dt, tokens) {
				dst[rows-1] = math.Nextafter32(dst[rows-1], 9)
			}
		}
		return k
	}
	right := floatKernels()[0]
	right.Name = "right"
	for name, wrong := range map[string]floatKernel{
		"always":       spoil(func(number.DType, int) bool { return true }),
		"one token":    spoil(func(_ number.DType, tokens int) bool { return tokens == 1 }),
		"a few tokens": spoil(func(_ number.DType, tokens int) bool { return tokens == 3 }),
		"a batch":      spoil(func(_ number.DType, tokens int) bool { return tokens > copyTokens }),
		"F16":          spoil(func(dt number.DType, _ int) bool { return dt == number.F16 }),
		"BF16":         spoil(func(dt number.DType, _ int) bool { return dt == number.BF16 }),
	} {
		for _, c := range []struct {
			kernels []floatKernel
			want    string
		}{{[]floatKernel{wrong, right}, "generic right"}, {[]floatKernel{wrong}, floatKernels()[0].String()}} {
			if got := rightFloats(c.kernels); len(got) != 1 || got[0].String() != c.want {
				t.Errorf("wrong for %s: %v are taken, want %s", name, got, c.want)
			}
		}
	}
	var all []floatKernel
	for _, k := range floatKernels() {
		if kerneltest.Best().Allows(k.ISA) {
			all = append(all, k)
		}
	}
	if got := rightFloats(all); len(got) != len(all) {
		t.Errorf("%d of %d kernels are right", len(got), len(all))
	}
}

// Each tier's float kernel is of the highest tier there is one for, up to itself.
func TestFloatChoiceOfTier(t *testing.T) {
	for _, isa := range cpu.Supported() {
		want := cpu.Generic
		for _, k := range floatKernels() {
			if isa.Allows(k.ISA) {
				want = k.ISA
			}
		}
		e := testEngine(t, Options{ISA: isa, Threads: 1})
		if got := e.float().ISA; got != want || !strings.HasPrefix(e.FloatChoice(), string(want)+" ") {
			t.Errorf("%s has the float kernel %s, of %s, want %s", isa, e.FloatChoice(), got, want)
		}
	}
}

// Stretches are of one length, whole vectors, and no longer than they may be.
func TestDepthOf(t *testing.T) {
	for k, want := range map[int]int{1: 16, 16: 16, 17: 32, 383: 384, 384: 384, 385: 208, 400: 208, 768: 384, 769: 272, 2048: 352} {
		if got := depthOf(k); got != want {
			t.Errorf("%d columns are in stretches of %d, want %d", k, got, want)
		}
	}
}

func TestFloatLinearRefuses(t *testing.T) {
	for _, c := range []struct {
		n, k, bytes int
		dt          number.DType
	}{{0, 4, 0, number.F32}, {4, 0, 0, number.F32}, {-1, -1, 4, number.F32}, {2, 3, 23, number.F32}, {2, 3, 24, number.F16}, {math.MaxInt / 2, math.MaxInt / 2, 4, number.F32}} {
		if _, err := NewFloatLinear(c.n, c.k, c.dt, make([]byte, c.bytes)); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if _, err := NewMatrixLinear(vector.Matrix{Rows: 2, Cols: 3, Stride: 4, Data: make([]float32, 6)}); err == nil {
		t.Error("a matrix with gaps was accepted")
	}
	if _, err := NewMatrixLinear(vector.Matrix{Rows: 2, Cols: 3, Stride: 3, Data: make([]float32, 7)}); err == nil {
		t.Error("a matrix with too many elements was accepted")
	}
	l, err := NewMatrixLinear(vector.Matrix{Rows: 2, Cols: 3, Stride: 3, Data: []float32{1, 2, 3, 4, 5, 6}})
	kerneltest.Must(t, err)
	row := make([]float32, 3)
	l.Row(row, 1)
	if _, quantized := l.Scheme(); l.N() != 2 || l.K() != 3 || l.Bytes() != 24 || l.Quantized() || quantized || l.Format() != "f32" || !slices.Equal(row, []float32{4, 5, 6}) {
		t.Errorf("a matrix of %d x %d, %d bytes, %s, with the row %v", l.N(), l.K(), l.Bytes(), l.Format(), row)
	}
}

// What an Acts held before does not matter to the next products.
func TestActsAgain(t *testing.T) {
	e := testEngine(t, Options{Threads: 2})
	rng := rand.New(rand.NewPCG(2, 5))
	const n, k = 20, 96
	float, err := NewFloatLinear(n, k, number.F32, bytesOf(kerneltest.Normals(rng, n*k), number.F32))
	kerneltest.Must(t, err)
	quant, err := RandomWeights(n, k, format.Scheme{Bits: 4, Group: 32, Sym: true})
	kerneltest.Must(t, err)
	used := e.NewActs()
	for _, m := range []int{50, 9, 1, 60, 10} {
		x := kerneltest.Normals(rng, m*k)
		var got, want [2][]float32
		for i, w := range []*Linear{float, quant} {
			for _, c := range []struct {
				a   *Acts
				out *[]float32
			}{{used, &got[i]}, {e.NewActs(), &want[i]}} {
				if i == 0 || c.a != used {
					c.a.Set(x, m, k)
				}
				*c.out = make([]float32, m*n)
				kerneltest.Must(t, e.MatMul(context.Background(), c.a, Product{w, *c.out}))
			}
			kerneltest.SameBits(t, fmt.Sprintf("%d tokens, %s", m, w.Format()), got[i], want[i])
		}
	}
}

// What is not a number in one product is not in the next, whose columns do not fill
// vectors: in memory that is used again it stands behind them.
func TestNaNDoesNotStay(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 6))
	for _, kernel := range floatKernels() {
		if !kerneltest.Best().Allows(kernel.ISA) {
			continue
		}
		e := testEngine(t, Options{ISA: kernel.ISA, Threads: 1})
		e.float = func() floatChoice { return floatChoice{floatKernel: kernel} }
		a := e.NewActs()
		for _, m := range []int{1, 3, 11, 57} {
			for _, k := range []int{31, 17, 400, 393} {
				const n = 20
				x, w := kerneltest.Normals(rng, m*k), kerneltest.Normals(rng, n*k)
				if k == 31 || k == 400 {
					for i := range x {
						x[i] = float32(math.NaN())
					}
					copy(w, x)
				}
				l, err := NewFloatLinear(n, k, number.F32, number.Bytes(w))
				kerneltest.Must(t, err)
				dst := make([]float32, m*n)
				a.Set(x, m, k)
				kerneltest.Must(t, e.MatMul(context.Background(), a, Product{l, dst}))
				if i := slices.IndexFunc(dst, func(v float32) bool { return v != v }); i >= 0 && (k == 17 || k == 393) {
					t.Errorf("%s, %d tokens, %d columns: element %d is not a number", kernel, m, k, i)
				}
			}
		}
	}
}

func BenchmarkFloat(b *testing.B) {
	const n, k = 2048, 2048
	rng := rand.New(rand.NewPCG(1, 1))
	for _, dt := range []number.DType{number.F32, number.F16, number.BF16} {
		l, err := NewFloatLinear(n, k, dt, bytesOf(kerneltest.Normals(rng, n*k), dt))
		if err != nil {
			b.Fatal(err)
		}
		for _, m := range []int{1, 64, 512} {
			x, dst := kerneltest.Normals(rng, m*k), make([]float32, m*n)
			for _, kernel := range floatKernels()[1:] {
				if !kerneltest.Best().Allows(kernel.ISA) {
					continue
				}
				e := testEngine(b, Options{ISA: kernel.ISA, Threads: 1})
				e.float = func() floatChoice { return floatChoice{floatKernel: kernel} }
				a := e.NewActs()
				b.Run(fmt.Sprintf("%s/m=%d/kernel=%s-%s", dt, m, kernel.ISA, kernel.Name), func(b *testing.B) {
					for b.Loop() {
						a.Set(x, m, k)
						kerneltest.Must(b, e.MatMul(context.Background(), a, Product{l, dst}))
					}
					ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
					b.ReportMetric(2*float64(m)*n*k/ns, "GFLOPS")
					b.ReportMetric(float64(len(l.float))/ns, "GB/s")
				})
			}
		}
	}
}

func TestMulTransposed(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, isa := range cpu.Supported() {
		e, one := testEngine(t, Options{ISA: isa, Threads: 3}), testEngine(t, Options{ISA: isa, Threads: 1})
		for _, c := range [][3]int{{1, 1, 1}, {5, 17, 33}, {70, 40, 128}, {3, 100, 7}} {
			whole := vector.Matrix{Rows: c[0] + 1, Cols: c[2], Stride: c[2] + 3, Data: kerneltest.Normals(rng, (c[0]+1)*(c[2]+3))}
			a, b := whole.Sub(1, c[0]+1, 0, c[2]), vector.Matrix{Rows: c[1], Cols: c[2], Stride: c[2], Data: kerneltest.Normals(rng, c[1]*c[2])}
			got, again := vector.NewMatrix(c[0], c[1]), vector.NewMatrix(c[0], c[1])
			kerneltest.Must(t, e.MulTransposed(context.Background(), got, a, b))
			kerneltest.Must(t, one.MulTransposed(context.Background(), again, a, b))
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
	for _, isa := range cpu.Supported() {
		e := testEngine(t, Options{ISA: isa, Threads: 3})
		for _, c := range [][3]int{{1, 1, 1}, {1, 50, 400}, {5, 17, 33}, {70, 40, 900}} {
			a, b := vector.Matrix{Rows: c[0], Cols: c[2], Stride: c[2], Data: kerneltest.Normals(rng, c[0]*c[2])}, vector.Matrix{Rows: c[1], Cols: c[2], Stride: c[2], Data: kerneltest.Normals(rng, c[1]*c[2])}
			got, product := vector.NewMatrix(c[0], c[1]), vector.NewMatrix(c[0], c[1])
			kerneltest.Must(t, e.MulTransposed(context.Background(), product, a, b))
			for i := range got.Data {
				got.Data[i] = float32(i)
			}
			kerneltest.Must(t, e.AddMulTransposed(context.Background(), got, a, b))
			for i, v := range product.Data {
				if d := got.Data[i] - float32(i) - v; math.Abs(float64(d)) > 1e-5*float64(c[2]+i) {
					t.Fatalf("%s %v: element %d is %g, want %d and %g", isa, c, i, got.Data[i], i, v)
				}
			}
		}
	}
}
