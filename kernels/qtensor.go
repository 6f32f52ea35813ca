package kernels

import (
	"errors"
	"fmt"
	"slices"
)

// ErrScheme reports a quantization scheme that nibble does not have.
var ErrScheme = errors.New("unsupported quantization scheme")

// Scheme says how a weight matrix is stored.
type Scheme struct {
	Bits  int       // bits of a code: 4 or 8
	Group int       // columns that share a scale: 32, 64 or 128; 0 is the whole row ("channel")
	Sym   bool      // no zero points: of even steps, it is the middle code, 8 or 128
	Top   int       // per cent of the rows whose codes have 8 bits instead of 4: see QTensor
	Table CodeTable // what codes stand for
}

// Groups returns how many scales a row of cols columns has.
func (s Scheme) Groups(cols int) int {
	if s.Group == 0 {
		return 1
	}
	return (cols + s.Group - 1) / s.Group
}

// GroupWidth returns the columns of a full group in a row of cols columns.
func (s Scheme) GroupWidth(cols int) int {
	if s.Group == 0 {
		return cols
	}
	return s.Group
}

// MinCode returns the least code that quantizing gives: 0, or 1 when symmetric
// codes have 8 bits. Those then reach from -127 to 127, as in GGUF's Q8_0, whose
// readers need not get -128 right. Tensors from elsewhere may hold it.
func (s Scheme) MinCode() int {
	if s.Sym && s.Bits == 8 {
		return 1
	}
	return 0
}

// MaxCode returns the largest code, 15 or 255.
func (s Scheme) MaxCode() int { return 1<<s.Bits - 1 }

// MidCode returns the zero point of a symmetric tensor of even steps, 8 or 128.
func (s Scheme) MidCode() int { return 1 << (s.Bits - 1) }

// QTensor is a quantized weight matrix in nibble's one logical layout. Every
// packer for a kernel and every writer of a file format starts from it.
//
// The value at row r, column c, in group g = c / group, is
//
//	(code[r,c] - zero[r,g]) * scale[r,g]
//
// or, with a code table,
//
//	table[code[r,c]] * scale[r,g]
//
// With a scheme that has Top, some rows have eight bits: the code above and four
// more bits of [QTensor.TopTensor], whose value adds to it.
//
// Codes are unsigned. A row of codes takes RowBytes bytes; four-bit codes are
// two to a byte, low nibble first. That is byte for byte the weight_packed
// layout of compressed-tensors' pack-quantized format, so a checkpoint's mapped
// file serves as Codes without a copy. A code table changes what codes mean and
// nothing of where they are: on disk as here they are indices into it, two to a byte,
// beside scales of [Scheme.ScaleType].
type QTensor struct {
	Rows, Cols int
	Scheme     Scheme
	Codes      []byte   // Rows * RowBytes; padding is zero
	Scales     []uint16 // bits of Scheme.ScaleType, Rows * Groups; may be negative
	Zeros      []uint8  // Rows * Groups; nil when the scheme is symmetric
	TopRows    []int32  // which rows have eight bits, ascending; Scheme.TopCount
	TopCodes   []byte   // their further codes, TopCount * RowBytes
}

// NewQTensor allocates a rows x cols tensor of zero codes.
func NewQTensor(rows, cols int, s Scheme) (*QTensor, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if rows <= 0 || cols <= 0 {
		return nil, fmt.Errorf("quantized tensor of %d x %d: dimensions must be positive", rows, cols)
	}
	q := &QTensor{Rows: rows, Cols: cols, Scheme: s}
	q.Codes = make([]byte, rows*q.RowBytes())
	q.Scales = make([]uint16, rows*q.Groups())
	if !s.Sym {
		q.Zeros = make([]uint8, rows*q.Groups())
	}
	if n := s.TopCount(rows); n > 0 {
		q.TopRows, q.TopCodes = make([]int32, n), make([]byte, n*q.RowBytes())
		for i := range q.TopRows {
			q.TopRows[i] = int32(i)
		}
	}
	return q, nil
}

