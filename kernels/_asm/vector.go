package main

import (
	"fmt"
	"math/bits"

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
	expSum()
	swiGLU()
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
	transpose(wide256)
	transpose(wide512)

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
	TEXT(name, NOSPLIT, "func(dst *float32, ldd int, src *byte, lds int, n int, rows int, after int)")
	Doc(name + " is decodeRows; ldd and lds count bytes, n is a positive multiple of 8. What lies after bytes further is fetched.")
	Pragma("noescape")
	dst, ldd, src, lds := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64()), Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	n, rows := Load(Param("n"), GP64()), Load(Param("rows"), GP64())
	after := Load(Param("after"), GP64())
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

// transpose generates the transpose of as many columns as a vector has lanes, in
// squares: pairs of rows, then of pairs, then of quarters of vectors are interleaved.
func transpose(w wide) {
	TEXT("transpose"+w.name, NOSPLIT, "func(dst *float32, ldd int, src *float32, lds int, rows int)")
	Doc(fmt.Sprintf("transpose%s is transposeGeneric for %d columns; ldd and lds count bytes, rows is a positive multiple of %[2]d.", w.name, w.lanes))
	Pragma("noescape")
	dst, ldd, src, lds := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64()), Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	rows := Load(Param("rows"), GP64())
	to, dsts := squareRows(dst, ldd, w.lanes)
	from, srcs := squareRows(src, lds, w.lanes)
	next := GP64()
	MOVQ(lds, next)
	SHLQ(operand.Imm(uint64(bits.Len(uint(w.lanes))-1)), next)
	Label("square")
	// quads[q][j] has in its quarter i column 4i+j of rows 4q to 4q+3.
	var quads [][]reg.VecVirtual
	for q := range w.lanes / 4 {
		r, pair, four := w.vecs(4), w.vecs(4), w.vecs(4)
		for i := range r {
			VMOVUPS(from[4*q+i], r[i])
		}
		for i := range 2 {
			VUNPCKLPS(r[2*i+1], r[2*i], pair[2*i])
			VUNPCKHPS(r[2*i+1], r[2*i], pair[2*i+1])
		}
		for i := range 2 {
			VUNPCKLPD(pair[i+2], pair[i], four[2*i])
			VUNPCKHPD(pair[i+2], pair[i], four[2*i+1])
		}
		quads = append(quads, four)
	}
	for j := range 4 {
		if w.lanes == 8 {
			for i, half := range []uint64{0x20, 0x31} {
				column := w.vec()
				VPERM2F128(operand.Imm(half), quads[1][j], quads[0][j], column)
				VMOVUPS(column, to[4*i+j])
			}
			continue
		}
		const even, odd = 0x88, 0xdd // quarters of two vectors
		for i, which := range []uint64{even, odd} {
			low, high := w.vec(), w.vec()
			VSHUFF32X4(operand.Imm(which), quads[1][j], quads[0][j], low)
			VSHUFF32X4(operand.Imm(which), quads[3][j], quads[2][j], high)
			for h, which := range []uint64{even, odd} {
				column := w.vec()
				VSHUFF32X4(operand.Imm(which), high, low, column)
				VMOVUPS(column, to[4*(i+2*h)+j])
			}
		}
	}
	for _, p := range srcs {
		ADDQ(next, p)
	}
	for _, p := range dsts {
		ADDQ(operand.U32(uint64(4*w.lanes)), p)
	}
	SUBQ(operand.U32(uint64(w.lanes)), rows)
	JNZ(operand.LabelRef("square"))
	VZEROUPPER()
	RET()
}

// squareRows are the places of eight or sixteen rows that lie ld bytes apart, and
// the registers that they count from.
func squareRows(base, ld reg.Register, n int) (rows []operand.Mem, bases []reg.Register) {
	three, five, seven := GP64(), GP64(), GP64()
	IMUL3Q(operand.Imm(3), ld, three)
	IMUL3Q(operand.Imm(5), ld, five)
	IMUL3Q(operand.Imm(7), ld, seven)
	for range n / 8 {
		b := base
		if len(bases) > 0 {
			b = GP64()
			LEAQ(operand.Mem{Base: base, Index: ld, Scale: 8}, b)
		}
		bases = append(bases, b)
		at := func(index reg.Register, scale uint8) operand.Mem {
			return operand.Mem{Base: b, Index: index, Scale: scale}
		}
		rows = append(rows, operand.Mem{Base: b}, at(ld, 1), at(ld, 2), at(three, 1), at(ld, 4), at(five, 1), at(three, 2), at(seven, 1))
	}
	return rows, bases
}
