package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// schemes lists every quantization scheme.
func schemes() []Scheme {
	var all []Scheme
	for _, bits := range []int{4, 8} {
		for _, group := range []int{0, 32, 64, 128} {
			for _, sym := range []bool{true, false} {
				all = append(all, Scheme{Bits: bits, Group: group, Sym: sym})
			}
		}
	}
	return all
}

// randomQTensor fills a tensor with codes, scales and zero points of every kind.
func randomQTensor(t testing.TB, rng *rand.Rand, rows, cols int, s Scheme) *QTensor {
	t.Helper()
	q, err := NewQTensor(rows, cols, s)
	if err != nil {
		t.Fatal(err)
	}
	for r := range rows {
		for c := range cols {
			q.SetCode(r, c, uint8(rng.IntN(s.MaxCode()+1)))
		}
	}
	for i := range q.Scales {
		q.Scales[i] = F32ToF16(float32(rng.NormFloat64()) * 0.02)
	}
	for i := range q.Zeros {
		q.Zeros[i] = uint8(rng.IntN(s.MaxCode() + 1))
	}
	return q
}

// fillers are the kinds of activations a kernel meets.
var fillers = map[string]func(rng *rand.Rand) float32{
	"normal":   func(r *rand.Rand) float32 { return float32(r.NormFloat64()) },
	"extreme":  func(r *rand.Rand) float32 { return []float32{-1, 1}[r.IntN(2)] },
	"zero":     func(*rand.Rand) float32 { return 0 },
	"tiny":     func(r *rand.Rand) float32 { return float32(r.NormFloat64()) * 1e-39 },
	"huge":     func(r *rand.Rand) float32 { return float32(r.NormFloat64()) * 1e30 },
	"outliers": func(r *rand.Rand) float32 { return float32(math.Pow(r.NormFloat64(), 7)) },
}

func randomActs(rng *rand.Rand, kind string, m, k int) (*quantActs, []float32) {
	x := make([]float32, m*k)
	for i := range x {
		x[i] = fillers[kind](rng)
	}
	var a quantActs
	a.resize(m, k)
	a.quantize(x, 0, m, quantizeBlocksGeneric)
	return &a, x
}

// The reference kernel follows the definition, computed here from the logical
// tensor in the simplest way.
func TestGenericFollowsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range schemes() {
		for _, k := range []int{1, 31, 32, 33, 172, 256} {
			q := randomQTensor(t, rng, 19, k, s)
			w, err := pack(q, nil)
			if err != nil {
				t.Fatal(err)
			}
			a, _ := randomActs(rng, "normal", 3, k)
			got := make([]float32, 3*19)
			mulGeneric(got, 19, a, 0, 3, w, 0, w.panels())
			for m := range 3 {
				for r := range 19 {
					var part, want float32
					for b := range a.stride {
						block := a.block(m, b)
						isum := 0
						g := b * blockCols / s.GroupWidth(k)
						for c := b * blockCols; c < min((b+1)*blockCols, k); c++ {
							isum += (int(q.Code(r, c)) - int(q.Zero(r, g))) * int(block.q[c%blockCols])
						}
						part = fma32(float32(isum), block.scale, part)
						if end := min((b+1)*blockCols, k); end == k || end%s.GroupWidth(k) == 0 {
							want, part = fma32(part, q.Scale(r, g), want), 0
						}
					}
					if got[m*19+r] != want {
						t.Fatalf("%s k=%d m=%d row=%d: got %g, want %g", s, k, m, r, got[m*19+r], want)
					}
				}
			}
		}
	}
}

// checkKernel compares a kernel with the reference, bit for bit, and makes sure
// it writes nothing around its rows and panels.
func checkKernel(t *testing.T, k intKernel, q *QTensor, a *quantActs, m0, m1 int) {
	t.Helper()
	w, err := pack(q, nil)
	if err != nil {
		t.Fatal(err)
	}
	const guard = 7
	ldd := q.Rows + guard
	mk := func() []float32 {
		d := make([]float32, a.m*ldd+guard)
		for i := range d {
			d[i] = -12345
		}
		return d[guard:] // unaligned
	}
	want, got := mk(), mk()
	mulGeneric(want, ldd, a, m0, m1, w, 0, w.panels())
	k.run(got, ldd, a, m0, m1, w, 0, w.panels())
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
			t.Fatalf("%s %s %dx%d rows %d to %d: element %d,%d is %g, the reference says %g",
				k, q.Scheme, q.Rows, q.Cols, m0, m1, i/ldd, i%ldd, got[i], want[i])
		}
	}
}

