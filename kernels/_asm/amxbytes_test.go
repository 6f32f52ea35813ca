package main

import (
	"bytes"
	"testing"
)

// The bytes are what GNU as gives, with displacements of four bytes.
func TestAMXBytes(t *testing.T) {
	for line, want := range map[string][]byte{
		"LDTILECFG (AX)":                {0xc4, 0xe2, 0x78, 0x49, 0x84, 0x20, 0, 0, 0, 0},
		"LDTILECFG 64(R11)":             {0xc4, 0xc2, 0x78, 0x49, 0x84, 0x23, 0x40, 0, 0, 0},
		"TILERELEASE":                   {0xc4, 0xe2, 0x78, 0x49, 0xc0},
		"TILELOADD (SI)(CX*1), $0x05":   {0xc4, 0xe2, 0x7b, 0x4b, 0xac, 0x0e, 0, 0, 0, 0},
		"TILELOADD 768(R13)(R9*1), $6":  {0xc4, 0x82, 0x7b, 0x4b, 0xb4, 0x0d, 0x00, 0x03, 0, 0},
		"TILELOADD (BP)(CX*1), $6":      {0xc4, 0xe2, 0x7b, 0x4b, 0xb4, 0x0d, 0, 0, 0, 0},
		"TILESTORED $1, 1024(DI)(R8*1)": {0xc4, 0xa2, 0x7a, 0x4b, 0x8c, 0x07, 0, 0x04, 0, 0},
		"TILESTORED $1, -8(DI)(R8*1)":   {0xc4, 0xa2, 0x7a, 0x4b, 0x8c, 0x07, 0xf8, 0xff, 0xff, 0xff},
		"TILEZERO $3":                   {0xc4, 0xe2, 0x7b, 0x49, 0xd8},
		"TDPBSSD $6, $5, $1":            {0xc4, 0xe2, 0x4b, 0x5e, 0xcd},
		"TDPBSSD $7, $4, $0":            {0xc4, 0xe2, 0x43, 0x5e, 0xc4},
		"VPDPBUSD Z1, Z2, Z3":           nil,
		"":                              nil,
	} {
		if got, err := amxBytes(line); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: % x (%v), want % x", line, got, err, want)
		}
	}
	for _, line := range []string{"TILEZERO $8", "TILELOADD (SI)(SP*1), $1", "TILELOADD (XX)(CX*1), $1", "TDPBSSD $1, AX, $2"} {
		if code, err := amxBytes(line); err == nil {
			t.Errorf("%s: encoded as % x, want an error", line, code)
		}
	}
}
