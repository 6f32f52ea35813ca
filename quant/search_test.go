package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"nibble/kernels"
)

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
func bestGrid(x []float32, spec Spec) float64 {
	lo, hi := rangeOf(x)
	top := spec.Scheme().MaxCode()
	width := 2 * max(hi, -lo)
	zeros := []int{spec.Scheme().MidCode()}
	if !spec.Sym {
		width, zeros = hi-lo, nil
		for z := 0; z <= top; z++ {
			zeros = append(zeros, z)
		}
	}
	least := math.Inf(1)
	for i := range 400 {
		scale := roundScale(width / float64(top) * (0.4 + 0.8*float64(i)/399))
		for _, zero := range zeros {
			for _, sign := range []uint16{0, 0x8000} {
				least = min(least, groupError(x, nil, grid{scale ^ sign, zero}, spec.Scheme()))
			}
		}
	}
	return least
}

func TestSearchIsNearTheOptimum(t *testing.T) {
	for _, sym := range []bool{true, false} {
		for name, x := range groups(32) {
			spec := Spec{Bits: 4, Group: 32, Sym: sym, Method: MSE}
			best, got := bestGrid(x, spec), groupError(x, nil, searchGrid(x, nil, spec.Scheme()), spec.Scheme())
			plain := groupError(x, nil, plainGrid(x, spec.Scheme()), spec.Scheme())
			t.Logf("%-14s %-8s plain %.4g searched %.4g exhaustive %.4g", spec.Scheme(), name, plain, got, best)
			if got > 1.01*best {
				t.Errorf("%s %s: error %g, %g is possible", spec, name, got, best)
			}
			if got > plain {
				t.Errorf("%s %s: error %g, %g without a search", spec, name, got, plain)
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
	w := weights(rows, cols)
	for _, s := range []Spec{{Bits: 4, Group: 32, Sym: true, Method: RTN}, {Bits: 4, Group: 32, Sym: true, Method: MSE}, {Bits: 4, Group: 128, Sym: true, Method: MSE}, {Bits: 4, Group: 32, Sym: false, Method: MSE}, {Bits: 4, Group: 128, Sym: false, Method: MSE}, {Bits: 8, Group: 32, Sym: true, Method: MSE}} {
		b.Run(s.String(), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Quantize(eng, w, rows, cols, s); err != nil {
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
	eng := engine(t, 1)
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
