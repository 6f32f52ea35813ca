package matmul

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/kerneltest"
	"nibble/kernels/layout"
	"nibble/kernels/number"
)

// randomQTensor is RandomQTensor for tests.
func randomQTensor(t testing.TB, rng *rand.Rand, rows, cols int, s format.Scheme) *format.QTensor {
	t.Helper()
	q, err := format.Random(rng, rows, cols, s)
	kerneltest.Must(t, err)
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

func randomActs(rng *rand.Rand, kind string, m, k int) (*QuantActs, []float32) {
	x := make([]float32, m*k)
	for i := range x {
		x[i] = fillers[kind](rng)
	}
	var a QuantActs
	a.resize(m, k)
	a.quantize(x, 0, m, quantizeBlocksGeneric)
	for _, s := range format.Plain() {
		a.Prepare(s.Format())
	}
	return &a, x
}

// The reference kernel follows the definition, computed here from the logical
// tensor in the simplest way.
func TestGenericFollowsDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range format.Plain() {
		for _, k := range []int{1, 31, 32, 33, 172, 256, 512} {
			if !fits(s, k) {
				continue
			}
			q := randomQTensor(t, rng, 19, k, s)
			w, err := format.Pack(q, nil)
			if err != nil {
				t.Fatal(err)
			}
			a, _ := randomActs(rng, "normal", 3, k)
			got := make([]float32, 3*19)
			MulGeneric(got, 19, a, 0, 3, w, 0, w.Panels())
			for m := range 3 {
				for r := range 19 {
					var part, want float32
					width := min(s.GroupWidth(k), layout.BlockCols)
					for first := 0; first < k; first += width {
						block := a.block(m, first/layout.BlockCols)
						isum, sum := 0, 0
						g, end := first/s.GroupWidth(k), min(first+width, k)
						if k <= layout.BlockCols {
							end = k
						}
						for c := first; c < end; c++ {
							value := int(q.Code(r, c)) - int(q.Zero(r, g))
							if table := s.Table.Values(); table != nil {
								value = int(table[q.Code(r, c)])
							} else if s.Mins {
								value = int(q.Code(r, c))
							}
							sum += int(block.q[c%layout.BlockCols])
							isum += value * int(block.q[c%layout.BlockCols])
						}
						part = number.FMA(float32(isum), block.scale, part)
						if end == k || end%s.GroupWidth(k) == 0 {
							want, part = number.FMA(part, q.Scale(r, g), want), 0
							if s.Mins {
								want = number.FMA(float32(sum)*block.scale, q.Min(r, g), want)
							}
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

// fits reports whether a matrix of cols columns can have a scheme.
func fits(s format.Scheme, cols int) bool { return !s.Super || cols%layout.SuperCols == 0 }

// productCase is a product whose result is known.
type productCase struct {
	w    *format.Packed
	a    *QuantActs
	want []float32 // by the reference, in a matrix wider than w
}

// guardColumns is how many more columns than w the results have: no kernel may write
// there.
const guardColumns = 7

func newProductCase(t *testing.T, q *format.QTensor, a *QuantActs) productCase {
	t.Helper()
	w, err := format.Pack(q, nil)
	kerneltest.Must(t, err)
	c := productCase{w: w, a: a}
	c.want = c.run(MulGeneric)
	return c
}

func (c productCase) run(run runFunc) []float32 {
	ldd := c.w.N + guardColumns
	dst := slices.Repeat([]float32{-12345}, c.a.M*ldd+guardColumns)[guardColumns:] // unaligned
	run(dst, ldd, c.a, 0, c.a.M, c.w, 0, c.w.Panels())
	return dst
}

// check compares a kernel with the reference, bit for bit, and makes sure
// it writes nothing around its rows and panels.
func (c productCase) check(t *testing.T, k Kernel) {
	t.Helper()
	for i, got := range c.run(k.Run) {
		if ldd := c.w.N + guardColumns; math.Float32bits(c.want[i]) != math.Float32bits(got) {
			t.Fatalf("%s %s %dx%d, %d tokens: element %d,%d is %g, the reference says %g",
				k, c.w.Scheme, c.w.N, c.a.k, c.a.M, i/ldd, i%ldd, got, c.want[i])
		}
	}
}

func supportedKernels(t *testing.T) []Kernel {
	t.Helper()
	tiers := cpu.Supported()
	var ks []Kernel
	for _, k := range Kernels() {
		if tiers[len(tiers)-1].Allows(k.ISA) {
			ks = append(ks, k)
		} else {
			t.Logf("%s is not tested: this CPU lacks it", k)
		}
	}
	return ks
}

func TestKernelsMatchReference(t *testing.T) {
	var cases []productCase
	rng := rand.New(rand.NewPCG(3, 4))
	for _, s := range format.Plain() {
		few := 96 // columns
		if s.Super {
			few = layout.SuperCols
		}
		add := func(kind string, m, rows, cols int) {
			if !fits(s, cols) {
				return
			}
			a, _ := randomActs(rng, kind, m, cols)
			cases = append(cases, newProductCase(t, randomQTensor(t, rng, rows, cols, s), a))
		}
		for _, rows := range []int{1, 7, 16, 17, 48} {
			for _, cols := range []int{1, 4, 31, 32, 36, 64, 100, 128, 172, 256, 320, 512} {
				add("normal", 5, rows, cols)
			}
		}
		for m := 1; m <= actTile+2; m++ {
			add("outliers", m, 33, few)
		}
		add("outliers", 70, 33, few)
		for _, cols := range []int{1024, 1056, 2085} { // rows that some kernels cut
			add("normal", 35, 49, cols)
		}
		add("normal", 17, 16*35, few) // more panels than some take at a time
	}
	for _, k := range supportedKernels(t) {
		if k.ISA == cpu.Generic {
			continue
		}
		t.Run(fmt.Sprintf("%s %s", k, k.Format), func(t *testing.T) {
			for _, c := range cases {
				if k.Takes(c.w.Scheme) {
					c.check(t, k)
				}
			}
		})
	}
}

// Values at the ends of every range: codes, zero points, scales, activations.
func TestKernelsAtExtremes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	kernels := supportedKernels(t)
	for _, s := range format.Plain() {
		for kind := range fillers {
			for _, code := range []uint8{0, uint8(s.MaxCode()), uint8(1 << (s.Bits - 1))} {
				cols := 160
				if s.Super {
					cols = layout.SuperCols
				}
				q := randomQTensor(t, rng, 2*layout.PanelRows+1, cols, s)
				for c := range q.Cols {
					for r := range q.Rows {
						q.SetCode(r, c, code)
					}
				}
				for i := range q.Zeros {
					q.Zeros[i] = []uint8{0, uint8(s.MaxCode())}[i%2]
				}
				for _, scales := range [][]uint16{q.Scales, q.Mins} {
					for i := range scales {
						scales[i] = []uint16{0x7bff, 0xfbff, 0x0001, 0x8000, 0}[i%5]
					}
				}
				for _, subs := range [][]int8{q.SubScales, q.SubMins} {
					for i := range subs {
						subs[i] = []int8{127, -128, 0, 1}[i%4]
					}
				}
				a, _ := randomActs(rng, kind, 13, q.Cols)
				c := newProductCase(t, q, a)
				for _, k := range kernels {
					if k.Takes(s) {
						c.check(t, k)
					}
				}
			}
		}
	}
}

func TestQuantizeBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, isa := range cpu.Supported()[1:] {
		for kind := range fillers {
			for _, k := range []int{1, 31, 32, 33, 64, 172, 1024} {
				a, x := randomActs(rng, kind, 3, k)
				var v QuantActs
				v.resize(3, k)
				v.quantize(x, 0, 3, archQuantizeBlocks)
				for i := range a.blocks {
					if a.blocks[i] != v.blocks[i] {
						t.Fatalf("%s %s k=%d block %d: %+v, the reference says %+v", isa, kind, k, i, v.blocks[i], a.blocks[i])
					}
				}
			}
		}
	}
}

// A block with something that is not finite becomes zeros with a scale of NaN, in every
// tier; its neighbours do not change.
func TestQuantizeWhatIsNotFinite(t *testing.T) {
	for _, isa := range cpu.Supported() {
		e := testEngine(t, Options{ISA: isa, Threads: 1})
		for _, bad := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
			x := RandomActivations(1, 3*layout.BlockCols)
			x[layout.BlockCols+13] = float32(bad)
			var a QuantActs
			a.resize(1, len(x))
			a.quantize(x, 0, 1, e.quantize)
			b := *a.block(0, 1)
			if scale := b.scale; scale == scale {
				t.Errorf("%s: %g gives the scale %g", isa, bad, scale)
			}
			b.scale = 0
			if b != (actBlock{}) || !(a.block(0, 0).scale > 0) || !(a.block(0, 2).scale > 0) {
				t.Errorf("%s: %g gives %+v", isa, bad, a.blocks)
			}
		}
	}
}

func TestQuantizeError(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	a, x := randomActs(rng, "normal", 1, 320)
	for i, v := range x {
		b := a.block(0, i/layout.BlockCols)
		if d := math.Abs(float64(v - float32(b.q[i%layout.BlockCols])*b.scale)); d > float64(b.scale)/2*1.001 {
			t.Fatalf("element %d: %g is %g away, more than half a step of %g", i, v, d, b.scale)
		}
	}
}

func TestPackedRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, s := range format.Plain() {
		cols := 172
		if s.Super {
			cols = 2 * layout.SuperCols
		}
		q := randomQTensor(t, rng, 37, cols, s)
		w, err := format.Pack(q, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, got := make([]float32, cols), make([]float32, cols)
		for r := range q.Rows {
			q.DequantRow(want, r)
			w.Row(got, r)
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
		s := format.Plain()[int(scheme)%len(format.Plain())]
		width := int(cols)%700 + 1
		if s.Super {
			width = (width/layout.SuperCols + 1) * layout.SuperCols
		}
		q := randomQTensor(t, rng, int(rows)%70+1, width, s)
		a, _ := randomActs(rng, []string{"normal", "extreme", "outliers", "huge"}[seed%4], int(m)%30+1, q.Cols)
		c := newProductCase(t, q, a)
		for _, k := range supportedKernels(t) {
			if k.Takes(s) {
				c.check(t, k)
			}
		}
	})
}