// RowBytes returns the bytes of one row of codes, a multiple of four.
func (q *QTensor) RowBytes() int { return q.Scheme.Format().codes.rowBytes(q.Cols) }

// Groups returns the scales of one row.
func (q *QTensor) Groups() int { return q.Scheme.Groups(q.Cols) }

// Bytes returns what the tensor takes when stored: codes, scales, rows and, for
// four bits, zero points packed two to a byte.
func (q *QTensor) Bytes() int64 {
	b := int64(len(q.Codes)) + 2*int64(len(q.Scales)) + int64(len(q.TopCodes)) + 4*int64(len(q.TopRows))
	return b + (int64(len(q.Zeros))*int64(q.Scheme.Bits)+7)/8
}

// Code returns the code at row r, column c.
func (q *QTensor) Code(r, c int) uint8 {
	return q.Scheme.Format().codes.get(q.Codes[r*q.RowBytes():], c)
}

// SetCode stores the code at row r, column c. Rows may be written concurrently.
func (q *QTensor) SetCode(r, c int, code uint8) {
	q.Scheme.Format().codes.set(q.Codes[r*q.RowBytes():], c, code)
}

// Scale returns the scale of row r, group g.
func (q *QTensor) Scale(r, g int) float32 { return q.Scheme.decodeScale(q.Scales[r*q.Groups()+g]) }

// Zero returns the zero point of row r, group g.
func (q *QTensor) Zero(r, g int) uint8 {
	if q.Zeros == nil {
		return uint8(q.Scheme.MidCode())
	}
	return q.Zeros[r*q.Groups()+g]
}

// DequantRow writes the Cols values of row r to dst.
func (q *QTensor) DequantRow(dst []float32, r int) {
	width, codes, row := q.Scheme.GroupWidth(q.Cols), q.Scheme.Format().codes, q.Codes[r*q.RowBytes():]
	for g := range q.Groups() {
		scale, zero := q.Scale(r, g), q.Zero(r, g)
		for c := g * width; c < min((g+1)*width, q.Cols); c++ {
			dst[c] = float32(q.Scheme.Value(codes.get(row, c), zero)) * scale
		}
	}
	if i, ok := slices.BinarySearch(q.TopRows, int32(r)); ok {
		q.addTop(dst, i)
	}
}

// Validate reports whether the slices have the lengths the layout asks for and
// every scale is finite.
func (q *QTensor) Validate() error {
	if err := q.Scheme.Validate(); err != nil {
		return err
	}
	if q.Rows <= 0 || q.Cols <= 0 {
		return fmt.Errorf("quantized tensor of %d x %d: dimensions must be positive", q.Rows, q.Cols)
	}
	n := q.Rows * q.Groups()
	zeros := n
	if q.Scheme.Sym {
		zeros = 0
	}
	if len(q.Codes) != q.Rows*q.RowBytes() || len(q.Scales) != n || len(q.Zeros) != zeros {
		return fmt.Errorf("quantized tensor of %d x %d %s: got %d code bytes, %d scales, %d zero points; want %d, %d, %d",
			q.Rows, q.Cols, q.Scheme, len(q.Codes), len(q.Scales), len(q.Zeros), q.Rows*q.RowBytes(), n, zeros)
	}
	if err := q.validateTop(); err != nil {
		return err
	}
	for i, s := range q.Scales {
		if !q.Scheme.finiteScale(s) {
			return fmt.Errorf("quantized tensor: the scale of row %d, group %d is not finite", i/q.Groups(), i%q.Groups())
		}
	}
	for i, z := range q.Zeros {
		if int(z) > q.Scheme.MaxCode() {
			return fmt.Errorf("quantized tensor: zero point %d of row %d is beyond %d bits", z, i/q.Groups(), q.Scheme.Bits)
		}
	}
	return nil
}
