package model

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"nibble/kernels"
)

// quantWeight reads a packed matrix. Codes stay in the mapped file; scales and
// zero points are small and are converted.
func (c *Checkpoint) quantWeight(m Module) (*kernels.QTensor, error) {
	of, ok := c.schemes.find(m)
	scheme := of.scheme
	if !ok {
		return nil, fmt.Errorf("tensor %s.weight_packed: %w: quantization_config does not mention it", m.Name, ErrCorrupt)
	}
	if scheme.Bits == 0 {
		return nil, fmt.Errorf("tensor %s.weight_packed: %w: the kernels have no such codes", m.Name, ErrUnsupported)
	}
	if err := c.checkGroupIndex(m, scheme); err != nil {
		return nil, err
	}
	q := &kernels.QTensor{Rows: m.Rows, Cols: m.Cols, Scheme: scheme}
	groups, per := q.Groups(), 32/scheme.Bits
	packed, err := c.ints(m.Name+".weight_packed", m.Rows, (m.Cols+per-1)/per)
	if err != nil {
		return nil, err
	}
	q.Codes = packed
	if q.Scales, err = c.scales(m.Name+".weight_scale", m.Rows, groups, scheme.ScaleType()); err != nil {
		return nil, err
	}
	if scheme.Sym {
		if err := c.checkNoZeros(m.Name+".weight_zero_point", m.Rows, groups, scheme); err != nil {
			return nil, err
		}
	} else {
		if q.Zeros, err = c.zeros(m.Name+".weight_zero_point", m.Rows, groups, scheme); err != nil {
			return nil, err
		}
	}
	if q.Scheme.Top, err = c.topShare(m, scheme); err != nil {
		return nil, err
	}
	if n := q.Scheme.TopCount(m.Rows); n > 0 {
		if q.TopCodes, err = c.ints(m.Name+topPacked, n, (m.Cols+per-1)/per); err != nil {
			return nil, err
		}
		q.TopRows = unpackRows(c.tensors[m.Name+topRows].data)
	}
	if err := q.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", m.Name, ErrCorrupt, err)
	}
	return q, nil
}

// checkGroupIndex accepts an index of each column's group that says what is so
// without it: activation ordering that moves columns is not done.
func (c *Checkpoint) checkGroupIndex(m Module, s kernels.Scheme) error {
	name := m.Name + ".weight_g_idx"
	t, ok := c.tensors[name]
	if !ok {
		return nil
	}
	if t.dtype == "I32" && slices.Equal(t.shape, []int{m.Cols}) {
		width, same := s.GroupWidth(m.Cols), true
		for i, g := range unpackRows(t.data) {
			same = same && (int(g) == i/width || g == -1) // -1: not set
		}
		if same {
			return nil
		}
	}
	return fmt.Errorf("tensor %s: %w: group indices of activation ordering", name, ErrUnsupported)
}

// checkNoZeros accepts stored zero points of symmetric codes that say nothing: the
// middle code, or nothing but zero bytes.
func (c *Checkpoint) checkNoZeros(name string, rows, groups int, s kernels.Scheme) error {
	t, ok := c.tensors[name]
	if !ok || !slices.ContainsFunc(t.data, func(b byte) bool { return b != 0 }) {
		return nil
	}
	zeros, err := c.zeros(name, rows, groups, s)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(zeros, func(z uint8) bool { return int(z) != s.MidCode() }) {
		return fmt.Errorf("tensor %s: %w: quantization_config says that the codes are symmetric", name, ErrCorrupt)
	}
	return nil
}

// zeros returns the zero points as codes, of the two forms that there are: packed
// like codes, or, of older versions, as signed bytes around the middle code.
func (c *Checkpoint) zeros(name string, rows, groups int, s kernels.Scheme) ([]uint8, error) {
	if t := c.tensors[name]; t.dtype == "I8" {
		if !slices.Equal(t.shape, []int{rows, groups}) {
			return nil, fmt.Errorf("tensor %s: %w: it is %v, not [%d %d]", name, ErrCorrupt, t.shape, rows, groups)
		}
		out := make([]uint8, len(t.data))
		for i, b := range t.data {
			z := int(int8(b)) + s.MidCode()
			if z < 0 || z > s.MaxCode() {
				return nil, fmt.Errorf("tensor %s: %w: %d is no zero point of %d bits", name, ErrCorrupt, int8(b), s.Bits)
			}
			out[i] = uint8(z)
		}
		return out, nil
	}
	per := 32 / s.Bits
	packed, err := c.ints(name, (rows+per-1)/per, groups)
	if err != nil {
		return nil, err
	}
	return unpackZeros(packed, rows, groups, s.Bits), nil
}

