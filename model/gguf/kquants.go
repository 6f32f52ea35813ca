package gguf

// K-quants are blocks of 256 values in groups of 16 or 32. A group has a small whole
// scale, and in some types a minimum, of which the block's F16 values are the unit.

// sixBits unpacks the eight scales and minimums of Q4_K and Q5_K. Those of the first
// four groups are the low six bits of a byte, the others are four bits and the two
// that the first leave.
func sixBits(packed []byte, g int) (scale, min int) {
	if g < 4 {
		return int(packed[g] & 63), int(packed[g+4] & 63)
	}
	return int(packed[g+4]&15 | packed[g-4]>>6<<4), int(packed[g+4]>>4 | packed[g]>>6<<4)
}

// decodeQ2_K: 16 bytes of scale and minimum, 64 of codes, F16 d, F16 unit of minimums.
func decodeQ2_K(dst []float32, src []byte) {
	codes, d, unit := src[16:80], half(src[80:]), half(src[82:])
	for g := range 16 {
		scale, min := d*float32(src[g]&15), unit*float32(src[g]>>4)
		for i := range 16 {
			v := scale * float32(twoBits(codes, g, i))
			dst[16*g+i] = v - min
		}
	}
}

// twoBits returns code i of group g of 16: a byte holds one of each 32 that follow
// each other among 128.
func twoBits(codes []byte, g, i int) int {
	return int(codes[g/8*32+g%2*16+i] >> (2 * (g / 2 % 4)) & 3)
}

// decodeQ3_K: 32 bytes of third bits, 64 of codes, scales of six bits, F16 d.
func decodeQ3_K(dst []float32, src []byte) {
	d := half(src[108:])
	for g := range 16 {
		scale := d * float32(q3Scale(src[96:108], g))
		for i := range 16 {
			dst[16*g+i] = scale * float32(q3Code(src, g, i))
		}
	}
}

// q3Scale unpacks the scale of a group: four bits, then two.
func q3Scale(packed []byte, g int) int {
	low, high := packed[g%8]>>(4*(g/8))&15, packed[8+g%4]>>(2*(g/4))&3
	return int(low|high<<4) - 32
}

// q3Code returns code i of group g, -4 to 3.
func q3Code(src []byte, g, i int) int {
	return (twoBits(src[32:96], g, i) | int(src[g%2*16+i]>>(g/2)&1)<<2) - 4
}

// decodeQ4_K: F16 d, F16 unit of minimums, 12 bytes of scales, codes; a byte holds
// one of a group low and of the next high.
func decodeQ4_K(dst []float32, src []byte) {
	d, unit, codes := half(src), half(src[2:]), src[16:]
	for g := range 8 {
		s, m := sixBits(src[4:16], g)
		scale, min := d*float32(s), unit*float32(m)
		for i := range 32 {
			v := scale * float32(codes[g/2*32+i]>>(4*(g%2))&15)
			dst[32*g+i] = v - min
		}
	}
}

// decodeQ5_K is Q4_K with 32 bytes of fifth bits before the codes.
func decodeQ5_K(dst []float32, src []byte) {
	d, unit, fifths, codes := half(src), half(src[2:]), src[16:48], src[48:]
	for g := range 8 {
		s, m := sixBits(src[4:16], g)
		scale, min := d*float32(s), unit*float32(m)
		for i := range 32 {
			v := scale * float32(codes[g/2*32+i]>>(4*(g%2))&15|fifths[i]>>g&1<<4)
			dst[32*g+i] = v - min
		}
	}
}

// decodeQ6_K: 128 bytes of low bits, 64 of high ones, 16 scales, F16 d.
func decodeQ6_K(dst []float32, src []byte) {
	scales, d := src[192:208], half(src[208:])
	for c := range dst {
		dst[c] = d * float32(int8(scales[c/16])) * float32(int(sixBitCode(src, c))-32)
	}
}

// sixBitCode returns code c of a block of Q6_K: of 128, each 32 have their bits
// elsewhere.
func sixBitCode(src []byte, c int) byte {
	part, at := c/32%4, c/128
	return src[64*at+part%2*32+c%32]>>(4*(part/2))&15 | src[128+32*at+c%32]>>(2*part)&3<<4
}

// decodeNVFP4: scales of four groups of 16, floats of eight bits without a sign, then
// codes of four.
func decodeNVFP4(dst []float32, src []byte) {
	for g := range 4 {
		scale := ue4m3(src[g])
		for i, c := range src[4+8*g:][:8] {
			dst[16*g+i], dst[16*g+8+i] = float32(FP4Values[c&15])*scale, float32(FP4Values[c>>4])*scale
		}
	}
}

// ue4m3 reads a float of four bits of exponent and three of fraction, without a sign:
// all ones is no number, and counts as 0.
func ue4m3(b byte) float32 {
	exponent, fraction := int(b>>3&15), float32(b&7)
	switch {
	case b == 0x7f:
		return 0
	case exponent == 0:
		return fraction / 512
	}
	return (1 + fraction/8) * float32(uint32(1)<<exponent) / 128
}
