package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// each generates a loop over n elements, a positive multiple of 8, that moves
// the pointers on.
func each(n reg.Register, body func(), pointers ...reg.Register) {
	Label("next")
	body()
	for _, p := range pointers {
		ADDQ(operand.Imm(32), p)
	}
	SUBQ(operand.Imm(8), n)
	JNZ(operand.LabelRef("next"))
}

// lanesTotal adds up the lanes of v.
func lanesTotal(v reg.VecVirtual) reg.VecVirtual {
	h, k := XMM(), XMM()
	VEXTRACTF128(operand.Imm(1), v, h)
	VADDPS(v.AsX(), h, h)
	VPSRLDQ(operand.Imm(8), h, k)
	VADDPS(k, h, h)
	VPSRLDQ(operand.Imm(4), h, k)
	VADDSS(k, h, h)
	return h
}

// paramAt is where a parameter lies. Load and Store move floats with SSE
// instructions, which cost Intel's CPUs about 70 cycles each while upper halves of
// vectors are in use: parameters are read from their place, and results are stored
// after VZEROUPPER.
func paramAt(name string) operand.Mem {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// vectorKernels generates the operations on whole vectors that are neither
// products nor exponentials.
func vectorKernels() {
	TEXT("squaresAVX2", NOSPLIT, "func(x *float32, n int) float32")
	Doc("squaresAVX2 returns the sum of squares; n is a positive multiple of 8.")
	Pragma("noescape")
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	sum := YMM()
	VXORPS(sum, sum, sum)
	each(n, func() {
		v := YMM()
		VMOVUPS(operand.Mem{Base: x}, v)
		VFMADD231PS(v, v, sum)
	}, x)
	total := lanesTotal(sum)
	VZEROUPPER()
	Store(total, ReturnIndex(0))
	RET()

	TEXT("scaleMulAVX2", NOSPLIT, "func(dst *float32, x *float32, w *float32, scale float32, n int)")
	Doc("scaleMulAVX2 stores x*scale*w; n is a positive multiple of 8.")
	Pragma("noescape")
	dst, x, w, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("w"), GP64()), Load(Param("n"), GP64())
	scale := YMM()
	VBROADCASTSS(paramAt("scale"), scale)
	each(n, func() {
		v := YMM()
		VMULPS(operand.Mem{Base: x}, scale, v)
		VMULPS(operand.Mem{Base: w}, v, v)
		VMOVUPS(v, operand.Mem{Base: dst})
	}, dst, x, w)
	VZEROUPPER()
	RET()

	TEXT("addAVX2", NOSPLIT, "func(dst *float32, x *float32, n int)")
	Doc("addAVX2 adds x to dst; n is a positive multiple of 8.")
	Pragma("noescape")
	dst, x, n = Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	each(n, func() {
		v := YMM()
		VMOVUPS(operand.Mem{Base: x}, v)
		VADDPS(operand.Mem{Base: dst}, v, v)
		VMOVUPS(v, operand.Mem{Base: dst})
	}, dst, x)
	VZEROUPPER()
	RET()

	TEXT("maximumAVX2", NOSPLIT, "func(x *float32, n int) float32")
	Doc("maximumAVX2 returns the largest element, of those after the last NaN of each lane; n is a positive multiple of 8.")
	Pragma("noescape")
	x, n = Load(Param("x"), GP64()), Load(Param("n"), GP64())
	top := YMM()
	VMOVUPS(operand.Mem{Base: x}, top)
	each(n, func() { VMAXPS(operand.Mem{Base: x}, top, top) }, x)
	h, k := XMM(), XMM()
	VEXTRACTF128(operand.Imm(1), top, h)
	VMAXPS(top.AsX(), h, h)
	VPSRLDQ(operand.Imm(8), h, k)
	VMAXPS(k, h, h)
	VPSRLDQ(operand.Imm(4), h, k)
	VMAXSS(k, h, h)
	VZEROUPPER()
	Store(h, ReturnIndex(0))
	RET()

	TEXT("rotateAVX2", NOSPLIT, "func(lo *float32, hi *float32, cos *float32, sin *float32, n int)")
	Doc("rotateAVX2 is rotateGeneric; n is a positive multiple of 8.")
	Pragma("noescape")
	lo, hi := Load(Param("lo"), GP64()), Load(Param("hi"), GP64())
	cos, sin := Load(Param("cos"), GP64()), Load(Param("sin"), GP64())
	n = Load(Param("n"), GP64())
	each(n, func() {
		a, b, c, s, t := YMM(), YMM(), YMM(), YMM(), YMM()
		VMOVUPS(operand.Mem{Base: lo}, a)
		VMOVUPS(operand.Mem{Base: hi}, b)
		VMOVUPS(operand.Mem{Base: cos}, c)
		VMOVUPS(operand.Mem{Base: sin}, s)
		VMULPS(b, s, t)
		VFMSUB231PS(a, c, t) // a*c - b*s
		VMOVUPS(t, operand.Mem{Base: lo})
		VMULPS(a, s, t)
		VFMADD231PS(b, c, t) // b*c + a*s
		VMOVUPS(t, operand.Mem{Base: hi})
	}, lo, hi, cos, sin)
	VZEROUPPER()
	RET()

	decode("F32")
	decode("F16")
	decode("BF16")
	transpose()

	TEXT("encodeF16AVX2", NOSPLIT, "func(dst *uint16, x *float32, n int)")
	Doc("encodeF16AVX2 rounds to half precision; n is a positive multiple of 8.")
	Pragma("noescape")
	d16, x := Load(Param("dst"), GP64()), Load(Param("x"), GP64())
	n = Load(Param("n"), GP64())
	Label("next")
	v := YMM()
	VMOVUPS(operand.Mem{Base: x}, v)
	VCVTPS2PH(operand.Imm(0), v, operand.Mem{Base: d16})
	ADDQ(operand.Imm(32), x)
	ADDQ(operand.Imm(16), d16)
	SUBQ(operand.Imm(8), n)
	JNZ(operand.LabelRef("next"))
	VZEROUPPER()
	RET()
}

