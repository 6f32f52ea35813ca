package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/layout"
)

// wide is a vector width: 16 or 8 float32.
type wide struct {
	name  string
	lanes int
	vec   func() reg.VecVirtual
}

var (
	wide512 = wide{"AVX512", 16, func() reg.VecVirtual { return ZMM() }}
	wide256 = wide{"AVX2", 8, func() reg.VecVirtual { return YMM() }}
)

func (w wide) vecs(n int) []reg.VecVirtual {
	vs := make([]reg.VecVirtual, n)
	for i := range vs {
		vs[i] = w.vec()
	}
	return vs
}

func (w wide) zero(n int) []reg.VecVirtual {
	vs := w.vecs(n)
	for _, v := range vs {
		VXORPS(v, v, v)
	}
	return vs
}

// attentionKernels generates the two products of attention for tiles of
// queries; see attention.go.
func attentionKernels() {
	for _, dt := range []string{"F32", "F16"} {
		for _, q := range []struct{ rows, blocks int }{{1, 4}, {2, 4}, {4, 2}, {8, 1}} {
			scores(wide512, dt, q.rows, q.blocks)
		}
		for _, q := range []struct{ rows, blocks int }{{1, 2}, {2, 2}, {4, 1}} {
			scores(wide256, dt, q.rows, q.blocks)
		}
		for _, rows := range []int{1, 2, 4} {
			values(wide512, dt, rows, 4)
		}
		for _, rows := range []int{1, 2} {
			values(wide256, dt, rows, 4)
		}
		valuesHeads(wide512, dt)
		valuesHeads(wide256, dt)
	}
}

// scores generates scoresGeneric for a number of queries, several blocks of keys
// at a time so that the chains of multiply-adds hide their latency.
func scores(w wide, dt string, rows, blocks int) {
	name := fmt.Sprintf("scores%s%sx%d", dt, w.name, rows)
	TEXT(name, NOSPLIT, "func(dst *float32, ldd int, q *float32, keys *byte, step int, blocks int, dim int)")
	Doc(fmt.Sprintf("%s is scoresGeneric for %d queries; ldd and step count bytes.", name, rows))
	Pragma("noescape")
	size := elementSize(dt)
	dst, ldd := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64())
	dim, left := Load(Param("dim"), GP64()), Load(Param("blocks"), GP64())
	qBytes := GP64()
	MOVQ(dim, qBytes)
	SHLQ(operand.Imm(2), qBytes)
	dsts, dstAt := rowBases(dst, ldd, rows)
	qs, qAt := rowBases(Load(Param("q"), GP64()), qBytes, rows)
	keys := Load(Param("keys"), GP64())
	n := GP64()
	pass := func(label string, blocks int) {
		Label(label)
		CMPQ(left, operand.Imm(uint64(blocks)))
		JLT(operand.LabelRef(label + "Done"))
		ks := []reg.Register{keys}
		for range blocks - 1 {
			p := GP64()
			MOVQ(ks[len(ks)-1], p)
			ADDQ(paramAt("step"), p)
			ks = append(ks, p)
		}
		per := layout.KeyBlock / w.lanes
		acc := w.zero(rows * blocks * per)
		MOVQ(dim, n)
		Label(label + "Next")
		k := make([]reg.VecVirtual, blocks*per)
		for i := range k {
			k[i] = w.vec()
			plainLoad(operand.Mem{Base: ks[i/per], Disp: i % per * w.lanes * size}, dt, k[i])
		}
		for r := range rows {
			if len(k) == 1 && w.lanes == 16 {
				VFMADD231PS_BCST(qAt(r), k[0], acc[r])
				continue
			}
			q := w.vec()
			VBROADCASTSS(qAt(r), q)
			for i := range k {
				VFMADD231PS(q, k[i], acc[r*len(k)+i])
			}
		}
		for _, p := range ks {
			ADDQ(operand.U32(layout.KeyBlock*size), p)
		}
		for _, q := range qs {
			ADDQ(operand.Imm(4), q)
		}
		DECQ(n)
		JNZ(operand.LabelRef(label + "Next"))
		for _, q := range qs {
			SUBQ(qBytes, q)
		}
		if blocks > 1 {
			MOVQ(ks[blocks-1], keys)
		}
		ADDQ(paramAt("step"), keys) // from the end of a block's keys to that of the next
		IMUL3Q(operand.U32(layout.KeyBlock*size), dim, n)
		SUBQ(n, keys)
		for r := range rows {
			for i := range k {
				VMOVUPS(acc[r*len(k)+i], dstAt(r).Offset(4*w.lanes*i))
			}
		}
		for _, d := range dsts {
			ADDQ(operand.U32(4*layout.KeyBlock*blocks), d)
		}
		SUBQ(operand.Imm(uint64(blocks)), left)
		JMP(operand.LabelRef(label))
		Label(label + "Done")
	}
	if blocks > 1 {
		pass("many", blocks)
	}
	pass("one", 1)
	VZEROUPPER()
	RET()
}

