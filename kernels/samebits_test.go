package kernels

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// sameBits compares results bit for bit, but for which NaN a NaN is.
func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i, w := range want {
		if g := got[i]; math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
			t.Fatalf("%s: element %d is %g (%#08x), plain Go gives %g (%#08x)", what, i, g, math.Float32bits(g), w, math.Float32bits(w))
		}
	}
}

// forTiers runs f with the engines of plain Go and of each other tier.
func forTiers(t *testing.T, f func(t *testing.T, plain, e *Engine)) {
	plain := testEngine(t, Options{ISA: Generic, Threads: 2})
	for _, isa := range Supported()[1:] {
		t.Run(string(isa), func(t *testing.T) { f(t, plain, testEngine(t, Options{ISA: isa, Threads: 2})) })
	}
}

// Every tier's operations on vectors give the bits of plain Go, for every length and
// for values that overflow, underflow and are not numbers, and write no further.
func TestVectorOpsGiveTheSameBits(t *testing.T) {
	forTiers(t, func(t *testing.T, plain, e *Engine) {
		rng := rand.New(rand.NewPCG(5, 6))
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for n := 1; n <= 70; n++ {
			x, up := normals(rng, n), normals(rng, n)
			finite := slices.Clone(x)
			for i := range x {
				x[i] *= 30
			}
			for i, v := range []float32{-200, 100, -inf, nan, 88, -87.5, -87.33654, 88.37626, 1e-40, 0} {
				if n > 3*i+20 {
					x[3*i] = v
				}
			}
			const guard = -4321
			// on runs an operation that changes a vector, on a copy of each.
			on := func(what string, op func(e *Engine, dst []float32)) {
				t.Helper()
				got, want := append(slices.Clone(finite), guard), slices.Clone(finite)
				op(e, got[:n])
				op(plain, want)
				sameBits(t, fmt.Sprintf("%s of %d", what, n), got, append(want, guard))
			}
			for name, v := range map[string][]float32{"numbers": finite, "anything": x} {
				on("exp of "+name, func(e *Engine, dst []float32) {
					sum := e.Exp(dst, v, 1)
					if n > 1 {
						dst[0] = sum
					}
				})
				on("SwiGLU of "+name, func(e *Engine, dst []float32) { e.SwiGLU(dst, v, up) })
				on("norm of "+name, func(e *Engine, dst []float32) { e.RMSNorm(dst, v, up, 1e-5) })
				on("sum of "+name, func(e *Engine, dst []float32) { e.Add(dst, v) })
				on("softmax of "+name, func(e *Engine, dst []float32) { copy(dst, v); e.Softmax(dst) })
				on("logarithm of the sum of "+name, func(e *Engine, dst []float32) { dst[0] = float32(e.LogSumExp(v)) })
			}
			on("maximum", func(e *Engine, dst []float32) { dst[0] = e.ops.maximum(finite) })
			on("scaling", func(e *Engine, dst []float32) { e.ops.scaleMul(dst, x, up, 0.3) })
			cos, sin := make([]float32, n), make([]float32, n)
			for i := range cos {
				s, c := math.Sincos(float64(i))
				cos[i], sin[i] = float32(c), float32(s)
			}
			on("rotation, first", func(e *Engine, dst []float32) { e.Rotate(dst, slices.Clone(up), cos, sin) })
			on("rotation, second", func(e *Engine, dst []float32) { e.Rotate(slices.Clone(up), dst, cos, sin) })
			half, wantHalf := append(make([]uint16, n), 77), append(make([]uint16, n), 77)
			e.ops.encodeF16(half[:n], x)
			plain.ops.encodeF16(wantHalf[:n], x)
			for i, w := range wantHalf {
				if f := F16ToF32(w); half[i] != w && f == f {
					t.Fatalf("half of %d: element %d became %#04x, want %#04x", n, i, half[i], w)
				}
			}
		}
	})
}

// Every kernel's float products that are added to what is there have the bits of plain
// Go; TestFloatProducts says so of the others.
func TestAddedProductsGiveTheSameBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	plain := testEngine(t, Options{ISA: Generic, Threads: 1})
	for _, kernel := range floatKernels()[1:] {
		if !best().allows(kernel.ISA) {
			continue
		}
		e := testEngine(t, Options{ISA: kernel.ISA, Threads: 1})
		e.float = func() floatChoice { return floatChoice{floatKernel: kernel} }
		for _, c := range [][3]int{{1, 1, 1}, {3, 15, 2}, {21, 16, 7}, {21, 33, 8}, {5, 172, 1}, {18, 172, 6}, {21, 400, 3}, {5, 400, 50}, {17, 1030, 1}, {4, 1030, 105}} {
			n, k, m := c[0], c[1], c[2]
			w, x, start := Matrix{n, k, k, normals(rng, n*k)}, Matrix{m, k, k, normals(rng, m*k)}, normals(rng, m*n)
			add := func(e *Engine) []float32 {
				dst := Matrix{m, n, n, slices.Clone(start)}
				must(t, e.AddMulTransposed(context.Background(), dst, x, w))
				return dst.Data
			}
			sameBits(t, fmt.Sprintf("%s %v", kernel, c), add(e), add(plain))
		}
	}
}