// decode generates the conversion of rows of floats to float32, column by column:
// as many streams from memory as there are rows hide its latency.
func decode(dt string) {
	name := fmt.Sprintf("decode%sAVX2", dt)
	TEXT(name, NOSPLIT, "func(dst *float32, ldd int, src *byte, lds int, n int, rows int)")
	Doc(name + " is decodeRows; ldd and lds count bytes, n is a positive multiple of 8.")
	Pragma("noescape")
	dst, ldd, src, lds := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64()), Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	n, rows := Load(Param("n"), GP64()), Load(Param("rows"), GP64())
	after := GP64() // from a row to the same one of as many that will be next
	MOVQ(lds, after)
	IMULQ(rows, after)
	to, from, left := GP64(), GP64(), GP64()
	// columns copies a number of vectors of every row: two, in float32 a whole line
	// of the cache, because the lines of rows often fall on the same place there.
	columns := func(label string, vectors int) {
		MOVQ(dst, to)
		MOVQ(src, from)
		MOVQ(rows, left)
		Label(label)
		for i := range vectors {
			v := YMM()
			plainLoad(operand.Mem{Base: from, Disp: i * 8 * elementSize(dt)}, dt, v)
			if dt == "BF16" {
				VPSLLD(operand.Imm(16), v, v)
			}
			VMOVUPS(v, operand.Mem{Base: to, Disp: 32 * i})
		}
		PREFETCHT1(operand.Mem{Base: from, Index: after, Scale: 1})
		ADDQ(lds, from)
		ADDQ(ldd, to)
		DECQ(left)
		JNZ(operand.LabelRef(label))
		ADDQ(operand.U32(uint64(vectors*8*elementSize(dt))), src)
		ADDQ(operand.U32(uint64(vectors*32)), dst)
		SUBQ(operand.U32(uint64(vectors*8)), n)
	}
	CMPQ(n, operand.Imm(16))
	JL(operand.LabelRef("last"))
	Label("columns")
	columns("two", 2)
	CMPQ(n, operand.Imm(16))
	JGE(operand.LabelRef("columns"))
	Label("last")
	TESTQ(n, n)
	JZ(operand.LabelRef("done"))
	columns("one", 1)
	Label("done")
	VZEROUPPER()
	RET()
}

// transpose generates the transpose of eight columns, in squares of eight: pairs
// of rows, then of pairs, then of halves of vectors are interleaved.
func transpose() {
	TEXT("transposeAVX2", NOSPLIT, "func(dst *float32, ldd int, src *float32, lds int, rows int)")
	Doc("transposeAVX2 is transposeGeneric for 8 columns; ldd and lds count bytes, rows is a positive multiple of 8.")
	Pragma("noescape")
	dst, ldd, src, lds := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64()), Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	rows := Load(Param("rows"), GP64())
	to, from := eightRows(dst, ldd), eightRows(src, lds)
	next := GP64()
	MOVQ(lds, next)
	SHLQ(operand.Imm(3), next)
	Label("square")
	var r, pair, four [8]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVUPS(from[i], r[i])
	}
	for i := 0; i < 8; i += 2 {
		pair[i], pair[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], pair[i])
		VUNPCKHPS(r[i+1], r[i], pair[i+1])
	}
	for i := 0; i < 8; i += 4 {
		for j := range 2 {
			lo, hi := YMM(), YMM()
			VUNPCKLPD(pair[i+j+2], pair[i+j], lo)
			VUNPCKHPD(pair[i+j+2], pair[i+j], hi)
			four[i+2*j], four[i+2*j+1] = lo, hi
		}
	}
	for i := range 4 {
		lo, hi := YMM(), YMM()
		VPERM2F128(operand.Imm(0x20), four[i+4], four[i], lo)
		VPERM2F128(operand.Imm(0x31), four[i+4], four[i], hi)
		VMOVUPS(lo, to[i])
		VMOVUPS(hi, to[i+4])
	}
	ADDQ(next, src)
	ADDQ(operand.Imm(32), dst)
	SUBQ(operand.Imm(8), rows)
	JNZ(operand.LabelRef("square"))
	VZEROUPPER()
	RET()
}

// eightRows are the places of eight rows that lie ld bytes apart.
func eightRows(base, ld reg.Register) (rows [8]operand.Mem) {
	rows[0] = operand.Mem{Base: base}
	for _, p := range [][2]int{{1, 1}, {2, 1}, {4, 1}, {3, 3}, {6, 3}, {5, 5}, {7, 7}} {
		row, odd := p[0], p[1]
		index := ld
		if odd > 1 {
			if row == odd {
				index = GP64()
				IMUL3Q(operand.Imm(uint64(odd)), ld, index)
			} else {
				index = rows[odd].Index
			}
		}
		rows[row] = operand.Mem{Base: base, Index: index, Scale: uint8(row / odd)}
	}
	return rows
}