func supportedKernels(t *testing.T) []intKernel {
	t.Helper()
	tiers := Supported()
	var ks []intKernel
	for _, k := range intKernels() {
		if tiers[len(tiers)-1].allows(k.ISA) {
			ks = append(ks, k)
		} else {
			t.Logf("%s is not tested: this CPU lacks it", k)
		}
	}
	return ks
}

func TestKernelsMatchReference(t *testing.T) {
	for _, k := range supportedKernels(t) {
		if k.ISA == Generic {
			continue
		}
		t.Run(fmt.Sprintf("%s w%d", k, k.Bits), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			for _, s := range schemes() {
				if s.Bits != k.Bits {
					continue
				}
				for _, rows := range []int{1, 7, 16, 17, 48} {
					for _, cols := range []int{1, 4, 31, 32, 36, 64, 100, 128, 172, 320} {
						a, _ := randomActs(rng, "normal", 5, cols)
						checkKernel(t, k, randomQTensor(t, rng, rows, cols, s), a, 0, 5)
					}
				}
				for m := 1; m <= 70; m++ {
					a, _ := randomActs(rng, "outliers", m, 96)
					checkKernel(t, k, randomQTensor(t, rng, 33, 96, s), a, 0, m)
				}
				for _, cols := range []int{1024, 1056, 2085} { // rows that some kernels cut
					a, _ := randomActs(rng, "normal", 35, cols)
					checkKernel(t, k, randomQTensor(t, rng, 49, cols, s), a, 0, 35)
				}
				a, _ := randomActs(rng, "normal", 17, 64) // more panels than some take at a time
				checkKernel(t, k, randomQTensor(t, rng, 16*35, 64, s), a, 0, 17)
			}
		})
	}
}

// Values at the ends of every range: codes, zero points, scales, activations.
func TestKernelsAtExtremes(t *testing.T) {
	for _, k := range supportedKernels(t) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, s := range schemes() {
			if s.Bits != k.Bits {
				continue
			}
			for kind := range fillers {
				for _, code := range []uint8{0, uint8(s.MaxCode()), uint8(s.MidCode())} {
					q := randomQTensor(t, rng, 16, 160, s)
					for c := range q.Cols {
						for r := range q.Rows {
							q.SetCode(r, c, code)
						}
					}
					for i := range q.Zeros {
						q.Zeros[i] = []uint8{0, uint8(s.MaxCode())}[i%2]
					}
					for i := range q.Scales {
						q.Scales[i] = []uint16{0x7bff, 0xfbff, 0x0001, 0x8000, 0}[i%5]
					}
					a, _ := randomActs(rng, kind, 13, q.Cols)
					checkKernel(t, k, q, a, 0, 13)
				}
			}
		}
	}
}

func TestQuantizeBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, isa := range Supported()[1:] {
		for kind := range fillers {
			for _, k := range []int{1, 31, 32, 33, 64, 172, 1024} {
				a, x := randomActs(rng, kind, 3, k)
				var v quantActs
				v.resize(3, k)
				v.quantize(x, 0, 3, archOps(isa).quantizeBlocks)
				for i := range a.blocks {
					if a.blocks[i] != v.blocks[i] {
						t.Fatalf("%s %s k=%d block %d: %+v, the reference says %+v", isa, kind, k, i, v.blocks[i], a.blocks[i])
					}
				}
			}
		}
	}
}

func TestQuantizeError(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	a, x := randomActs(rng, "normal", 1, 320)
	for i, v := range x {
		b := a.block(0, i/blockCols)
		if d := math.Abs(float64(v - float32(b.q[i%blockCols])*b.scale)); d > float64(b.scale)/2*1.001 {
			t.Fatalf("element %d: %g is %g away, more than half a step of %g", i, v, d, b.scale)
		}
	}
}

func TestPackedRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, s := range schemes() {
		q := randomQTensor(t, rng, 37, 172, s)
		w, err := pack(q, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, got := make([]float32, 172), make([]float32, 172)
		for r := range q.Rows {
			q.DequantRow(want, r)
			w.row(got, r)
			for c := range want {
				if want[c] != got[c] {
					t.Fatalf("%s row %d column %d: %g, want %g", s, r, c, got[c], want[c])
				}
			}
		}
	}
}

func FuzzKernels(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint16(77), uint8(5), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, rows uint8, cols uint16, m, scheme uint8) {
		rng := rand.New(rand.NewPCG(seed, 99))
		s := schemes()[int(scheme)%len(schemes())]
		q := randomQTensor(t, rng, int(rows)%70+1, int(cols)%700+1, s)
		a, _ := randomActs(rng, []string{"normal", "extreme", "outliers", "huge"}[seed%4], int(m)%30+1, q.Cols)
		for _, k := range supportedKernels(t) {
			if k.Bits == s.Bits {
				checkKernel(t, k, q, a, 0, a.m)
			}
		}
	})
}
