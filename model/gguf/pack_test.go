package gguf

import (
	"bytes"
	"testing"

	"nibble/kernels"
)

// What is packed has the values that decoding gives, bit for bit.
func TestPackedBlocks(t *testing.T) {
	n, encoded := 0, 0
	for typ := range knownTypes {
		const rows, blocks = 3, 8
		s, ok := typ.Scheme()
		if !ok {
			continue
		}
		n++
		q, err := kernels.NewQTensor(rows, blocks*typ.Block(), s)
		if err != nil {
			t.Fatal(err)
		}
		size := typ.RowBytes(q.Cols)
		raw := pseudoBlocks(rows*blocks, size/blocks)
		if typ == MXFP4 {
			raw[0], raw[17] = 0, 255 // the least and the largest scale
			raw[18] = 0x12           // which 4-bit floats of more than 1.5 pass
			for i := range 16 {
				raw[18+i] &= 0x33
			}
		}
		want, got := make([]float32, q.Cols), make([]float32, q.Cols)
		for r := range rows {
			if err := PackRow(q, r, raw[r*size:][:size], typ); err != nil {
				t.Fatal(err)
			}
			if err := DecodeRow(want, raw[r*size:][:size], typ); err != nil {
				t.Fatal(err)
			}
			q.DequantRow(got, r)
			for i, v := range want {
				if got[i] != v {
					t.Fatalf("%s: value %d of row %d is %g, want %g", typ, i, r, got[i], v)
				}
			}
		}
		if own, is := OwnType(s); is && own == typ {
			back := make([]byte, size)
			for r := range rows {
				if err := EncodeQuant(back, q, r, typ); err != nil || !bytes.Equal(back, raw[r*size:][:size]) {
					t.Errorf("%s: row %d is written as other bytes (%v)", typ, r, err)
				}
			}
			encoded++
		}
		if err := q.Validate(); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		if PackRow(q, 0, raw[:size-1], typ) == nil {
			t.Errorf("%s: a short row is taken", typ)
		}
	}
	if n < 13 || encoded < 7 {
		t.Errorf("%d types are packed, %d written back", n, encoded)
	}
}
