package main

import (
	"strings"
	"testing"
)

// The bytes are what GNU as gives for "{vex} vpdpbusd %ymmS, %ymmU, %ymmD".
func TestVEX(t *testing.T) {
	for _, c := range []struct {
		s, u, d int
		want    [5]byte
	}{
		{2, 1, 0, [5]byte{0xc4, 0xe2, 0x75, 0x50, 0xc2}},
		{8, 1, 0, [5]byte{0xc4, 0xc2, 0x75, 0x50, 0xc0}},
		{2, 9, 0, [5]byte{0xc4, 0xe2, 0x35, 0x50, 0xc2}},
		{2, 1, 10, [5]byte{0xc4, 0x62, 0x75, 0x50, 0xd2}},
		{15, 14, 13, [5]byte{0xc4, 0x42, 0x0d, 0x50, 0xef}},
		{7, 8, 15, [5]byte{0xc4, 0x62, 0x3d, 0x50, 0xff}},
	} {
		if got := vexVPDPBUSD(c.s, c.u, c.d); got != c.want {
			t.Errorf("Y%d, Y%d, Y%d: % x, want % x", c.s, c.u, c.d, got, c.want)
		}
	}
}

func TestSpelled(t *testing.T) {
	const avxvnni, avx2, avx512 = "\nTEXT ·mulAVXVNNIx1(SB), NOSPLIT, $0-8\n", "\nTEXT ·addAVX2(SB), NOSPLIT, $0-8\n", "\nTEXT ·mulAVX512VNNIx1(SB), NOSPLIT, $0-8\n"
	for _, c := range []struct{ text, want, err string }{
		{text: avxvnni + "\tVPDPBUSD     Y8, Y1, Y0\n", want: "\n\tPCALIGN $64\n\tVPDPBUSD_VEX(Y8, Y1, Y0, 0xc4, 0xc2, 0x75, 0x50, 0xc0)\n"},
		{text: "\nTEXT ·peakAMX(SB), NOSPLIT, $0-8\n\tTILERELEASE\n", want: "\tBYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0xc0; // TILERELEASE\n"},
		{text: avx512 + "\tVMOVUPS.Z (AX), K1, Z17\n", want: "\tVMOVUPS.Z (AX), K1, Z17\n"},
		{text: avx2 + "\tVMOVUPS Y15, (AX)\nshort:\n", want: "\tVMOVUPS Y15, (AX)\nshort:\n"},
		{text: avxvnni + "\tVPDPBUSD Y16, Y1, Y0\n", err: `mulAVXVNNIx1: "VPDPBUSD Y16, Y1, Y0" uses Y16, which AVXVNNI cannot name`},
		{text: avxvnni + "\tVPBROADCASTD (AX), Y16\n", err: `mulAVXVNNIx1: "VPBROADCASTD (AX), Y16" uses Y16, which AVXVNNI cannot name`},
		{text: avx2 + "\tVMOVUPS X31, (AX)\n", err: "uses X31, which AVX2 cannot name"},
		{text: avx2 + "\tVMOVUPS Z0, (AX)\n", err: "uses Z0"},
		{text: avx2 + "\tKMOVW K1, AX\n", err: "uses K1"},
		{text: avx2 + "\tVADDPS.BCST (AX), Y0, Y0\n", err: "has a suffix, which AVX2 cannot express"},
		{text: avx2 + "\tVPDPBUSD Y2, Y1, Y0\n", err: `addAVX2: "VPDPBUSD Y2, Y1, Y0" is of AVX-VNNI, which AVX2 does not have`},
		{text: avx512 + "\tVPDPBUSD Y2, Y1, Y0\n", err: "is of AVX-VNNI, which AVX512 does not have"},
		{text: avxvnni + "\tVPDPBUSD (AX), Y1, Y0\n", err: "its operands are not three registers"},
		{text: avx512 + "\tTILERELEASE\n", err: "is of AMX, which AVX512 does not have"},
		{text: "\nTEXT ·add(SB), NOSPLIT, $0-8\n", err: "add: its name has none of the instruction sets AMX, AVX512, AVXVNNI, AVX2"},
	} {
		got, err := spelled(c.text)
		if c.err == "" && (err != nil || !strings.HasSuffix(got, c.want)) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: got %q, %v; want %q, %s", c.text, got, err, c.want, c.err)
		}
	}
}
