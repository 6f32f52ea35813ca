package grid

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"nibble/kernels"
	"nibble/quant/quanttest"
)

// Polishing takes the line of least weighted squares through codes and weights,
// and then the scale that fits the codes which that zero point gives.
func TestPolishIsLeastSquares(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 7))
	for _, scheme := range []kernels.Scheme{{Bits: 4, Group: 32}, {Bits: 4, Group: 32, Sym: true}, {Bits: 8, Group: 32}} {
		moved := 0
		for range 50 {
			x, h := make([]float32, 32), make([]float32, 32)
			shift := rng.NormFloat64()
			for i := range x {
				x[i], h[i] = float32(rng.NormFloat64()+shift), float32(0.1+rng.ExpFloat64())
			}
			top, bottom := float64(scheme.MaxCode()), float64(scheme.MinCode())
			g := Grid{RoundScale((3 + rng.Float64()) / top * 1.6), scheme.MidCode()}
			if !scheme.Sym {
				g.Zero = int(top/4) + rng.IntN(int(top/2))
			}
			codes := func(scale float64, zero int) []float64 { // less the zero point
				out := make([]float64, len(x))
				for i, v := range x {
					out[i] = max(bottom-float64(zero), min(top-float64(zero), math.RoundToEven(float64(v)/scale)))
				}
				return out
			}
			scale, zero := float64(kernels.F16ToF32(g.Scale)), g.Zero
			if !scheme.Sym {
				y, n, mx, my := codes(scale, zero), 0.0, 0.0, 0.0
				for i := range x {
					k := float64(h[i])
					n, mx, my = n+k, mx+k*float64(x[i]), my+k*y[i]
				}
				mx, my = mx/n, my/n
				cov, vary := 0.0, 0.0
				for i := range x {
					cov += float64(h[i]) * (float64(x[i]) - mx) * (y[i] - my)
					vary += float64(h[i]) * (y[i] - my) * (y[i] - my)
				}
				slope := cov / vary // weights by codes
				offset := mx - slope*my
				zero = int(max(0, min(top, float64(zero)-math.RoundToEven(offset/slope))))
			}
			xy, yy := 0.0, 0.0
			for i, y := range codes(scale, zero) {
				xy, yy = xy+float64(h[i])*float64(x[i])*y, yy+float64(h[i])*y*y
			}
			want := Grid{RoundScale(xy / yy), zero}
			if got := polish(x, h, g, scheme); got != want {
				t.Fatalf("%s: %+v becomes %+v, want %+v", scheme, g, got, want)
			}
			if zero != g.Zero {
				moved++
			}
		}
		if scheme.Sym != (moved == 0) {
			t.Errorf("%s: the zero point moved %d times", scheme, moved)
		}
	}
}

// groups of the kinds that real matrices have: bell-shaped, with an outlier,
// one-sided, and tiny.
func groups(n int) map[string][]float32 {
	rng := rand.New(rand.NewPCG(5, 6))
	fill := func(f func(i int) float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(f(i))
		}
		return x
	}
	return map[string][]float32{
		"bell":    fill(func(int) float64 { return 0.04 * rng.NormFloat64() }),
		"outlier": fill(func(i int) float64 { return 0.04*rng.NormFloat64() + max(0, 0.7-float64(i)) }),
		"sided":   fill(func(int) float64 { return math.Abs(0.1 * rng.NormFloat64()) }),
		"far":     fill(func(int) float64 { return 1 + 0.01*rng.NormFloat64() }),
		"flat":    fill(func(int) float64 { return rng.Float64() - 0.5 }),
		"tiny":    fill(func(int) float64 { return 2e-6 * rng.NormFloat64() }),
		"huge":    fill(func(int) float64 { return 2e5 * rng.NormFloat64() }),
		"zero":    fill(func(int) float64 { return 0 }),
	}
}

