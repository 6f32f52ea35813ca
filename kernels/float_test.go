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

// A kernel that gives other bits than plain Go in some products is not measured; where
// all do, plain Go serves.
func TestRightFloats(t *testing.T) {
	spoil := func(when func(dt DType, tokens int) bool) floatKernel {
		k := floatKernels()[0]
		k.Name = "wrong"
		k.dots = func(dst []float32, ldd int, w []byte, ldw int, dt DType, x []float32, ldx, n, rows, tokens int, add bool) {
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
		"always":       spoil(func(DType, int) bool { return true }),
		"one token":    spoil(func(_ DType, tokens int) bool { return tokens == 1 }),
		"a few tokens": spoil(func(_ DType, tokens int) bool { return tokens == 3 }),
		"a batch":      spoil(func(_ DType, tokens int) bool { return tokens > copyTokens }),
		"F16":          spoil(func(dt DType, _ int) bool { return dt == F16 }),
		"BF16":         spoil(func(dt DType, _ int) bool { return dt == BF16 }),
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
		if best().allows(k.ISA) {
			all = append(all, k)
		}
	}
	if got := rightFloats(all); len(got) != len(all) {
		t.Errorf("%d of %d kernels are right", len(got), len(all))
	}
}

// Each tier's float kernel is of the highest tier there is one for, up to itself.
func TestFloatChoiceOfTier(t *testing.T) {
	for _, isa := range Supported() {
		want := Generic
		for _, k := range floatKernels() {
			if isa.allows(k.ISA) {
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

// Rounding takes the nearest value there is, the even one of two, for numbers of all
// sizes; encoding and rounding say the same.
func TestRounding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for _, c := range []struct {
		dt    DType
		round func(float32) uint16
		exact func(uint16) float32
		top   float64 // where infinity would be
	}{{F16, F32ToF16, F16ToF32, 1 << 16}, {BF16, F32ToBF16, BF16ToF32, 0x1p128}} {
		value := func(h uint16) float64 { return max(-c.top, min(c.top, float64(c.exact(h)))) }
		for range 20000 {
			v := math.Float32frombits(rng.Uint32())
			if c.dt == F16 || rng.IntN(2) == 0 {
				v = float32(math.Ldexp(rng.Float64()-0.5, rng.IntN(48)-28))
			}
			h := uint16(rng.Uint32()) // between a value and the next, often in the middle
			if rng.IntN(2) == 0 {
				v = float32((value(h) + value(h+1)) / 2)
			}
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				continue
			}
			got := c.round(v)
			for _, other := range []uint16{got - 1, got + 1} {
				near, far := math.Abs(value(got)-float64(v)), math.Abs(value(other)-float64(v))
				if far < near || far == near && got&1 != 0 && value(got) != value(other) {
					t.Fatalf("%s: %g became %#04x, %g; %#04x, %g, is right", c.dt, v, got, value(got), other, value(other))
				}
			}
		}
	}
	x := append(normals(rng, 37), 0, float32(math.Inf(1)), -1e-40, 3e38)
	for _, dt := range []DType{F32, F16, BF16} {
		encoded, decoded, rounded := make([]byte, len(x)*dt.Size()), make([]float32, len(x)), slices.Clone(x)
		EncodeFloats(encoded, x, dt)
		if !slices.Equal(encoded, encodeFloats(x, dt)) {
			t.Errorf("%s: encoded as % x", dt, encoded)
		}
		DecodeFloats(decoded, encoded, dt)
		RoundFloats(rounded, dt)
		sameBits(t, "rounded "+dt.String(), rounded, decoded)
	}
}

func TestFloatLinearRefuses(t *testing.T) {
	for _, c := range []struct {
		n, k, bytes int
		dt          DType
	}{{0, 4, 0, F32}, {4, 0, 0, F32}, {-1, -1, 4, F32}, {2, 3, 23, F32}, {2, 3, 24, F16}, {math.MaxInt / 2, math.MaxInt / 2, 4, F32}} {
		if _, err := NewFloatLinear(c.n, c.k, c.dt, make([]byte, c.bytes)); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	if _, err := NewMatrixLinear(Matrix{2, 3, 4, make([]float32, 6)}); err == nil {
		t.Error("a matrix with gaps was accepted")
	}
	if _, err := NewMatrixLinear(Matrix{2, 3, 3, make([]float32, 7)}); err == nil {
		t.Error("a matrix with too many elements was accepted")
	}
	l, err := NewMatrixLinear(Matrix{2, 3, 3, []float32{1, 2, 3, 4, 5, 6}})
	must(t, err)
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
	float, err := NewFloatLinear(n, k, F32, encodeFloats(normals(rng, n*k), F32))
	must(t, err)
	quant, err := randomWeights(n, k, Scheme{Bits: 4, Group: 32, Sym: true})
	must(t, err)
	used := e.NewActs()
	for _, m := range []int{50, 9, 1, 60, 10} {
		x := normals(rng, m*k)
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
				must(t, e.MatMul(context.Background(), c.a, Product{w, *c.out}))
			}
			sameBits(t, fmt.Sprintf("%d tokens, %s", m, w.Format()), got[i], want[i])
		}
	}
}

// What is not a number in one product is not in the next, whose columns do not fill
// vectors: in memory that is used again it stands behind them.
func TestNaNDoesNotStay(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 6))
	for _, kernel := range floatKernels() {
		if !best().allows(kernel.ISA) {
			continue
		}
		e := testEngine(t, Options{ISA: kernel.ISA, Threads: 1})
		e.float = func() floatChoice { return floatChoice{floatKernel: kernel} }
		a := e.NewActs()
		for _, m := range []int{1, 3, 11, 57} {
			for _, k := range []int{31, 17, 400, 393} {
				const n = 20
				x, w := normals(rng, m*k), normals(rng, n*k)
				if k == 31 || k == 400 {
					for i := range x {
						x[i] = float32(math.NaN())
					}
					copy(w, x)
				}
				l, err := NewFloatLinear(n, k, F32, floatBytes(w))
				must(t, err)
				dst := make([]float32, m*n)
				a.Set(x, m, k)
				must(t, e.MatMul(context.Background(), a, Product{l, dst}))
				if i := slices.IndexFunc(dst, func(v float32) bool { return v != v }); i >= 0 && (k == 17 || k == 393) {
					t.Errorf("%s, %d tokens, %d columns: element %d is not a number", kernel, m, k, i)
				}
			}
		}
	}
}

