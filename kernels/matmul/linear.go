package matmul

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"nibble/kernels/format"
	"nibble/kernels/memory"
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

// Linear is a prepared weight matrix of N outputs and K inputs. It is immutable
// and safe for concurrent use.
type Linear struct {
	n, k   int
	format string
	scheme format.Scheme // of quantized weights

	// One of the two forms is set.
	float []byte // row-major elements of dtype, often mapped from a file
	dtype number.DType
	Quant *format.Packed

	top     *Linear // the further codes of rows that have eight bits; nil if none has
	topRows []int32
}

// NewFloatLinear wraps row-major little-endian weights without copying them;
// data must stay valid and unchanged as long as the Linear is used.
func NewFloatLinear(n, k int, dt number.DType, data []byte) (*Linear, error) {
	if n <= 0 || k <= 0 || k > math.MaxInt/n/4 || len(data) != n*k*dt.Size() {
		return nil, fmt.Errorf("%s matrix of %d x %d: got %d bytes", dt, n, k, len(data))
	}
	return &Linear{n: n, k: k, format: strings.ToLower(dt.String()), float: data, dtype: dt}, nil
}

// NewMatrixLinear wraps float32 weights without copying them; they must stay
// unchanged as long as the Linear is used. The matrix may have no gaps.
func NewMatrixLinear(m vector.Matrix) (*Linear, error) {
	if m.Stride != m.Cols || len(m.Data) != m.Rows*m.Cols {
		return nil, fmt.Errorf("matrix of %d x %d: %d elements with %d between rows", m.Rows, m.Cols, len(m.Data), m.Stride)
	}
	return NewFloatLinear(m.Rows, m.Cols, number.F32, number.Bytes(m.Data))
}

// NewQuantLinear packs a quantized tensor for the kernels. The tensor is not
// kept.
func NewQuantLinear(q *format.QTensor) (*Linear, error) { return NewQuantLinearIn(nil, q) }

// NewQuantLinearIn is NewQuantLinear with PackedBytes of an arena's memory.
func NewQuantLinearIn(a *memory.Arena, q *format.QTensor) (*Linear, error) {
	p, err := format.Pack(q, a)
	if err != nil {
		return nil, err
	}
	l := &Linear{n: q.Rows, k: q.Cols, format: q.Scheme.String(), scheme: q.Scheme, Quant: p}
	if t := q.TopTensor(); t != nil {
		l.topRows = slices.Clone(q.TopRows)
		if l.top, err = NewQuantLinearIn(a, t); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// N returns the number of outputs.
func (l *Linear) N() int { return l.n }

// K returns the number of inputs.
func (l *Linear) K() int { return l.k }

// Quantized reports whether the weights are INT4 or INT8.
func (l *Linear) Quantized() bool { return l.Quant != nil }

// Format names how the weights are stored: "f32", "f16", "bf16" or a scheme
// such as "w4 g32 sym".
func (l *Linear) Format() string { return l.format }

// Scheme returns how the weights are quantized, if they are.
func (l *Linear) Scheme() (format.Scheme, bool) {
	if l.Quant == nil {
		return format.Scheme{}, false
	}
	return l.scheme, true
}

// Bytes returns the size of the weights in memory as the kernels read them.
func (l *Linear) Bytes() int64 {
	if l.Quant != nil {
		n := l.Quant.Bytes()
		if l.top != nil {
			n += l.top.Bytes()
		}
		return n
	}
	return int64(len(l.float))
}

// floatRows views weights that are floats.
func (l *Linear) floatRows() floatRows { return floatRows{l.float, l.dtype, l.k} }

// Row writes row r, dequantized, to dst: an embedding lookup.
func (l *Linear) Row(dst []float32, r int) {
	if l.Quant != nil {
		l.Quant.Row(dst, r)
		if i, ok := slices.BinarySearch(l.topRows, int32(r)); ok {
			further := make([]float32, l.k)
			l.top.Row(further, i)
			for c, v := range further {
				dst[c] += v
			}
		}
		runtime.KeepAlive(l)
		return
	}
	size := l.k * l.dtype.Size()
	number.DecodeFloats(dst[:l.k], l.float[r*size:], l.dtype)
}