// values generates valuesGeneric for a number of queries, vectors of columns at
// a time.
func values(w wide, dt string, rows, vectors int) {
	name := fmt.Sprintf("values%s%sx%d", dt, w.name, rows)
	TEXT(name, NOSPLIT, "func(dst *float32, ldd int, weights *float32, ldw int, rows *byte, step int, n int, width int, add int)")
	Doc(fmt.Sprintf("%s is valuesGeneric for %d queries; ldd, ldw and step count bytes, add is 0 or 1.", name, rows))
	Pragma("noescape")
	size := elementSize(dt)
	left, stride := Load(Param("width"), GP64()), GP64()
	IMUL3Q(operand.U32(size), left, stride)
	src := Load(Param("rows"), GP64())
	dst, ldd := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64())
	dsts, dstAt := rowBases(dst, ldd, rows)
	ldw := Load(Param("ldw"), GP64())
	pass := func(label string, vectors int) {
		columns := vectors * w.lanes
		Label(label)
		CMPQ(left, operand.U32(columns))
		JLT(operand.LabelRef(label + "Done"))
		ws, wAt := rowBases(Load(Param("weights"), GP64()), ldw, rows)
		n, some, p := Load(Param("n"), GP64()), GP64(), GP64()
		MOVQ(src, p)
		acc := w.zero(rows * vectors)
		CMPQ(paramAt("add"), operand.Imm(0))
		JE(operand.LabelRef(label + "Block"))
		for i, a := range acc {
			VMOVUPS(dstAt(i/vectors).Offset(4*w.lanes*(i%vectors)), a)
		}
		Label(label + "Block")
		MOVQ(operand.U32(layout.KeyBlock), some)
		CMPQ(n, some)
		CMOVQLT(n, some)
		SUBQ(some, n)
		Label(label + "Next")
		v := make([]reg.VecVirtual, vectors)
		for i := range v {
			v[i] = w.vec()
			plainLoad(operand.Mem{Base: p, Disp: i * w.lanes * size}, dt, v[i])
		}
		for r := range rows {
			x := w.vec()
			VBROADCASTSS(wAt(r), x)
			for i := range v {
				VFMADD231PS(x, v[i], acc[r*vectors+i])
			}
		}
		ADDQ(stride, p)
		for _, b := range ws {
			ADDQ(operand.Imm(4), b)
		}
		DECQ(some)
		JNZ(operand.LabelRef(label + "Next"))
		ADDQ(paramAt("step"), p) // from the end of a whole block to the next
		IMUL3Q(operand.U32(layout.KeyBlock), stride, some)
		SUBQ(some, p)
		TESTQ(n, n)
		JNZ(operand.LabelRef(label + "Block"))
		for r := range rows {
			for i := range v {
				VMOVUPS(acc[r*vectors+i], dstAt(r).Offset(4*w.lanes*i))
			}
		}
		for _, d := range dsts {
			ADDQ(operand.U32(4*columns), d)
		}
		ADDQ(operand.U32(columns*size), src)
		SUBQ(operand.U32(columns), left)
		JMP(operand.LabelRef(label))
		Label(label + "Done")
	}
	pass("wide", vectors)
	if half := vectors / 2; half > layout.KeyBlock/w.lanes {
		pass("half", half)
	}
	pass("narrow", layout.KeyBlock/w.lanes)
	VZEROUPPER()
	RET()
}

// valuesHeads generates valuesGeneric of at most a block for heads that have a query
// each: their values are one stream from memory.
func valuesHeads(w wide, dt string) {
	name := fmt.Sprintf("valuesHeads%s%s", dt, w.name)
	TEXT(name, NOSPLIT, "func(dst *float32, weights *float32, ldw int, rows *byte, n int, width int, heads int, add int)")
	Doc(name + " is valuesGeneric for n positions, at most a block, of each of some heads with a query each; ldw counts bytes, add is 0 or 1.")
	Pragma("noescape")
	size := elementSize(dt)
	dst, weights, src := Load(Param("dst"), GP64()), Load(Param("weights"), GP64()), Load(Param("rows"), GP64())
	heads, width := Load(Param("heads"), GP64()), Load(Param("width"), GP64())
	left, stride, rest, n, p, weight := GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	IMUL3Q(operand.U32(size), width, stride)
	IMUL3Q(operand.U32(layout.KeyBlock-1), stride, rest) // from the end of a block's first row to the next block
	Label("head")
	MOVQ(width, left)
	pass := func(label string, vectors int) {
		columns := vectors * w.lanes
		Label(label)
		CMPQ(left, operand.U32(columns))
		JLT(operand.LabelRef(label + "Done"))
		Load(Param("n"), n)
		MOVQ(src, p)
		MOVQ(weights, weight)
		acc := w.zero(vectors)
		CMPQ(paramAt("add"), operand.Imm(0))
		JE(operand.LabelRef(label + "Next"))
		for i, a := range acc {
			VMOVUPS(operand.Mem{Base: dst, Disp: 4 * w.lanes * i}, a)
		}
		Label(label + "Next")
		x := w.vec()
		VBROADCASTSS(operand.Mem{Base: weight}, x)
		for i, a := range acc {
			v := w.vec()
			plainLoad(operand.Mem{Base: p, Disp: i * w.lanes * size}, dt, v)
			VFMADD231PS(x, v, a)
		}
		ADDQ(stride, p)
		ADDQ(operand.Imm(4), weight)
		DECQ(n)
		JNZ(operand.LabelRef(label + "Next"))
		for i, a := range acc {
			VMOVUPS(a, operand.Mem{Base: dst, Disp: 4 * w.lanes * i})
		}
		ADDQ(operand.U32(4*columns), dst)
		ADDQ(operand.U32(columns*size), src)
		SUBQ(operand.U32(columns), left)
		JMP(operand.LabelRef(label))
		Label(label + "Done")
	}
	pass("wide", 64/w.lanes)
	pass("narrow", layout.KeyBlock/w.lanes)
	ADDQ(rest, src)
	ADDQ(paramAt("ldw"), weights)
	DECQ(heads)
	JNZ(operand.LabelRef("head"))
	VZEROUPPER()
	RET()
}
