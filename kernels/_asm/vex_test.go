package main

import "testing"

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
	const want = "VPDPBUSD_VEX(Y8, Y1, Y0, 0xc4, 0xc2, 0x75, 0x50, 0xc0)"
	if got := vexLine("VPDPBUSD     Y8, Y1, Y0"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
