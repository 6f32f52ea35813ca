package main

import (
	"fmt"
	"regexp"
	"strconv"
)

// Go's assembler encodes VPDPBUSD on 256 bits only in its AVX-512 form, which
// faults on CPUs that have AVX-VNNI without AVX-512. Spelled out are the bytes of
// the VEX form. Assembled with -D EVEX the file keeps the AVX-512 form, so
// that a CPU with AVX-512 VNNI alone can test everything around the instruction.
var ymmVPDPBUSD = regexp.MustCompile(`^VPDPBUSD Y(\d+), Y(\d+), Y(\d+)$`)

const vexMacro = `
// VPDPBUSD_VEX is VPDPBUSD s, u, d in the VEX encoding that the bytes spell.
#ifdef EVEX
#define VPDPBUSD_VEX(s, u, d, b0, b1, b2, b3, b4) VPDPBUSD s, u, d
#else
#define VPDPBUSD_VEX(s, u, d, b0, b1, b2, b3, b4) BYTE $b0; BYTE $b1; BYTE $b2; BYTE $b3; BYTE $b4
#endif
`

// vexLine turns one instruction into its macro call.
func vexLine(op string) (string, error) {
	m := ymmVPDPBUSD.FindStringSubmatch(op)
	if m == nil {
		return "", fmt.Errorf("%q: its operands are not three registers", op)
	}
	var regs [3]int
	for i := range regs {
		regs[i], _ = strconv.Atoi(m[i+1]) // digits by the pattern
		if regs[i] > 15 {
			return "", fmt.Errorf("%q uses Y%d, which VEX cannot name", op, regs[i])
		}
	}
	out := fmt.Sprintf("VPDPBUSD_VEX(Y%d, Y%d, Y%d", regs[0], regs[1], regs[2])
	for _, b := range vexVPDPBUSD(regs[0], regs[1], regs[2]) {
		out += fmt.Sprintf(", 0x%02x", b)
	}
	return out + ")", nil
}

// vexVPDPBUSD encodes VPDPBUSD with signed bytes in register rm, unsigned ones
// in v, and sums in r: VEX.256.66.0F38.W0 50 /r (Intel SDM, volume 2).
func vexVPDPBUSD(rm, v, r int) [5]byte {
	inv := func(n int) byte { return byte(n>>3&1) ^ 1 }
	return [5]byte{
		0xc4,
		inv(r)<<7 | 1<<6 | inv(rm)<<5 | 0x02, // R X B, map 0F38
		byte(^v&15)<<3 | 1<<2 | 0x01,         // W=0, vvvv, L=256, prefix 66
		0x50,
		0xc0 | byte(r&7)<<3 | byte(rm&7),
	}
}
