package format

import (
	"math/rand/v2"
	"testing"

	"nibble/kernels/kerneltest"
	"nibble/kernels/number"
)

// randomQTensor is Random for tests.
func randomQTensor(t testing.TB, rng *rand.Rand, rows, cols int, s Scheme) *QTensor {
	t.Helper()
	q, err := Random(rng, rows, cols, s)
	kerneltest.Must(t, err)
	return q
}

func TestTopRowsAreChecked(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	s := Scheme{Bits: 4, Group: 32, Sym: true, Top: 10}
	for name, spoil := range map[string]func(q *QTensor){
		"no rows":        func(q *QTensor) { q.TopRows = nil },
		"a row too few":  func(q *QTensor) { q.TopRows = q.TopRows[1:] },
		"beyond the end": func(q *QTensor) { q.TopRows[len(q.TopRows)-1] = 50 },
		"negative":       func(q *QTensor) { q.TopRows[0] = -1 },
		"twice":          func(q *QTensor) { q.TopRows[1] = q.TopRows[0] },
		"falling":        func(q *QTensor) { q.TopRows[0], q.TopRows[1] = q.TopRows[1], q.TopRows[0] },
		"codes too few":  func(q *QTensor) { q.TopCodes = q.TopCodes[1:] },
		"without a share": func(q *QTensor) {
			q.Scheme.Top = 0
		},
		"of eight bits": func(q *QTensor) { q.Scheme.Bits = 8 },
		"of all rows":   func(q *QTensor) { q.Scheme.Top = 100 },
	} {
		q := randomQTensor(t, rng, 50, 64, s)
		if spoil(q); q.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := Pack(q, nil); err == nil {
			t.Errorf("%s: packed", name)
		}
	}
}

// The further four bits have a sixteenth of the scale.
func TestTopScale(t *testing.T) {
	for scale, want := range map[float32]float32{16: 1, -0.5: -0.03125, 0: 0, 65504: 4094} {
		if got := number.F16ToF32(TopScale(number.F32ToF16(scale))); got != want {
			t.Errorf("of %g: %g, want %g", scale, got, want)
		}
	}
}

// The share of rows with eight bits is rounded up.
func TestTopCount(t *testing.T) {
	for _, c := range [][3]int{{100, 0, 0}, {100, 1, 1}, {101, 1, 2}, {7, 50, 4}, {50, 99, 50}, {1, 1, 1}} {
		if got := (Scheme{Bits: 4, Sym: true, Top: c[1]}).TopCount(c[0]); got != c[2] {
			t.Errorf("%d %% of %d rows are %d, want %d", c[1], c[0], got, c[2])
		}
	}
}

// Every length, scale and zero point of a tensor is checked; its bytes are those that
// are stored.
func TestQTensorIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(q *QTensor){
		"no rows":         func(q *QTensor) { q.Rows = 0 },
		"another width":   func(q *QTensor) { q.Cols += 8 },
		"few codes":       func(q *QTensor) { q.Codes = q.Codes[1:] },
		"few scales":      func(q *QTensor) { q.Scales = q.Scales[1:] },
		"few zero points": func(q *QTensor) { q.Zeros = q.Zeros[1:] },
		"no zero points":  func(q *QTensor) { q.Zeros = nil },
		"zero points":     func(q *QTensor) { q.Scheme.Sym = true },
		"a large one":     func(q *QTensor) { q.Zeros[3] = 16 },
		"infinite":        func(q *QTensor) { q.Scales[2] = 0xfc00 },
		"not a number":    func(q *QTensor) { q.Scales[2] = 0x7e01 },
		"five bits":       func(q *QTensor) { q.Scheme.Bits = 5 },
		"groups of 16":    func(q *QTensor) { q.Scheme.Group = 16 },
	} {
		q := randomQTensor(t, rand.New(rand.NewPCG(7, 9)), 5, 72, Scheme{Bits: 4, Group: 32})
		if err := q.Validate(); err != nil {
			t.Fatal(err)
		}
		if spoil(q); q.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, c := range []struct {
		s    Scheme
		want int64
	}{
		{Scheme{Bits: 4, Group: 32, Sym: true}, 5*36 + 2*15}, {Scheme{Bits: 4, Group: 32}, 5*36 + 2*15 + 8}, {Scheme{Bits: 8, Group: 32}, 5*72 + 2*15 + 15},
		{Scheme{Bits: 4, Sym: true, Top: 40}, 5*36 + 2*5 + 2*36 + 4*2},
	} {
		q, err := NewQTensor(5, 72, c.s)
		if err != nil || q.Bytes() != c.want {
			t.Errorf("%s: %d bytes, want %d, %v", c.s, q.Bytes(), c.want, err)
		}
	}
	for s, want := range map[Scheme][3]int{{Bits: 4}: {0, 8, 15}, {Bits: 4, Sym: true}: {0, 8, 15}, {Bits: 8}: {0, 128, 255}, {Bits: 8, Sym: true}: {1, 128, 255}} {
		if got := [3]int{s.MinCode(), s.MidCode(), s.MaxCode()}; got != want {
			t.Errorf("%s: codes %v, want %v", s, got, want)
		}
	}
}
