package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// limitKernels generates the loops that measure what the machine can do.
func limitKernels() {
	TEXT("readAVX2", NOSPLIT, "func(p *byte, n int) uint64")
	Doc("readAVX2 loads n bytes, a positive multiple of 256, and returns something that depends on all of them.")
	Pragma("noescape")
	p, n := Load(Param("p"), GP64()), Load(Param("n"), GP64())
	var acc [8]reg.VecVirtual
	for i := range acc {
		acc[i] = YMM()
		VPXOR(acc[i], acc[i], acc[i])
	}
	Label("next")
	for i := range acc {
		VPXOR(operand.Mem{Base: p, Disp: 32 * i}, acc[i], acc[i])
	}
	ADDQ(operand.U32(256), p)
	SUBQ(operand.U32(256), n)
	JNZ(operand.LabelRef("next"))
	for i := 1; i < len(acc); i++ {
		VPXOR(acc[i], acc[0], acc[0])
	}
	r := GP64()
	VMOVQ(acc[0].AsX(), r)
	Store(r, ReturnIndex(0))
	VZEROUPPER()
	RET()

	peakAMX()
	peak("peakAVX512VNNI", "VPDPBUSD on 512 bits", func() reg.VecVirtual { return ZMM() }, func(a, b, acc reg.VecVirtual) { VPDPBUSD(a, b, acc) }, 14)
	peak("peakAVXVNNI", "VPDPBUSD on 256 bits", func() reg.VecVirtual { return YMM() }, func(a, b, acc reg.VecVirtual) { VPDPBUSD(a, b, acc) }, 12)
	peak("peakAVX2", "VPMADDUBSW, VPMADDWD and VPADDD on 256 bits", func() reg.VecVirtual { return YMM() }, func(a, b, acc reg.VecVirtual) {
		p := YMM()
		VPMADDUBSW(a, b, p)
		VPMADDWD(b, p, p)
		VPADDD(p, acc, acc)
	}, 8)
	peak("peakFMAAVX512", "float32 FMA on 512 bits", func() reg.VecVirtual { return ZMM() }, func(a, b, acc reg.VecVirtual) { VFMADD231PS(a, b, acc) }, 14)
	peak("peakFMAAVX2", "float32 FMA on 256 bits", func() reg.VecVirtual { return YMM() }, func(a, b, acc reg.VecVirtual) { VFMADD231PS(a, b, acc) }, 12)
}

// peak runs n rounds of independent operations on zeros.
func peak(name, what string, vec func() reg.VecVirtual, op func(a, b, acc reg.VecVirtual), chains int) {
	TEXT(name, NOSPLIT, "func(n int)")
	Doc(name + " runs n rounds of independent operations: " + what + ".")
	n := Load(Param("n"), GP64())
	a, b := vec(), vec()
	VXORPS(a, a, a)
	VXORPS(b, b, b)
	acc := make([]reg.VecVirtual, chains)
	for i := range acc {
		acc[i] = vec()
		VXORPS(acc[i], acc[i], acc[i])
	}
	Label("next")
	for _, v := range acc {
		op(a, b, v)
	}
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	VZEROUPPER()
	RET()
}
