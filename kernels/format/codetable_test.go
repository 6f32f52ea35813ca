package format

import (
	"errors"
	"math"
	"slices"
	"testing"

	"nibble/kernels/kerneltest"
)

// A table is of four bits and groups of 32, without zero points.
func TestCodeTableSchemes(t *testing.T) {
	var short []string
	for _, s := range Plain() {
		if s.Table != Even {
			short = append(short, s.String())
		}
	}
	if want := []string{"nl4 g32", "mxfp4 g32", "iq4_xs g32"}; !slices.Equal(short, want) {
		t.Errorf("the schemes with tables are %q, want %q", short, want)
	}
	for _, s := range []Scheme{
		{Bits: 8, Group: 32, Sym: true, Table: NL4}, {Bits: 4, Group: 64, Sym: true, Table: NL4}, {Bits: 4, Group: 32, Table: NL4},
		{Bits: 4, Group: 32, Sym: true, Top: 5, Table: NL4}, {Bits: 4, Group: 32, Sym: true, Table: FP4 + 1},
	} {
		if err := s.Validate(); !errors.Is(err, ErrScheme) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// Every code stands for its table's value times the scale, in the tensor and when it
// is packed. The values are those of IQ4_NL and MXFP4 blocks of GGUF files.
func TestCodeTableValues(t *testing.T) {
	for _, c := range []struct {
		table CodeTable
		scale uint16
		unit  float64 // what the scale's bits stand for
		want  []float64
	}{
		{NL4, 0xb800, -0.5, []float64{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}},
		{FP4, 100 << 7, math.Ldexp(1, 100-127), []float64{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}},
		{FP4, 1 << 6, math.Ldexp(1, -127), []float64{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}},
	} {
		q, err := NewQTensor(1, 32, Scheme{Bits: 4, Group: 32, Sym: true, Table: c.table})
		kerneltest.Must(t, err)
		q.Scales[0] = c.scale
		for i := range 32 {
			q.SetCode(0, i, uint8(i%16))
		}
		p, err := Pack(q, nil)
		kerneltest.Must(t, err)
		dequantized, packed := make([]float32, 32), make([]float32, 32)
		q.DequantRow(dequantized, 0)
		p.Row(packed, 0)
		for i := range 32 {
			if want := float32(c.want[i%16] * c.unit); dequantized[i] != want || packed[i] != want {
				t.Errorf("%s: code %d is %g, packed %g, want %g", q.Scheme, i%16, dequantized[i], packed[i], want)
			}
		}
		q.Scales[0] = map[CodeTable]uint16{NL4: 0x7c00, FP4: 0x7f80}[c.table]
		if q.Validate() == nil {
			t.Errorf("%s: an infinite scale is valid", q.Scheme)
		}
	}
}
