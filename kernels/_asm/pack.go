package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// packKernels generates the interleaving of 16 full rows; see pack.go.
func packKernels() {
	for _, bits := range []int{4, 8} {
		name := fmt.Sprintf("packLines%dAVX2", bits)
		TEXT(name, NOSPLIT, "func(dst *byte, src *byte, stride int, lines int)")
		Doc(fmt.Sprintf("%s writes lines > 0 lines of a panel of %d-bit codes from 16 rows that are stride bytes, less than 2^27, apart.", name, bits))
		Pragma("noescape")
		dst, src, lines := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("lines"), GP64())
		low, high, x := YMM(), YMM(), XMM()
		stride := Load(Param("stride"), GP64())
		VMOVQ(stride, x)
		VPBROADCASTD(x, high)
		VPMULLD(permutation(name+"Lanes", 0, 1, 2, 3, 4, 5, 6, 7), high, low)
		VPSLLD(operand.Imm(3), high, high)
		VPADDD(low, high, high)
		var middleBytes, middleNibbles reg.VecVirtual
		if bits == 4 {
			middleBytes, middleNibbles = constant(YMM(), 0x0000ff00), constant(YMM(), 0x00f000f0)
		}
		Label("next")
		for half, index := range []reg.VecVirtual{low, high} {
			all, v := YMM(), YMM()
			VPCMPEQD(all, all, all)
			VPGATHERDD(all, operand.Mem{Base: src, Index: index, Scale: 1}, v)
			if bits == 4 {
				swapMiddle(v, middleBytes, 8)
				swapMiddle(v, middleNibbles, 4)
			}
			VMOVDQU(v, operand.Mem{Base: dst, Disp: 32 * half})
		}
		ADDQ(operand.Imm(4), src)
		ADDQ(operand.Imm(64), dst)
		DECQ(lines)
		JNZ(operand.LabelRef("next"))
		VZEROUPPER()
		RET()
	}
}

// swapMiddle exchanges the two inner of four fields of by bits; mask marks the
// second of them.
func swapMiddle(v, mask reg.VecVirtual, by uint64) {
	t, u := YMM(), YMM()
	VPSRLD(operand.Imm(by), v, t)
	VPXOR(v, t, t)
	VPAND(mask, t, t)
	VPSLLD(operand.Imm(by), t, u)
	VPXOR(t, v, v)
	VPXOR(u, v, v)
}
