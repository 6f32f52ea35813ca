package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// roundKernels generates the rounding of groups of weights; see round.go.
func roundKernels() {
	TEXT("extentAVX2", NOSPLIT, "func(x *float32, n int) (lo float32, hi float32)")
	Doc("extentAVX2 returns the least and the largest of x and 0; n is a positive multiple of 8.")
	Pragma("noescape")
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	lo, hi := YMM(), YMM()
	VXORPS(lo, lo, lo)
	VXORPS(hi, hi, hi)
	each(n, func() {
		v := YMM()
		VMOVUPS(operand.Mem{Base: x}, v)
		VMINPS(lo, v, lo) // a NaN in v leaves lo as it is
		VMAXPS(hi, v, hi)
	}, x)
	reduce := func(v reg.VecVirtual, op func(...operand.Op)) reg.VecVirtual {
		h, k := XMM(), XMM()
		VEXTRACTF128(operand.Imm(1), v, h)
		op(v.AsX(), h, h)
		VPSRLDQ(operand.Imm(8), h, k)
		op(k, h, h)
		VPSRLDQ(operand.Imm(4), h, k)
		op(k, h, h)
		return h
	}
	least := reduce(lo, func(ops ...operand.Op) { VMINPS(ops[0], ops[1], ops[2]) })
	largest := reduce(hi, func(ops ...operand.Op) { VMAXPS(ops[0], ops[1], ops[2]) })
	VZEROUPPER()
	Store(least, ReturnIndex(0))
	Store(largest, ReturnIndex(1))
	RET()

	for _, bits := range []int{4, 8} {
		roundGroup(bits)
	}
}

// roundGroup generates the codes of n weights and the sums over them.
func roundGroup(bits int) {
	name := fmt.Sprintf("roundGroup%dAVX2", bits)
	TEXT(name, NOSPLIT, "func(dst *byte, x *float32, n int, scale float64, zero float64, low float64, high float64, sums *float64)")
	Doc(fmt.Sprintf("%s stores %d-bit codes and adds to the three sums of four lanes; n is a positive multiple of 8, scale is not 0.", name, bits))
	Pragma("noescape")
	dst, x, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	sums := Load(Param("sums"), GP64())
	broadcast := func(param string) reg.VecVirtual {
		v := YMM()
		VBROADCASTSD(paramAt(param), v)
		return v
	}
	scale, zero, low, high := broadcast("scale"), broadcast("zero"), broadcast("low"), broadcast("high")
	err, energy, worst := YMM(), YMM(), YMM()
	VMOVUPD(operand.Mem{Base: sums}, err)
	VMOVUPD(operand.Mem{Base: sums, Disp: 32}, energy)
	VMOVUPD(operand.Mem{Base: sums, Disp: 64}, worst)
	magnitude := YMM() // clears the sign
	VPCMPEQD(magnitude, magnitude, magnitude)
	VPSRLQ(operand.Imm(1), magnitude, magnitude)
	var places reg.VecVirtual
	if bits == 4 {
		places = YMM()
		VMOVDQU(permutation(name+"Places", 0, 4, 8, 12, 16, 20, 24, 28), places)
	}
	Label("next")
	var halves [2]reg.VecVirtual
	for i := range halves {
		v, q := YMM(), YMM()
		VCVTPS2PD(operand.Mem{Base: x, Disp: 16 * i}, v)
		VDIVPD(scale, v, q)
		VROUNDPD(operand.Imm(0), q, q)
		VADDPD(zero, q, q)
		VMINPD(high, q, q)
		VMAXPD(low, q, q)
		halves[i] = XMM()
		VCVTPD2DQY(q, halves[i])
		d, t := YMM(), YMM()
		VSUBPD(zero, q, d)
		VMULPD(scale, d, d)
		VSUBPD(d, v, d)
		VMULPD(d, d, t)
		VADDPD(t, err, err)
		VMULPD(v, v, v)
		VADDPD(v, energy, energy)
		VANDPD(magnitude, d, d)
		VMAXPD(d, worst, worst)
	}
	if bits == 4 {
		codes, h := YMM(), XMM()
		VINSERTI128(operand.Imm(1), halves[1], halves[0].AsY(), codes)
		VPSLLVD(places, codes, codes)
		VEXTRACTI128(operand.Imm(1), codes, h)
		VPOR(codes.AsX(), h, h)
		k := XMM()
		VPSRLDQ(operand.Imm(8), h, k)
		VPOR(k, h, h)
		VPSRLDQ(operand.Imm(4), h, k)
		VPOR(k, h, h)
		VMOVD(h, operand.Mem{Base: dst})
	} else {
		VPACKUSDW(halves[1], halves[0], halves[0])
		VPACKUSWB(halves[0], halves[0], halves[0])
		VMOVQ(halves[0], operand.Mem{Base: dst})
	}
	ADDQ(operand.Imm(32), x)
	ADDQ(operand.Imm(uint64(bits)), dst)
	SUBQ(operand.Imm(8), n)
	JNZ(operand.LabelRef("next"))
	VMOVUPD(err, operand.Mem{Base: sums})
	VMOVUPD(energy, operand.Mem{Base: sums, Disp: 32})
	VMOVUPD(worst, operand.Mem{Base: sums, Disp: 64})
	VZEROUPPER()
	RET()
}
