package gguf

import (
	"errors"
	"fmt"
	"math"

	"nibble/kernels"
)

// The kinds of failure a caller may want to tell apart.
var (
	ErrCorrupt     = errors.New("GGUF file is corrupt")
	ErrTruncated   = errors.New("GGUF file is truncated")
	ErrUnsupported = errors.New("GGUF feature not supported")
	ErrLayout      = errors.New("GGUF cannot hold this")
)

// Alignment is that of every tensor's data in the files nibble writes, and the
// format's default.
const Alignment = 32

// Type is the storage type of a tensor, numbered as in ggml.h.
type Type uint32

// The types that have names here. Values of block types are held in blocks along a
// row: of 32, Q4_0 is (code-8)*d, Q4_1 is code*d + m and Q8_0 is code*d, with F16 d and
// m; IQ4_NL is table[code]*d, and MXFP4 has 4-bit floats and a power of two.
const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q4_K   Type = 12
	Q5_K   Type = 13
	Q6_K   Type = 14
	IQ4_NL Type = 20
	IQ4_XS Type = 23
	BF16   Type = 30
	TQ1_0  Type = 34
	TQ2_0  Type = 35
	MXFP4  Type = 39
	NVFP4  Type = 40
)

// traits describe a type: the values and the bytes of one block, and how the values of a
// row follow from its bytes, nil where that is not known here, and which quantized
// matrix holds them, nil for none.
type traits struct {
	name          string
	values, bytes int
	decode        func(dst []float32, src []byte, t traits)
	pack          *packing
}

// knownTypes holds every type of ggml.h, so that files with tensors of types
// that nibble does not decode can still be listed.
var knownTypes = map[Type]traits{
	F32:    {"F32", 1, 4, floats(kernels.F32), nil},
	F16:    {"F16", 1, 2, floats(kernels.F16), nil},
	Q4_0:   {"Q4_0", 32, 18, blocks(decodeQ4_0), &packing{sym4, packNibbles}},
	Q4_1:   {"Q4_1", 32, 20, blocks(decodeQ4_1), &packing{mins4, packQ4_1}},
	Q5_0:   {"Q5_0", 32, 22, blocks(decodeQ5_0), &packing{sym5, packQ5_0}},
	Q5_1:   {"Q5_1", 32, 24, blocks(decodeQ5_1), &packing{mins5, packQ5_1}},
	Q8_0:   {"Q8_0", 32, 34, blocks(decodeQ8_0), &packing{sym8, packQ8_0}},
	9:      {"Q8_1", 32, 36, nil, nil},
	10:     {"Q2_K", 256, 84, blocks(decodeQ2_K), nil},
	11:     {"Q3_K", 256, 110, blocks(decodeQ3_K), &packing{super6, packQ3_K}},
	Q4_K:   {"Q4_K", 256, 144, blocks(decodeQ4_K), &packing{super4, packQ4_K}},
	Q5_K:   {"Q5_K", 256, 176, blocks(decodeQ5_K), &packing{super5, packQ5_K}},
	Q6_K:   {"Q6_K", 256, 210, blocks(decodeQ6_K), &packing{super6, packQ6_K}},
	15:     {"Q8_K", 256, 292, blocks(decodeQ8_K), nil},
	16:     {"IQ2_XXS", 256, 66, nil, nil},
	17:     {"IQ2_XS", 256, 74, nil, nil},
	18:     {"IQ3_XXS", 256, 98, nil, nil},
	19:     {"IQ1_S", 256, 50, nil, nil},
	IQ4_NL: {"IQ4_NL", 32, 18, blocks(decodeIQ4_NL), &packing{nonLinear4, packNibbles}},
	21:     {"IQ3_S", 256, 110, nil, nil},
	22:     {"IQ2_S", 256, 82, nil, nil},
	IQ4_XS: {"IQ4_XS", 256, 136, blocks(decodeIQ4_XS), &packing{superNL, packIQ4_XS}},
	24:     {"I8", 1, 1, nil, nil},
	25:     {"I16", 1, 2, nil, nil},
	26:     {"I32", 1, 4, nil, nil},
	27:     {"I64", 1, 8, nil, nil},
	28:     {"F64", 1, 8, nil, nil},
	29:     {"IQ1_M", 256, 56, nil, nil},
	BF16:   {"BF16", 1, 2, floats(kernels.BF16), nil},
	TQ1_0:  {"TQ1_0", 256, 54, blocks(decodeTQ1_0), &packing{ternary, packTernary(decodeTQ1_0, 52)}},
	TQ2_0:  {"TQ2_0", 256, 66, blocks(decodeTQ2_0), &packing{ternary, packTernary(decodeTQ2_0, 64)}},
	MXFP4:  {"MXFP4", 32, 17, blocks(decodeMXFP4), &packing{fp4, packMXFP4}},
	NVFP4:  {"NVFP4", 64, 36, blocks(decodeNVFP4), nil},
	41:     {"Q1_0", 128, 18, nil, nil},
}

// String returns ggml's spelling, such as "Q4_0".
func (t Type) String() string {
	if tr, ok := knownTypes[t]; ok {
		return tr.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Block returns the values that are stored together; a row is a whole number of
// blocks.
func (t Type) Block() int { return knownTypes[t].values }

// Decodable reports whether DecodeRow knows the type.
func (t Type) Decodable() bool { return knownTypes[t].decode != nil }

// RowBytes returns the bytes of a row of n values.
func (t Type) RowBytes(n int) int {
	tr := knownTypes[t]
	if tr.values == 0 {
		return 0
	}
	return n / tr.values * tr.bytes
}

// maxDims is GGML_MAX_DIMS.
const maxDims = 4

// maxName is GGML_MAX_NAME less its terminating zero.
const maxName = 63

// Tensor describes one tensor of a file.
type Tensor struct {
	Name   string
	Type   Type
	Dims   []uint64 // 1 to 4; the first is the length of a row
	Offset int64    // of the data, from the start of the file
	Size   int64    // bytes of the data, without padding
}

// Cols returns the length of a row.
func (t Tensor) Cols() int { return int(t.Dims[0]) }

// Rows returns how many rows there are in all.
func (t Tensor) Rows() int {
	n := 1
	for _, d := range t.Dims[1:] {
		n *= int(d)
	}
	return n
}

// size checks the dimensions and returns the bytes of the data.
func (t Tensor) size() (int64, error) {
	tr, ok := knownTypes[t.Type]
	if !ok {
		return 0, fmt.Errorf("%w: tensor %q has %s", ErrUnsupported, t.Name, t.Type)
	}
	if len(t.Dims) < 1 || len(t.Dims) > maxDims {
		return 0, fmt.Errorf("%w: tensor %q has %d dimensions, not 1 to %d", ErrCorrupt, t.Name, len(t.Dims), maxDims)
	}
	n := uint64(1)
	for _, d := range t.Dims {
		if d == 0 || d > math.MaxInt64/uint64(tr.bytes)/n {
			return 0, fmt.Errorf("%w: tensor %q has dimensions %v", ErrCorrupt, t.Name, t.Dims)
		}
		n *= d
	}
	if t.Dims[0]%uint64(tr.values) != 0 {
		return 0, fmt.Errorf("%w: tensor %q: a row of %d values is no multiple of the %d that a %s block holds", ErrLayout, t.Name, t.Dims[0], tr.values, t.Type)
	}
	return int64(n / uint64(tr.values) * uint64(tr.bytes)), nil
}

// align rounds an offset up to a multiple of a.
func align(n, a int64) int64 { return (n + a - 1) / a * a }
