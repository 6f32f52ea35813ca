package chart

import (
	"fmt"
	"math"
	"testing"
)

// An axis is logarithmic where values span more than a decade; what such an axis
// cannot show is drawn at its end, which says so.
func TestScale(t *testing.T) {
	format := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	for _, c := range []struct {
		values []float64
		log    bool
		least  float64
		label  string // of the least
	}{
		{[]float64{1, 5, 9.9}, false, 1, "1.00"},
		{[]float64{0.5, 50, math.NaN(), math.Inf(1)}, true, 0.5, "0.50"},
		{[]float64{-3, 0.5, 50}, true, -3, "≤0.50"},
		{[]float64{-3, 5}, false, -3, "-3.00"},
		{[]float64{0, -1}, false, -1, "-1.00"},
		{nil, false, 0, "0.00"},
	} {
		s := ScaleFor(c.values...)
		if s.log != c.log || s.Format(format)(s.At(c.least)) != c.label || (s.Note() != "") != c.log {
			t.Errorf("%v: %+v, label %s", c.values, s, s.Format(format)(s.At(c.least)))
		}
	}
	s := ScaleFor(1, 100)
	if got := s.All([]float64{1, 10, 100}); got[1]-got[0] != got[2]-got[1] {
		t.Errorf("decades are not equally far apart: %v", got)
	}
	if !math.IsNaN(s.At(math.NaN())) {
		t.Error("a gap is not left one")
	}
}
