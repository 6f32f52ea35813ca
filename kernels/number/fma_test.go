package number

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// FMA is the exact result rounded once.
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
		if got, want := FMA(v[0], v[1], v[2]), exact(v[0], v[1], v[2]); got != want {
			t.Errorf("fma(%g, %g, %g) = %g, want %g", v[0], v[1], v[2], got, want)
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, v := range [][4]float32{{inf, 1, 1, inf}, {1, 1, -inf, -inf}, {inf, 0, 1, nan}, {inf, 1, -inf, nan}, {nan, 1, 1, nan}, {1, 1, nan, nan}} {
		if got := FMA(v[0], v[1], v[2]); got != v[3] && (got == got || v[3] == v[3]) {
			t.Errorf("fma(%g, %g, %g) = %g, want %g", v[0], v[1], v[2], got, v[3])
		}
	}
}
