package number

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels/kerneltest"
)

func bytesOf(x []float32, dt DType) []byte {
	var b []byte
	for _, v := range x {
		switch dt {
		case F32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		case F16:
			b = binary.LittleEndian.AppendUint16(b, F32ToF16(v))
		case BF16:
			b = binary.LittleEndian.AppendUint16(b, F32ToBF16(v))
		}
	}
	return b
}

func TestHalfPrecision(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := F16ToF32(h)
		if f != f {
			if b := F16ToF32(F32ToF16(f)); b == b {
				t.Fatalf("NaN %#04x became %g", h, b)
			}
			continue
		}
		if back := F32ToF16(f); back != h {
			t.Fatalf("%#04x is %g, which became %#04x", h, f, back)
		}
		if b := BF16ToF32(h); b == b && F32ToBF16(b) != h {
			t.Fatalf("BF16 %#04x does not round-trip", h)
		}
	}
	for f, want := range map[float32]uint16{65504: 0x7bff, 65519: 0x7bff, 65520: 0x7c00, 1e30: 0x7c00, -1e30: 0xfc00,
		1 + 1.0/2048: 0x3c00, 1 + 3.0/2048: 0x3c02, 1.0 / (1 << 25): 0, 3.0 / (1 << 25): 2} {
		if got := F32ToF16(f); got != want {
			t.Errorf("%g became %#04x, want %#04x", f, got, want)
		}
	}
}

// Rounding takes the nearest value there is, the even one of two, for numbers of all
// sizes; encoding and rounding say the same.
func TestRounding(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for _, c := range []struct {
		dt    DType
		round func(float32) uint16
		exact func(uint16) float32
		top   float64 // where infinity would be
	}{{F16, F32ToF16, F16ToF32, 1 << 16}, {BF16, F32ToBF16, BF16ToF32, 0x1p128}} {
		value := func(h uint16) float64 { return max(-c.top, min(c.top, float64(c.exact(h)))) }
		for range 20000 {
			v := math.Float32frombits(rng.Uint32())
			if c.dt == F16 || rng.IntN(2) == 0 {
				v = float32(math.Ldexp(rng.Float64()-0.5, rng.IntN(48)-28))
			}
			h := uint16(rng.Uint32()) // between a value and the next, often in the middle
			if rng.IntN(2) == 0 {
				v = float32((value(h) + value(h+1)) / 2)
			}
			if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
				continue
			}
			got := c.round(v)
			for _, other := range []uint16{got - 1, got + 1} {
				near, far := math.Abs(value(got)-float64(v)), math.Abs(value(other)-float64(v))
				if far < near || far == near && got&1 != 0 && value(got) != value(other) {
					t.Fatalf("%s: %g became %#04x, %g; %#04x, %g, is right", c.dt, v, got, value(got), other, value(other))
				}
			}
		}
	}
	x := append(kerneltest.Normals(rng, 37), 0, float32(math.Inf(1)), -1e-40, 3e38)
	for _, dt := range []DType{F32, F16, BF16} {
		encoded, decoded, rounded := make([]byte, len(x)*dt.Size()), make([]float32, len(x)), slices.Clone(x)
		EncodeFloats(encoded, x, dt)
		if !slices.Equal(encoded, bytesOf(x, dt)) {
			t.Errorf("%s: encoded as % x", dt, encoded)
		}
		DecodeFloats(decoded, encoded, dt)
		RoundFloats(rounded, dt)
		kerneltest.SameBits(t, "rounded "+dt.String(), rounded, decoded)
	}
}