// Attention and its gradient give the same bits in every tier.
func TestAttentionGivesTheSameBits(t *testing.T) {
	forTiers(t, func(t *testing.T, plain, e *Engine) {
		rng := rand.New(rand.NewPCG(3, 5))
		for _, c := range attentionCases {
			cache, _, _ := c.fill(t, e, rng)
			q := normals(rng, c.m*c.heads*c.dim)
			for _, rule := range c.rules(rng) {
				got, want := make([]float32, len(q)), make([]float32, len(q))
				must(t, e.Attention(context.Background(), got, q, cache, c.heads, c.m, c.pos, rule))
				must(t, plain.Attention(context.Background(), want, q, cache, c.heads, c.m, c.pos, rule))
				sameBits(t, fmt.Sprintf("%+v %+v", c, rule), got, want)
			}
		}
		for i, c := range []attentionCase{{heads: 4, kv: 2, dim: 12, m: 37}, {heads: 3, kv: 3, dim: 80, m: 16}, {heads: 2, kv: 1, dim: 8, m: 70}, {heads: 2, kv: 2, dim: 6, m: 1}} {
			matrix := func(heads int) Matrix {
				return Matrix{c.m, heads * c.dim, heads * c.dim, normals(rng, c.m*heads*c.dim)}
			}
			g := AttentionGradient{Dim: c.dim, Rule: c.rules(rng)[i], Q: matrix(c.heads), K: matrix(c.kv), V: matrix(c.kv), DOut: matrix(c.heads), Out: matrix(c.heads)}
			gradients := func(e *Engine) []float32 {
				g.DQ, g.DK, g.DV = NewMatrix(c.m, c.heads*c.dim), NewMatrix(c.m, c.kv*c.dim), NewMatrix(c.m, c.kv*c.dim)
				for h := range c.kv {
					e.AttentionGradient(g, h)
				}
				return slices.Concat(g.DQ.Data, g.DK.Data, g.DV.Data)
			}
			sameBits(t, fmt.Sprintf("gradient of %+v", c), gradients(e), gradients(plain))
		}
	})
}

// fma32 is the exact result rounded once.
func TestFMA32(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	exact := func(a, b, c float32) float32 {
		x := func(v float32) *big.Float { return new(big.Float).SetPrec(1000).SetFloat64(float64(v)) }
		p := x(a)
		p.Mul(p, x(b))
		r, _ := p.Add(p, x(c)).Float32()
		return r
	}
	// 1 + 2^-24 + a little more rounds up only if the tail survives.
	a, b := float32(1+1.0/(1<<12)), float32(1.0/(1<<12)+1.0/(1<<24))
	cases := [][3]float32{{a, b, 1 << 24}, {a, b, -(1 << 24)}, {3, 1.0 / 3, -1}, {1e-30, 1e-30, 1}, {1e30, 1e30, -1}, {0, 5, 0},
		{1 << 23, 2, 1}, {1 << 12, 1 << 12, 1}, {1 << 12, 1 << 12, 1 + 1.0/(1<<23)}, {1 << 12, 1 << 12, 1 - 1.0/(1<<23)}, {1e-23, 1e-22, 1e-45}, {-1e-23, 1e-22, 3e-45}}
	for range 20000 {
		// Sums that are in the middle between two float32, or next to it, or subnormal.
		wide := func() float32 { return math.Float32frombits(rng.Uint32()) }
		round := func() float32 {
			return float32(int32(rng.Uint32())>>(7+rng.IntN(20))) * float32(math.Ldexp(1, rng.IntN(60)-100))
		}
		cases = append(cases, [3]float32{wide(), wide(), wide()}, [3]float32{round(), round(), round()}, [3]float32{round() * 1e-15, round(), round() * 1e-15})
	}
	for _, v := range cases {
		if s := float64(v[0])*float64(v[1]) + float64(v[2]); math.IsNaN(s) || math.IsInf(s, 0) || s == 0 {
			continue
		}
		if got, want := fma32(v[0], v[1], v[2]), exact(v[0], v[1], v[2]); got != want {
			t.Errorf("fma(%g, %g, %g) = %g, want %g", v[0], v[1], v[2], got, want)
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, v := range [][4]float32{{inf, 1, 1, inf}, {1, 1, -inf, -inf}, {inf, 0, 1, nan}, {inf, 1, -inf, nan}, {nan, 1, 1, nan}, {1, 1, nan, nan}} {
		if got := fma32(v[0], v[1], v[2]); got != v[3] && (got == got || v[3] == v[3]) {
			t.Errorf("fma(%g, %g, %g) = %g, want %g", v[0], v[1], v[2], got, v[3])
		}
	}
}
