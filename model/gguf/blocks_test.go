package gguf

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels"
)

// randomQuant fills a matrix with every code, and with scales of either sign,
// normal and subnormal.
func randomQuant(t *testing.T, rows, cols int, s kernels.Scheme) *kernels.QTensor {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(rows*cols)))
	q, err := kernels.NewQTensor(rows, cols, s)
	if err != nil {
		t.Fatal(err)
	}
	for r := range rows {
		for c := range cols {
			q.SetCode(r, c, uint8(rng.IntN(s.MaxCode()+1)))
		}
	}
	for i := range q.Scales {
		scale := rng.NormFloat64() * math.Pow(10, float64(rng.IntN(8)-7))
		q.Scales[i] = kernels.F32ToF16(float32(scale)) &^ 15 // minimums come out exact
	}
	for i := range q.Zeros {
		q.Zeros[i] = uint8(rng.IntN(s.MaxCode() + 1))
	}
	return q
}

// valueAt is the definition of the block types, one value at a time.
func valueAt(row []byte, col int, t Type) float64 {
	f16 := func(b []byte) float64 { return float64(kernels.F16ToF32(binary.LittleEndian.Uint16(b))) }
	b, i := col/32, col%32
	nibble := func(codes []byte) float64 {
		if i < 16 {
			return float64(codes[i] % 16)
		}
		return float64(codes[i-16] / 16)
	}
	switch t {
	case Q4_0:
		return f16(row[18*b:]) * (nibble(row[18*b+2:]) - 8)
	case Q4_1:
		return f16(row[20*b:])*nibble(row[20*b+4:]) + f16(row[20*b+2:])
	case Q8_0:
		return f16(row[34*b:]) * float64(int8(row[34*b+2+i]))
	}
	panic(t)
}

func TestQuantizedBlocks(t *testing.T) {
	for _, c := range []struct {
		bits int
		sym  bool
		t    Type
	}{{4, true, Q4_0}, {4, true, Q4_1}, {4, true, Q8_0}, {4, false, Q4_1}, {4, false, Q8_0}, {8, true, Q8_0}} {
		for _, group := range []int{32, 64, 128, 0} {
			for _, cols := range []int{32, 96, 256} { // 96: the last group of 64 or 128 is short
				s := kernels.Scheme{Bits: c.bits, Group: group, Sym: c.sym}
				q := randomQuant(t, 3, cols, s)
				want, got, raw := make([]float32, cols), make([]float32, cols), make([]byte, c.t.RowBytes(cols))
				for r := range q.Rows {
					if err := EncodeQuant(raw, q, r, c.t); err != nil {
						t.Fatalf("%s as %s: %v", s, c.t, err)
					}
					if err := DecodeRow(got, raw, c.t); err != nil {
						t.Fatal(err)
					}
					q.DequantRow(want, r)
					for i := range want {
						if got[i] != want[i] || valueAt(raw, i, c.t) != float64(want[i]) {
							t.Fatalf("%s as %s, %d columns: value %d of row %d is %g, by definition %g, want %g",
								s, c.t, cols, i, r, got[i], valueAt(raw, i, c.t), want[i])
						}
					}
				}
			}
		}
	}
}

func TestFloatRows(t *testing.T) {
	src := []float32{0, 1, -2.5, 1.0 / 3, 65504, 6e-8, 1e-30, float32(math.Copysign(0, -1))}
	for typ, round := range map[Type]func(float32) float32{
		F32:  func(v float32) float32 { return v },
		F16:  func(v float32) float32 { return kernels.F16ToF32(kernels.F32ToF16(v)) },
		BF16: func(v float32) float32 { return kernels.BF16ToF32(kernels.F32ToBF16(v)) },
	} {
		raw, got := make([]byte, typ.RowBytes(len(src))), make([]float32, len(src))
		if err := EncodeFloats(raw, src, typ); err != nil {
			t.Fatal(err)
		}
		if err := DecodeRow(got, raw, typ); err != nil {
			t.Fatal(err)
		}
		for i, v := range src {
			if math.Float32bits(got[i]) != math.Float32bits(round(v)) {
				t.Errorf("%s: %g became %g", typ, v, got[i])
			}
		}
	}
	if err := EncodeFloats(make([]byte, 2), []float32{65520}, F16); !errors.Is(err, ErrLayout) {
		t.Errorf("65520 as F16: %v", err)
	}
	if err := EncodeFloats(make([]byte, 2), []float32{math.MaxFloat32}, BF16); !errors.Is(err, ErrLayout) {
		t.Errorf("the largest float32 as BF16: %v", err)
	}
	if err := EncodeFloats(make([]byte, 18), make([]float32, 32), Q4_0); !errors.Is(err, ErrUnsupported) {
		t.Errorf("floats as Q4_0: %v", err)
	}
}

