package format

import (
	"errors"
	"fmt"
	"slices"

	"nibble/kernels/layout"
)

// ErrScheme reports a quantization scheme that nibble does not have.
var ErrScheme = errors.New("unsupported quantization scheme")

// Scheme says how a weight matrix is stored.
type Scheme struct {
	Bits  int       // bits of a code: 4, 5, 6 or 8
	Group int       // columns that share a scale: 16, 32, 64 or 128; 0 is the whole row ("channel")
	Sym   bool      // no zero points: of even steps, it is the middle code, 8 or 128
	Top   int       // per cent of the rows whose codes have 8 bits instead of 4: see QTensor
	Table CodeTable // what codes stand for
	Mins  bool      // each group has a least value, which adds to its codes' instead of a zero point
	Super bool      // scales and least values of groups are small integers times those of 256 columns
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
// or, with least values,
//
//	code[r,c] * scale[r,g] + min[r,g]
//
// In a scheme with Super, of rows of whole 256 columns, scale and min of a group are its
// SubScales and SubMins times Scales and Mins of its 256 columns s = c / 256: products
// that float32 holds exactly. That is how the blocks of GGUF's K-quants have it, whose
// mins are subtracted, so that Mins are minus theirs.
//
// With a scheme that has Top, some rows have eight bits: the code above and four
// more bits of [QTensor.TopTensor], whose value adds to it.
//
// Codes are unsigned. A row of codes takes RowBytes bytes; four-bit codes are
// two to a byte, low nibble first, and others a byte each. That is byte for byte the weight_packed
// layout of compressed-tensors' pack-quantized format, so a checkpoint's mapped
// file serves as Codes without a copy. A code table changes what codes mean and
// nothing of where they are: on disk as here they are indices into it, two to a byte,
// beside scales of [Scheme.ScaleType].
type QTensor struct {
	Rows, Cols int
	Scheme     Scheme
	Codes      []byte   // Rows * RowBytes; padding is zero
	Scales     []uint16 // bits of Scheme.ScaleType, Rows * Groups, or Rows * Supers; may be negative
	Mins       []uint16 // as many, F16; nil without least values
	SubScales  []int8   // Rows * Groups; nil without Super
	SubMins    []int8   // Rows * Groups; nil without Super and least values
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
	n := q.lengths()
	q.Scales, q.Mins = alloc[uint16](n.scales), alloc[uint16](n.mins)
	q.SubScales, q.SubMins = alloc[int8](n.subScales), alloc[int8](n.subMins)
	q.Zeros = alloc[uint8](n.zeros)
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

// Groups returns the groups of one row.
func (q *QTensor) Groups() int { return q.Scheme.Groups(q.Cols) }

// Supers returns the groups of one row whose scales multiply those of smaller ones; in a
// scheme without Super, all groups.
func (q *QTensor) Supers() int {
	if q.Scheme.Super {
		return (q.Cols + layout.SuperCols - 1) / layout.SuperCols
	}
	return q.Groups()
}

// lengths are those of a tensor's slices.
type lengths struct{ codes, scales, mins, subScales, subMins, zeros int }

func (q *QTensor) lengths() lengths {
	n := lengths{codes: q.Rows * q.RowBytes(), scales: q.Rows * q.Supers()}
	if q.Scheme.Mins {
		n.mins = n.scales
	}
	if q.Scheme.Super {
		n.subScales = q.Rows * q.Groups()
		if q.Scheme.Mins {
			n.subMins = n.subScales
		}
	}
	if !q.Scheme.Sym {
		n.zeros = q.Rows * q.Groups()
	}
	return n
}

// alloc makes n elements, nil for none.
func alloc[T any](n int) []T {
	if n == 0 {
		return nil
	}
	return make([]T, n)
}

// Bytes returns what the tensor takes when stored: codes, scales, rows and, in as many
// bits as they need, zero points and the scales and least values of small groups.
func (q *QTensor) Bytes() int64 {
	f := q.Scheme.Format()
	codes := int64(len(q.Codes)) + int64(len(q.TopCodes))
	if f.codes.bits > f.Bits {
		codes = codes * int64(f.Bits) / int64(f.codes.bits)
	}
	b := codes + 2*int64(len(q.Scales)+len(q.Mins)) + 4*int64(len(q.TopRows))
	return b + (int64(len(q.Zeros))*int64(q.Scheme.Bits)+int64(len(q.SubScales)+len(q.SubMins))*int64(f.sub)+7)/8
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
func (q *QTensor) Scale(r, g int) float32 {
	return q.grouped(q.Scales, q.SubScales, r, g)
}

// Min returns the least value of row r, group g, 0 without least values.
func (q *QTensor) Min(r, g int) float32 {
	if !q.Scheme.Mins {
		return 0
	}
	return q.grouped(q.Mins, q.SubMins, r, g)
}

// grouped returns what one of scales and, with Super, one of subs make of a group.
func (q *QTensor) grouped(scales []uint16, subs []int8, r, g int) float32 {
	if !q.Scheme.Super {
		return q.Scheme.decodeScale(scales[r*q.Groups()+g])
	}
	s := g * q.Scheme.Group / layout.SuperCols
	return q.Scheme.decodeScale(scales[r*q.Supers()+s]) * float32(subs[r*q.Groups()+g])
}

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
		scale, least, zero := q.Scale(r, g), q.Min(r, g), q.Zero(r, g)
		for c := g * width; c < min((g+1)*width, q.Cols); c++ {
			v := float32(float32(q.Scheme.Value(codes.get(row, c), zero)) * scale) // not fused, on any CPU
			if q.Scheme.Mins {
				v += least
			}
			dst[c] = v
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
	if q.Scheme.Super && q.Cols%layout.SuperCols != 0 {
		return fmt.Errorf("quantized tensor of %d x %d %s: its rows are no multiple of %d", q.Rows, q.Cols, q.Scheme, layout.SuperCols)
	}
	want := q.lengths()
	if got := (lengths{len(q.Codes), len(q.Scales), len(q.Mins), len(q.SubScales), len(q.SubMins), len(q.Zeros)}); got != want {
		return fmt.Errorf("quantized tensor of %d x %d %s: got %+v; want %+v", q.Rows, q.Cols, q.Scheme, got, want)
	}
	if err := q.validateTop(); err != nil {
		return err
	}
	for i, s := range slices.Concat(q.Scales, q.Mins) {
		if !q.Scheme.finiteScale(s) {
			i %= len(q.Scales)
			return fmt.Errorf("quantized tensor: the scale of row %d, group %d is not finite", i/q.Supers(), i%q.Supers())
		}
	}
	if q.Scheme.Bits < q.Scheme.Format().codes.bits {
		for i, c := range q.Codes {
			if int(c) > q.Scheme.MaxCode() {
				return fmt.Errorf("quantized tensor: code %d of row %d is beyond %d bits", c, i/q.RowBytes(), q.Scheme.Bits)
			}
		}
	}
	for i, z := range q.Zeros {
		if int(z) > q.Scheme.MaxCode() {
			return fmt.Errorf("quantized tensor: zero point %d of row %d is beyond %d bits", z, i/q.Groups(), q.Scheme.Bits)
		}
	}
	return nil
}