// Rows that have eight bits are stored beside the four bits of all rows, which
// other readers of the format see: their further codes, packed alike, and which
// rows they are.
const (
	topPacked = ".weight_top_packed" // I32 [rows with eight bits, as of weight_packed]
	topRows   = ".weight_top_rows"   // I32 [rows with eight bits], ascending
)

// topShare returns the Top of a matrix's scheme, from how many rows are stored with
// eight bits.
func (c *Checkpoint) topShare(m Module, s kernels.Scheme) (int, error) {
	t, ok := c.tensors[m.Name+topRows]
	if !ok {
		return 0, nil
	}
	if t.dtype == "I32" && len(t.shape) == 1 && t.shape[0] > 0 {
		for s.Top = 1; s.Validate() == nil; s.Top++ {
			if s.TopCount(m.Rows) == t.shape[0] {
				return s.Top, nil
			}
		}
	}
	return 0, fmt.Errorf("tensor %s: %w: %s %v are no whole per cent of the %d rows, or their codes do not have 4 bits", m.Name+topRows, ErrCorrupt, t.dtype, t.shape, m.Rows)
}

func unpackRows(data []byte) []int32 {
	var rows []int32
	for ; len(data) >= 4; data = data[4:] {
		rows = append(rows, int32(binary.LittleEndian.Uint32(data)))
	}
	return rows
}

// ints returns the bytes of an I32 matrix.
func (c *Checkpoint) ints(name string, rows, cols int) ([]byte, error) {
	t, ok := c.tensors[name]
	if !ok {
		return nil, fmt.Errorf("tensor %s: %w", name, ErrNotFound)
	}
	if t.dtype != "I32" || !slices.Equal(t.shape, []int{rows, cols}) {
		return nil, fmt.Errorf("tensor %s: %w: it is %s %v, not I32 [%d %d]", name, ErrCorrupt, t.dtype, t.shape, rows, cols)
	}
	return t.data, nil
}

// scales returns a float matrix as the bits of a type. Scales of another one must have
// exact values in it, because the kernels hold that.
func (c *Checkpoint) scales(name string, rows, groups int, as kernels.DType) ([]uint16, error) {
	t, err := c.Tensor(name)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(t.Shape, []int{rows, groups}) {
		return nil, fmt.Errorf("tensor %s: %w: it is %v, not [%d %d]", name, ErrCorrupt, t.Shape, rows, groups)
	}
	if t.DType == as && uintptr(unsafe.Pointer(unsafe.SliceData(t.Data)))%2 == 0 {
		return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(t.Data))), rows*groups), nil // as it is mapped
	}
	values := t.Floats()
	out, i := halves(values, as)
	if i >= 0 {
		return nil, fmt.Errorf("tensor %s: %w: scale %g has no exact %s value", name, ErrUnsupported, values[i], as)
	}
	return out, nil
}

// halves returns values as the bits of a type of 16, and the index of the first that
// the type does not hold, -1 if it holds all.
func halves(values []float32, as kernels.DType) ([]uint16, int) {
	data := make([]byte, 2*len(values))
	kernels.EncodeFloats(data, values, as)
	back := make([]float32, len(values))
	kernels.DecodeFloats(back, data, as)
	out := make([]uint16, len(values))
	for i, v := range values {
		if back[i] != v {
			return nil, i
		}
		out[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return out, -1
}

// unpackZeros spreads zero points, which compressed-tensors packs along the
// rows: row r is field r%per of word [r/per][group].
func unpackZeros(data []byte, rows, groups, bits int) []uint8 {
	per, out := 32/bits, make([]uint8, rows*groups)
	for r := range rows {
		for g := range groups {
			word := binary.LittleEndian.Uint32(data[4*(r/per*groups+g):])
			out[r*groups+g] = uint8(word >> (bits * (r % per)) & (1<<bits - 1))
		}
	}
	return out
}

func packZeros(zeros []uint8, rows, groups, bits int) []byte {
	per := 32 / bits
	out := make([]byte, (rows+per-1)/per*groups*4)
	for r := range rows {
		for g := range groups {
			at := out[4*(r/per*groups+g):]
			word := binary.LittleEndian.Uint32(at) | uint32(zeros[r*groups+g])<<(bits*(r%per))
			binary.LittleEndian.PutUint32(at, word)
		}
	}
	return out
}