func TestCheckScheme(t *testing.T) {
	for _, c := range []struct {
		bits, group int
		sym         bool
		cols        int
		t           Type
		ok          bool
	}{
		{4, 32, true, 64, Q4_0, true},
		{4, 0, true, 4096, Q4_0, true},
		{4, 64, true, 96, Q4_0, true},
		{4, 32, true, 172, Q4_0, false}, // columns
		{4, 32, false, 64, Q4_0, false}, // zero points
		{8, 32, true, 64, Q4_0, false},
		{4, 32, false, 64, Q4_1, true},
		{8, 32, true, 64, Q4_1, false},
		{8, 32, true, 64, Q8_0, true},
		{8, 32, false, 64, Q8_0, false}, // 0 to 255 less any zero point
		{4, 128, false, 128, Q8_0, true},
		{4, 32, true, 64, F16, false},
	} {
		err := CheckScheme(kernels.Scheme{Bits: c.bits, Group: c.group, Sym: c.sym}, c.cols, c.t)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrLayout) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestExactMin(t *testing.T) {
	for _, c := range []struct {
		zero  uint8
		scale uint16
		exact bool
	}{{0, 0x3c01, true}, {8, 0x3c01, true}, {3, 0x3c00, true}, {3, 0x3c01, false}, {15, 0x7bff, false}, {1, 0x0001, true}, {7, 0x8003, true}} {
		m, exact := ExactMin(c.zero, c.scale)
		want := -float64(c.zero) * float64(kernels.F16ToF32(c.scale))
		if exact != c.exact || exact && float64(kernels.F16ToF32(m)) != want {
			t.Errorf("zero %d, scale %#x: minimum %#x, exact %v; want %g", c.zero, c.scale, m, exact, want)
		}
	}
	q, err := kernels.NewQTensor(1, 32, kernels.Scheme{Bits: 4, Group: 32})
	if err != nil {
		t.Fatal(err)
	}
	q.Scales[0], q.Zeros[0] = 0x7bff, 15
	if err := EncodeQuant(make([]byte, 20), q, 0, Q4_1); !errors.Is(err, ErrLayout) {
		t.Errorf("a minimum beyond F16: %v", err)
	}
}

func TestDecodeRowRefuses(t *testing.T) {
	for _, c := range []struct {
		values, bytes int
		t             Type
	}{{32, 17, Q4_0}, {33, 18, Q4_0}, {16, 18, Q4_0}, {1, 3, F32}, {256, 66, Type(16)}} {
		if err := DecodeRow(make([]float32, c.values), make([]byte, c.bytes), c.t); err == nil {
			t.Errorf("%d values from %d bytes of %s", c.values, c.bytes, c.t)
		}
	}
}

// A block of MXFP4 has its exponent first; byte j holds values j and j + 16.
func TestDecodeMXFP4(t *testing.T) {
	src := make([]byte, 17)
	src[0], src[1], src[16] = 128, 0x71, 0xf8 // twice .5 and 6, and 0 and -6
	dst := make([]float32, 32)
	if err := DecodeRow(dst, src, MXFP4); err != nil {
		t.Fatal(err)
	}
	want := make([]float32, 32)
	want[0], want[16], want[31] = 1, 12, -12
	if !slices.Equal(dst, want) {
		t.Error(dst)
	}
}
