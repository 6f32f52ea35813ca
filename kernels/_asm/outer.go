package main

import (
	"fmt"
	"math/bits"
	"sync"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/layout"
)

// outerProducts generates the tiles for batches. With the vectors of a column and
// a weight in each lane, the largest fill the registers.
func outerProducts() {
	outerTile(wide512, 8, 1)
	outerTile(wide512, 8, 2)
	outerTile(wide512, 8, 3)
	outerTile(wide256, 4, 2)
	outerTile(wide256, 4, 3)
}

// outerTile generates the products of a few rows with vectors of tokens. Where
// dotsTile has a column in each lane, this has a token; the sums are the same. Lane
// i of dotsTile's sums adds up the columns i, i+16, and so on: here these
// columns come one after the other, a chain, and the sums of chains are added in
// the order of lanesSum. What waits there for its other half lies on a stack.
func outerTile(w wide, rows, vectors int) {
	name := fmt.Sprintf("outer%sx%dx%d", w.name, rows, vectors*w.lanes)
	TEXT(name, NOSPLIT, "func(c *float32, w *float32, ldw int, x *float32, steps int, stack *float32, add int, next *byte, ldn int, lines int)")
	Doc(fmt.Sprintf("%s is dotsGeneric for %d F32 rows and %d tokens of %d times steps columns; ldw and ldn count bytes, add is 0 or 1.", name, rows, vectors*w.lanes, layout.DotLanes),
		"x has the tokens of a column side by side, chains of columns one after the other, see packChains; c has the tokens of a row.",
		fmt.Sprintf("It fetches some lines of the cache of each of %d rows at next.", layout.DotLanes))
	Pragma("noescape")
	first, ldw, steps := Load(Param("w"), GP64()), Load(Param("ldw"), GP64()), Load(Param("steps"), GP64())
	stack := Load(Param("stack"), GP64())
	order, done := GP64(), GP64()
	LEAQ(chainOrder(), order)
	XORQ(done, done)
	var acc [][]reg.VecVirtual // by row and vector of tokens
	for range rows {
		acc = append(acc, w.vecs(vectors))
	}
	level := 4 * w.lanes * rows * vectors // bytes of the stack
	each := func(f func(i int, a reg.VecVirtual)) {
		for r, accs := range acc {
			for v, a := range accs {
				f(r*vectors+v, a)
			}
		}
	}
	onStack := func(i int) operand.Mem { return operand.Mem{Base: stack, Disp: 4 * w.lanes * i} }

	Label("chain")
	chain, row, x, n := GP64(), GP64(), GP64(), GP64()
	MOVBQZX(operand.Mem{Base: order, Index: done, Scale: 1}, chain)
	LEAQ(operand.Mem{Base: first, Index: chain, Scale: 4}, row)
	IMULQ(steps, chain)
	IMUL3Q(operand.U32(uint64(4*w.lanes*vectors)), chain, x)
	ADDQ(operand.NewParamAddr("x", 24), x)
	bases, at := rowBases(row, ldw, rows)
	next, line := GP64(), GP64()
	Load(Param("lines"), n)
	Load(Param("next"), next)
	MOVQ(next, line)
	TESTQ(n, n)
	JZ(operand.LabelRef("fetched"))
	Label("fetch")
	PREFETCHT1(operand.Mem{Base: line})
	ADDQ(operand.Imm(64), line)
	DECQ(n)
	JNZ(operand.LabelRef("fetch"))
	ADDQ(operand.NewParamAddr("ldn", 64), next)
	MOVQ(next, operand.NewParamAddr("next", 56))
	Label("fetched")
	each(func(_ int, a reg.VecVirtual) { VXORPS(a, a, a) })
	MOVQ(steps, n)
	step := func(i int) {
		for v := range vectors { // the hardware is late for a stream out of the second-level cache
			PREFETCHT0(operand.Mem{Base: x, Disp: 4 * w.lanes * ((i+4)*vectors + v)})
		}
		tokens := w.vecs(vectors)
		for v, token := range tokens {
			VMOVUPS(operand.Mem{Base: x, Disp: 4 * w.lanes * (i*vectors + v)}, token)
		}
		for r, accs := range acc {
			weight, m := w.vec(), at(r)
			m.Disp = 4 * layout.DotLanes * i
			VBROADCASTSS(m, weight)
			for v, a := range accs {
				VFMADD231PS(tokens[v], weight, a)
			}
		}
	}
	advance := func(steps int) {
		ADDQ(operand.U32(uint64(4*w.lanes*vectors*steps)), x)
		for _, b := range bases {
			ADDQ(operand.U32(uint64(4*layout.DotLanes*steps)), b)
		}
	}
	TESTQ(operand.U32(1), n)
	JZ(operand.LabelRef("even"))
	step(0)
	advance(1)
	Label("even")
	SHRQ(operand.Imm(1), n)
	JZ(operand.LabelRef("done"))
	Label("two")
	step(0)
	step(1)
	advance(2)
	DECQ(n)
	JNZ(operand.LabelRef("two"))
	Label("done")

	// As many halves wait as the number of chains done before has ones at its end.
	INCQ(done)
	halves := GP64()
	MOVQ(done, halves)
	Label("halves")
	TESTQ(operand.U32(1), halves)
	JNZ(operand.LabelRef("whole"))
	SHRQ(operand.Imm(1), halves)
	SUBQ(operand.U32(uint64(level)), stack)
	each(func(i int, a reg.VecVirtual) { VADDPS(onStack(i), a, a) })
	JMP(operand.LabelRef("halves"))
	Label("whole")
	CMPQ(done, operand.U32(layout.DotLanes))
	JEQ(operand.LabelRef("store"))
	each(func(i int, a reg.VecVirtual) { VMOVUPS(a, onStack(i)) })
	ADDQ(operand.U32(uint64(level)), stack)
	JMP(operand.LabelRef("chain"))

	Label("store")
	c, add := Load(Param("c"), GP64()), Load(Param("add"), GP64())
	at = func(i int) operand.Mem { return operand.Mem{Base: c, Disp: 4 * w.lanes * i} }
	TESTQ(add, add)
	addUnlessZero("sums", func() { each(func(i int, a reg.VecVirtual) { VADDPS(at(i), a, a) }) })
	each(func(i int, a reg.VecVirtual) { VMOVUPS(a, at(i)) })
	VZEROUPPER()
	RET()
}

// chainOrder declares the order of the chains, on first use: that of numbers whose
// bits are read backwards, so that two sums that meet in lanesSum follow each other.
var chainOrder = sync.OnceValue(func() operand.Mem {
	t := GLOBL("chains", RODATA|NOPTR)
	width := bits.Len(layout.DotLanes) - 1
	for i := range layout.DotLanes {
		DATA(i, operand.U8(bits.Reverse8(uint8(i))>>(8-width)))
	}
	return t
})
