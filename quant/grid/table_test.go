package grid

import (
	"math"
	"testing"

	"nibble/kernels"
)

var nonLinear = kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: kernels.NL4}

// Codes are of the nearest entry of the table, for scales of either sign.
func TestTableCodes(t *testing.T) {
	values := kernels.NL4.Values()
	for _, scale := range []float32{0.5, -0.25, 2} {
		for v := float32(-150); v <= 150; v += 0.125 {
			w, least := v*scale, math.Inf(1)
			for _, e := range values {
				least = min(least, math.Abs(float64(w)-float64(e)*float64(scale)))
			}
			got := nonLinear.Value(uint8(Code(w, scale, 0, nonLinear)), 0)
			if d := math.Abs(float64(w) - float64(got)*float64(scale)); d != least {
				t.Fatalf("%g with scale %g becomes %d, %g away; %g is possible", w, scale, got, d, least)
			}
		}
	}
	for v, want := range map[float64]int{math.Inf(1): 15, math.Inf(-1): 0, math.NaN(): 0} {
		if got := Code(float32(v), 1, 0, nonLinear); got != want {
			t.Errorf("%g has the code %d, want %d", v, got, want)
		}
	}
	if v := nonLinear.Value(uint8(Code(3, 0, 0, nonLinear)), 0); v != 1 {
		t.Errorf("without a scale a weight is %d", v)
	}
}

// The search comes near what a great many scales give, and is never worse than the plain
// scale.
func TestTableSearch(t *testing.T) {
	h := make([]float32, 32)
	for i := range h {
		h[i] = float32(1 + i%5)
	}
	for name, x := range groups(32) {
		for _, h := range [][]float32{nil, h} {
			lo, hi := rangeOf(x)
			least := math.Inf(1)
			for i := range 4000 {
				scale := max(hi, -lo) / 127 * (0.5 + float64(i)/4000)
				for _, sign := range []float64{1, -1} {
					least = min(least, groupError(x, h, Grid{Scale: RoundScale(sign * scale)}, nonLinear))
				}
			}
			got, plain := groupError(x, h, Find(x, h, nonLinear), nonLinear), groupError(x, h, plainGrid(x, nonLinear), nonLinear)
			if got > 1.02*least || got > plain {
				t.Errorf("%s: an error of %g, %g is possible and %g without a search", name, got, least, plain)
			}
		}
	}
}

// On the axis of a table a whole number is a code, less the zero point of even codes, and
// the nearest one is the nearest entry.
func TestTableAxis(t *testing.T) {
	axis, mid := AxisOf(nonLinear), float32(nonLinear.MidCode())
	last := float32(math.Inf(-1))
	for steps := float32(-200); steps < 200; steps += 0.25 {
		at := axis.Place(steps)
		if at <= last {
			t.Fatalf("%g steps are at %g, less at %g", steps, at, last)
		}
		last = at
		code := max(0, min(15, math.Floor(float64(at+mid)+0.5)))
		near := Code(steps, 1, 0, nonLinear)
		if int(code) != near {
			t.Errorf("%g steps are at %g, their code is %d", steps, at+mid, near)
		}
	}
	for code, v := range kernels.NL4.Values() {
		if at := axis.Place(float32(v)) + mid; at != float32(code) || axis.Value(float32(code), mid) != float32(v) {
			t.Errorf("entry %d is at %g, and code %d is %g", v, at, code, axis.Value(float32(code), mid))
		}
	}
}
