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
		packLines(bits)
	}
}

// packLines takes four lines at a time: 16 bytes of every row are four by eight
// words of 32 bits, which unpacking transposes inside the halves of a register.
// What is left is gathered word by word.
func packLines(bits int) {
	name := fmt.Sprintf("packLines%dAVX2", bits)
	TEXT(name, NOSPLIT, "func(dst *byte, src *byte, stride int, lines int)")
	Doc(fmt.Sprintf("%s writes lines > 0 lines of a panel of %d-bit codes from 16 rows that are stride bytes, less than 2^27, apart.", name, bits))
	Pragma("noescape")
	dst, src, lines := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("lines"), GP64())
	stride := Load(Param("stride"), GP64())
	var order, middleNibbles reg.VecVirtual
	if bits == 4 {
		order, middleNibbles = YMM(), constant(YMM(), 0x00f000f0)
		VBROADCASTI128(permutation(name+"Order", 0x03010200, 0x07050604, 0x0b090a08, 0x0f0d0e0c), order)
	}
	finish := func(v reg.VecVirtual) {
		if bits == 4 {
			VPSHUFB(order, v, v)
			swapNibbles(v, middleNibbles)
		}
	}

	CMPQ(lines, operand.Imm(4))
	JL(operand.LabelRef("rest"))
	// Row i is at base i/4, which moves along, plus i%4 strides.
	stride3 := GP64()
	LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	bases := [4]reg.GPVirtual{src.(reg.GPVirtual)}
	for i := 1; i < 4; i++ {
		bases[i] = GP64()
		LEAQ(operand.Mem{Base: bases[i-1], Index: stride, Scale: 4}, bases[i])
	}
	row := func(i int) operand.Mem {
		m := operand.Mem{Base: bases[i/4], Index: stride, Scale: 1}
		switch i % 4 {
		case 0:
			return operand.Mem{Base: bases[i/4]}
		case 2:
			m.Scale = 2
		case 3:
			m.Index = stride3
		}
		return m
	}
	rows := [4]reg.VecVirtual{YMM(), YMM(), YMM(), YMM()} // rows i and i+4 of eight
	Label("four")
	for half := range 2 {
		for i := range rows {
			VMOVDQU(row(8*half+i), rows[i].AsX())
			VINSERTI128(operand.Imm(1), row(8*half+i+4), rows[i], rows[i])
		}
		pairs := [4]reg.VecVirtual{YMM(), YMM(), YMM(), YMM()}
		VPUNPCKLDQ(rows[1], rows[0], pairs[0])
		VPUNPCKLDQ(rows[3], rows[2], pairs[1])
		VPUNPCKHDQ(rows[1], rows[0], pairs[2])
		VPUNPCKHDQ(rows[3], rows[2], pairs[3])
		for line := range 4 {
			v, p := YMM(), line/2*2
			if line%2 == 0 {
				VPUNPCKLQDQ(pairs[p+1], pairs[p], v)
			} else {
				VPUNPCKHQDQ(pairs[p+1], pairs[p], v)
			}
			finish(v)
			VMOVDQU(v, operand.Mem{Base: dst, Disp: 64*line + 32*half})
		}
	}
	for _, b := range bases {
		ADDQ(operand.Imm(16), b)
	}
	ADDQ(operand.U32(256), dst)
	SUBQ(operand.Imm(4), lines)
	CMPQ(lines, operand.Imm(4))
	JGE(operand.LabelRef("four"))

	Label("rest")
	TESTQ(lines, lines)
	JZ(operand.LabelRef("done"))
	low, high, x := YMM(), YMM(), XMM()
	VMOVQ(stride, x)
	VPBROADCASTD(x, high)
	VPMULLD(permutation(name+"Lanes", 0, 1, 2, 3, 4, 5, 6, 7), high, low)
	VPSLLD(operand.Imm(3), high, high)
	VPADDD(low, high, high)
	Label("one")
	for half, index := range []reg.VecVirtual{low, high} {
		all, v := YMM(), YMM()
		VPCMPEQD(all, all, all)
		VPGATHERDD(all, operand.Mem{Base: src, Index: index, Scale: 1}, v)
		finish(v)
		VMOVDQU(v, operand.Mem{Base: dst, Disp: 32 * half})
	}
	ADDQ(operand.Imm(4), src)
	ADDQ(operand.Imm(64), dst)
	DECQ(lines)
	JNZ(operand.LabelRef("one"))
	Label("done")
	VZEROUPPER()
	RET()
}

// swapNibbles exchanges the two inner of four nibbles of 16 bits: with the inner
// bytes of 32 bits exchanged before, that is the perfect shuffle of nibbles.
func swapNibbles(v, mask reg.VecVirtual) {
	t, u := YMM(), YMM()
	VPSRLD(operand.Imm(4), v, t)
	VPXOR(v, t, t)
	VPAND(mask, t, t)
	VPSLLD(operand.Imm(4), t, u)
	VPXOR(t, v, v)
	VPXOR(u, v, v)
}