// The operations on vectors are what they are called, in float64; that every tier has
// the same bits TestVectorOpsGiveTheSameBits says.
func TestVectorOps(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	rng := rand.New(rand.NewPCG(5, 7))
	for _, n := range []int{1, 5, 8, 13, 300, 700} {
		x, w := normals(rng, n), normals(rng, n)
		var squares, exps float64
		for _, v := range x {
			squares += float64(v) * float64(v)
			exps += math.Exp(float64(v))
		}
		near := func(what string, got float32, want float64) {
			t.Helper()
			if math.Abs(float64(got)-want) > 2e-6*(math.Abs(want)+0.1) {
				t.Fatalf("%s of %d: %g, want %g", what, n, got, want)
			}
		}
		norm, gated, soft := make([]float32, n), make([]float32, n), slices.Clone(x)
		e.RMSNorm(norm, x, w, 0.25)
		e.SwiGLU(gated, x, w)
		e.Softmax(soft)
		lo, hi, cos, sin := slices.Clone(x), slices.Clone(w), normals(rng, n), normals(rng, n)
		e.Rotate(lo, hi, cos, sin)
		for i, v := range x {
			a, b, c, s := float64(v), float64(w[i]), float64(cos[i]), float64(sin[i])
			near("norm", norm[i], a*b/math.Sqrt(squares/float64(n)+0.25))
			near("SwiGLU", gated[i], a/(1+math.Exp(-a))*b)
			near("softmax", soft[i], math.Exp(a)/exps)
			near("first of a rotation", lo[i], a*c-b*s)
			near("second of a rotation", hi[i], b*c+a*s)
		}
		near("logarithm of the sum", float32(e.LogSumExp(x)), math.Log(exps))
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