// bestGrid tries a great many scales and every zero point.
func bestGrid(x []float32, scheme kernels.Scheme) float64 {
	lo, hi := rangeOf(x)
	top := scheme.MaxCode()
	width := 2 * max(hi, -lo)
	zeros := []int{scheme.MidCode()}
	if !scheme.Sym {
		width, zeros = hi-lo, nil
		for z := 0; z <= top; z++ {
			zeros = append(zeros, z)
		}
	}
	least := math.Inf(1)
	for i := range 400 {
		scale := RoundScale(width / float64(top) * (0.4 + 0.8*float64(i)/399))
		for _, zero := range zeros {
			for _, sign := range []uint16{0, 0x8000} {
				least = min(least, groupError(x, nil, Grid{scale ^ sign, zero}, scheme))
			}
		}
	}
	return least
}

func TestSearchIsNearTheOptimum(t *testing.T) {
	for _, sym := range []bool{true, false} {
		for name, x := range groups(32) {
			scheme := kernels.Scheme{Bits: 4, Group: 32, Sym: sym}
			best, got := bestGrid(x, scheme), groupError(x, nil, Find(x, nil, scheme), scheme)
			plain := groupError(x, nil, plainGrid(x, scheme), scheme)
			t.Logf("%-14s %-8s plain %.4g searched %.4g exhaustive %.4g", scheme, name, plain, got, best)
			if got > 1.01*best {
				t.Errorf("%s %s: error %g, %g is possible", scheme, name, got, best)
			}
			if got > plain {
				t.Errorf("%s %s: error %g, %g without a search", scheme, name, got, plain)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	for _, v := range []float64{0, 0.5, 1.5, 2.5, -0.5, -1.5, 7.49999, -8.5, 127.5, 1e6 + 0.5, math.Copysign(0, -1)} {
		if got := nearest(v); got != math.RoundToEven(v) {
			t.Errorf("nearest(%g) = %g", v, got)
		}
	}
}

func BenchmarkQuantize(b *testing.B) {
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer eng.Close()
	const rows, cols = 256, 1024
	w := quanttest.Weights(rows, cols)
	for _, s := range []kernels.Scheme{{Bits: 4, Group: 32, Sym: true}, {Bits: 4, Group: 128, Sym: true}, {Bits: 4, Group: 32, Sym: false}, {Bits: 4, Group: 128, Sym: false}, {Bits: 8, Group: 32, Sym: true}, nonLinear} {
		b.Run(s.String(), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Quantize(context.Background(), eng, rows, cols, s, Search{}, func(_ []float32, r int) []float32 { return w[r*cols : (r+1)*cols] }, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows*cols)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mweights/s")
		})
	}
}

// Symmetric codes of 8 bits leave -128 alone, on whichever side the largest
// weight is, and still put it within half a step.
func TestEightBitCodesReach127(t *testing.T) {
	eng := quanttest.Engine(t, 1)
	for name, x := range groups(64) {
		for _, plain := range []bool{true, false} {
			for _, sign := range []float32{1, -1} {
				row := make([]float32, len(x))
				for i, v := range x {
					row[i] = sign * v
				}
				q, err := kernels.NewQTensor(1, len(row), kernels.Scheme{Bits: 8, Group: 64, Sym: true})
				if err != nil {
					t.Fatal(err)
				}
				quantizeRow(eng, q, row, 0, Search{Plain: plain}, new(kernels.RoundSums))
				for i := range row {
					if q.Code(0, i) == 0 {
						t.Errorf("%s plain %t: weight %g has the code of -128", name, plain, row[i])
					}
				}
				back := make([]float32, len(row))
				q.DequantRow(back, 0)
				for i, v := range row {
					if d := math.Abs(float64(back[i] - v)); plain && name == "bell" && d > 0.501*math.Abs(float64(q.Scale(0, 0))) {
						t.Errorf("%s: weight %g became %g, more than half a step of %g away", name, v, back[i], q.Scale(0, 0))
					}
				}
			}
		}
	}
}
