package format

import (
	"fmt"

	"nibble/kernels/number"
)

// Rows with eight bits among rows with four. A weight of such a row has two codes,
// c of four bits as all rows have, and d of four more, and the value
//
//	(c - 8) * scale + (d - 8) * scale/16
//
// so that the matrix is the sum of two of four bits, the second of which has these
// rows alone: a product with it is two products, by the kernels there are, and what
// reads c alone reads four bits of every row.

// TopCount returns how many of rows have eight bits.
func (s Scheme) TopCount(rows int) int { return (rows*s.Top + 99) / 100 }

// base is the scheme of all rows' four bits.
func (s Scheme) base() Scheme {
	s.Top = 0
	return s
}

// Part is a matrix of one width of codes.
type Part struct {
	Scheme Scheme
	Rows   int
}

// Parts returns what kernels compute a product with rows of the scheme from: the
// matrix, and of one with Top the further codes.
func (s Scheme) Parts(rows int) []Part {
	parts := []Part{{s.base(), rows}}
	if n := s.TopCount(rows); n > 0 {
		parts = append(parts, Part{s.base(), n})
	}
	return parts
}

// TopScale returns the scale of the further four bits, as F16 bits.
func TopScale(scale uint16) uint16 { return number.F32ToF16(number.F16ToF32(scale) / 16) }

// TopTensor returns the further four bits of the rows that have eight, nil if none
// has. It shares the codes.
func (q *QTensor) TopTensor() *QTensor {
	if len(q.TopRows) == 0 {
		return nil
	}
	t := &QTensor{Rows: len(q.TopRows), Cols: q.Cols, Scheme: q.Scheme.base(), Codes: q.TopCodes}
	for _, r := range q.TopRows {
		t.Scales = q.appendTopScales(t.Scales, int(r))
	}
	return t
}

// appendTopScales appends the scales of the further codes of row r.
func (q *QTensor) appendTopScales(scales []uint16, r int) []uint16 {
	for _, s := range q.Scales[r*q.Groups():][:q.Groups()] {
		scales = append(scales, TopScale(s))
	}
	return scales
}

// addTop adds the value of the further codes of TopRows[i].
func (q *QTensor) addTop(dst []float32, i int) {
	one := QTensor{Rows: 1, Cols: q.Cols, Scheme: q.Scheme.base(), Codes: q.TopCodes[i*q.RowBytes():][:q.RowBytes()],
		Scales: q.appendTopScales(nil, int(q.TopRows[i]))}
	further := make([]float32, q.Cols)
	one.DequantRow(further, 0)
	for c, v := range further {
		dst[c] += v
	}
}

func (q *QTensor) validateTop() error {
	n := q.Scheme.TopCount(q.Rows)
	if len(q.TopRows) != n || len(q.TopCodes) != n*q.RowBytes() {
		return fmt.Errorf("quantized tensor of %d x %d %s: got %d rows and %d code bytes of 8 bits; want %d, %d",
			q.Rows, q.Cols, q.Scheme, len(q.TopRows), len(q.TopCodes), n, n*q.RowBytes())
	}
	last := int32(-1)
	for _, r := range q.TopRows {
		if r <= last || int(r) >= q.Rows {
			return fmt.Errorf("quantized tensor: the rows of 8 bits are not ascending rows of %d: %d follows %d", q.Rows, r, last)
		}
		last = r
	}
	return nil
}
