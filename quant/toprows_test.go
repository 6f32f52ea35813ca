package quant

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
)

func TestMostUsed(t *testing.T) {
	texts := [][]int32{{4, 4, 1}, {4, 6, 6, 1}, {2}}
	for n, want := range [][]int32{nil, {4}, {1, 4}, {1, 4, 6}, {1, 2, 4, 6}, {0, 1, 2, 4, 6}, {0, 1, 2, 3, 4, 6}, {0, 1, 2, 3, 4, 5, 6}} {
		if got := mostUsed(texts, 7, n); !slices.Equal(got, want) {
			t.Errorf("the %d tokens that occur most: %v, want %v", n, got, want)
		}
	}
}

// A raised row is within half a step of eight bits, whatever its weights; all others
// stay as they are.
func TestRaise(t *testing.T) {
	eng := engine(t, 1)
	for name, row := range map[string]func(c int) float32{
		"even":          func(c int) float32 { return float32(c-32) / 40 },
		"positive":      func(c int) float32 { return float32(c) },
		"negative":      func(c int) float32 { return -float32(c) * 1e-3 },
		"zero":          func(int) float32 { return 0 },
		"a single high": func(c int) float32 { return map[bool]float32{true: 5}[c == 7] },
		"large":         func(c int) float32 { return float32(c-31) * 1e3 },
	} {
		for _, group := range []int{0, 32} {
			const rows, cols = 5, 63
			w := kernels.NewMatrix(rows, cols)
			for r := range rows {
				for c := range cols {
					w.Row(r)[c] = row(c)
				}
			}
			s := Spec{Bits: 4, Group: group, Sym: true, Method: RTN}
			q, _, err := Quantize(eng, w.Data, rows, cols, s)
			if err != nil {
				t.Fatal(err)
			}
			before := cloneQ(q)
			q.Scheme.Top = 40
			raise(eng, q, rowsOf(w), []int32{1, 4})
			if err := q.Validate(); err != nil {
				t.Fatal(err)
			}
			got, was := make([]float32, cols), make([]float32, cols)
			for r := range rows {
				q.DequantRow(got, r)
				before.DequantRow(was, r)
				if r != 1 && r != 4 {
					if !slices.Equal(got, was) {
						t.Errorf("%s: row %d changed", name, r)
					}
					continue
				}
				for c, v := range got {
					step := math.Abs(float64(q.Scale(r, c/q.Scheme.GroupWidth(cols)))) / 16
					// A scale that F16 rounded down leaves the largest weight a little further.
					if d := math.Abs(float64(v - w.Row(r)[c])); d > step*(0.5+119.0/2048)+1e-12 {
						t.Errorf("%s, group %d: weight %g became %g, steps are %g", name, group, w.Row(r)[c], v, step)
					}
				}
				worst, most := 0.0, 0.0
				for c, v := range w.Row(r) {
					worst, most = max(worst, math.Abs(float64(v-got[c]))), max(most, math.Abs(float64(v)))
				}
				if worst > most/220 {
					t.Errorf("%s: an error of %g where weights reach %g", name, worst, most)
				}
			}
		}
	}
}

// Eight bits for the tokens that text has most save what they should: a tenth of the
// rows a third, and half of them four fifths, of the loss of the embedding at least,
// by any method.
func TestTopRowsSave(t *testing.T) {
	ctx := context.Background()
	ck := open(t, "demo")
	base := load(t, 2, ck)
	embed := ck.Config.Modules()[0]
	c, err := NewCalibration(ck, CalibrationOptions{Samples: 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{RTN, MSE, IMatrix, GPTQ} {
		s, err := NewScreen(base, ck, c)
		if err != nil {
			t.Fatal(err)
		}
		var lost []float64
		for _, top := range []int{0, 10, 50} {
			_, e, err := s.Quantize(ctx, embed, Spec{Bits: 4, Group: 32, Sym: true, Top: top, Method: method})
			if err != nil {
				t.Fatal(err)
			}
			lost = append(lost, e)
		}
		if lost[1] > 0.65*lost[0] || lost[2] > 0.2*lost[0] {
			t.Errorf("%s: loses %g, with a tenth of the rows in 8 bits %g, with half of them %g", method, lost[0], lost[1], lost[2])
		}
	}
	if _, _, err := One(ctx, base.Engine, ck, embed, Spec{Bits: 4, Group: 32, Sym: true, Top: 10, Method: RTN}); !errors.Is(err, ErrRecipe) {
		t.Errorf("without a calibration: %v", err)
	}
}

// Training leaves rows of eight bits alone.
func TestTopRowsAreNotTrained(t *testing.T) {
	eng := engine(t, 1)
	w := kernels.NewMatrix(4, 32)
	for i := range w.Data {
		w.Data[i] = float32(i%13) - 6
	}
	spec := Spec{Bits: 4, Group: 32, Sym: true, Method: RTN}
	q, _, err := Quantize(eng, w.Data, w.Rows, w.Cols, spec)
	if err != nil {
		t.Fatal(err)
	}
	q.Scheme.Top = 50
	raise(eng, q, rowsOf(w), []int32{0, 2})
	r := newRounding(eng, w, q)
	for range 300 {
		for i := range r.grad.Data {
			r.grad.Data[i] = 1
		}
		r.step(eng, 0.01, 0.1)
		r.round(eng)
	}
	want, got := make([]float32, 32), make([]float32, 32)
	for i := range w.Rows {
		q.DequantRow(want, i)
		r.q.DequantRow(got, i)
		if same, fixed := slices.Equal(got, want), i%2 == 0; same != fixed {
			t.Errorf("row %d: as it was %t, want %t", i, same, fixed)
		}
		if !slices.Equal(got, r.value.Row(i)) {
			t.Errorf("row %d: trained with %v, stored as %v", i, r.value.Row(i), got)
		}
		if slices.ContainsFunc(r.grad.Row(i), func(x float32) bool { return x != 0 }) {
			t.Errorf("row %d: its gradient was not cleared", i)
		}
	}
}

// A calibration that does not have the tokens is told of.
func TestTopNotes(t *testing.T) {
	ck := open(t, "demo")
	r := parse(t, "w4; embed_tokens w4 top60%")
	if !Calibrated(r, ck.Config) {
		t.Error("which tokens are frequent needs a text")
	}
	c, err := NewCalibration(ck, CalibrationOptions{Samples: 1, Length: 64})
	if err != nil {
		t.Fatal(err)
	}
	p, err := PlanFor(ck, r, PlanOptions{Calibration: c})
	if err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(p.Substitutions, "\n"); !strings.Contains(s, "of the 615 tokens that get 8 bits") || !strings.Contains(s, "model.embed_tokens") {
		t.Errorf("the plan says %q", s)
	}
}
