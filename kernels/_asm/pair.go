package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/layout"
)

// pair is the state of the generation of a kernel for two vectors of rows: with 512
// bits two panels, 32 rows, with 256 the halves of one. Each broadcast of activations
// is loaded once and meets both, which halves the loads of a tile of one vector; six
// tokens make twelve independent chains of dot products, what the latency of VPDPBUSD
// needs where two of them start in a cycle, and three make the six that 16 registers
// hold. All that changes from block to block is in registers: stores to memory that
// the next block reads cost more than anything here.
type pair struct {
	bits, tokens int
	sym, halves  bool
	panel        reg.Register // the place in the stream of the first panel
	apart        reg.Register // bytes from there to the second
	scales       reg.Register // of the group, in the first panel
	zeros        reg.Register // of the group, in the first panel
	acts         reg.Register
	scratch      reg.Register

	// The running sums, of the group where it has several blocks: those of the
	// row are in scratch then.
	single bool
	sum    [][2]reg.VecVirtual
}

func pairKernels() {
	for _, bits := range []int{4, 8} {
		for _, sym := range []bool{true, false} {
			for _, t := range []int{2, 4, 6} {
				pairTile(bits, sym, false, t)
			}
			for _, t := range []int{2, 3} {
				pairTile(bits, sym, true, t)
			}
		}
	}
}

func (k *pair) act(t, offset int) operand.Mem {
	return operand.Mem{Base: k.acts, Disp: t*layout.ActBytes + offset}
}

// at is what lies at a pointer into the stream, for the rows of vector p; size is that
// of a row's part.
func (k *pair) at(r reg.Register, p, disp, size int) operand.Mem {
	m := operand.Mem{Base: r, Disp: disp}
	switch {
	case p == 0:
	case k.halves:
		m.Disp += size * layout.PanelRows / 2
	default:
		m.Index, m.Scale = k.apart, 1
	}
	return m
}

func (k *pair) vec() reg.VecVirtual {
	if k.halves {
		return YMM()
	}
	return ZMM()
}

func (k *pair) vecs() [2]reg.VecVirtual { return [2]reg.VecVirtual{k.vec(), k.vec()} }

func (k *pair) rowSum(t, p int) operand.Mem {
	return operand.Mem{Base: k.scratch, Disp: (2*t + p) * layout.LineBytes}
}

// each calls f for every token and panel.
func (k *pair) each(f func(t, p int)) {
	for t := range k.tokens {
		for p := range 2 {
			f(t, p)
		}
	}
}

func pairTile(bits int, sym, halves bool, tokens int) {
	kind, isa, rows := kindOf(sym), tier(avx512{}), "two panels, apart bytes from each other,"
	name, next := fmt.Sprintf("mul%d%sAVX512VNNI2x%d", bits, kind, tokens), "two, 128 bytes further in c, for as many pairs as times says"
	if halves {
		isa, rows = avxvnni{}, "16 rows of a panel, all,"
		name, next = fmt.Sprintf("mul%d%sAVXVNNI16x%d", bits, kind, tokens), "panels, 64 bytes further in c, for as many as times says"
	}
	TEXT(name, NOSPLIT, mulSignature)
	Doc(fmt.Sprintf("%s is mulGeneric for %s and %d tokens, %d-bit %smetric codes.", name, rows, tokens, bits, kind),
		fmt.Sprintf("It goes on to the next %s. ldc and step count bytes.", next))
	Pragma("noescape")
	if halves {
		registerTile(name, bits, sym, isa, layout.PanelRows, tokens)
	} else {
		registerTile(name, bits, sym, isa, 2*layout.PanelRows, tokens)
	}
	k := &pair{bits: bits, tokens: tokens, sym: sym, halves: halves, panel: Load(Param("panel"), GP64()), acts: GP64(),
		scratch: Load(Param("scratch"), GP64()), scales: GP64(), zeros: GP64()}
	if !halves {
		k.apart = Load(Param("apart"), GP64())
	}
	isa.setup(bits)
	perGroup := Load(Param("perGroup"), GP64())
	CMPQ(perGroup, operand.Imm(1))
	JEQ(operand.LabelRef("single"))
	k.loop("group", perGroup)
	k.single = true
	k.loop("single", nil)
}

// loop generates the product over all blocks, for groups of several blocks or of
// one, to the end of the function.
func (k *pair) loop(label string, perGroup reg.Register) {
	Label(label)
	pairs, c := Load(Param("times"), GP64()), Load(Param("c"), GP64())
	k.sum = make([][2]reg.VecVirtual, k.tokens)
	for t := range k.sum {
		k.sum[t] = k.vecs()
	}
	clearSums := func() { k.each(func(t, p int) { VXORPS(k.sum[t][p], k.sum[t][p], k.sum[t][p]) }) }

	Label(label + "Panel")
	Load(Param("acts"), k.acts)
	clearSums()
	if !k.single {
		k.each(func(t, p int) { VMOVUPS(k.sum[0][0], k.rowSum(t, p)) })
	}
	left := Load(Param("blocks"), GP64())
	groups := GP64()
	span, head := spanOf(k.sym)

	Label(label + "Span")
	MOVQ(k.panel, k.scales)
	if !k.sym {
		LEAQ(operand.Mem{Base: k.panel, Disp: span * layout.ScaleBytes}, k.zeros)
	}
	ADDQ(operand.U32(head), k.panel)
	MOVQ(operand.U32(span), groups)
	Label(label + "Next")
	n := GP64()
	if !k.single {
		clearSums()
		MOVQ(perGroup, n)
		CMPQ(n, left)
		CMOVQGT(left, n)
		SUBQ(n, left)
		Label(label + "Block")
	}
	k.block()
	ADDQ(operand.U32(k.bits*layout.LineBytes), k.panel)
	step := Load(Param("step"), GP64())
	ADDQ(step, k.acts)
	if k.single {
		DECQ(left)
	} else {
		DECQ(n)
		JNZ(operand.LabelRef(label + "Block"))
		scales := k.groupScales()
		k.each(func(t, p int) {
			VFMADD213PS(k.rowSum(t, p), scales[p], k.sum[t][p]) // sum*scales + row sum
			VMOVUPS(k.sum[t][p], k.rowSum(t, p))
		})
		TESTQ(left, left)
	}
	JZ(operand.LabelRef(label + "Done"))
	ADDQ(operand.U32(layout.ScaleBytes), k.scales)
	if !k.sym {
		ADDQ(operand.U32(layout.ZeroBytes), k.zeros)
	}
	DECQ(groups)
	JNZ(operand.LabelRef(label + "Next"))
	JMP(operand.LabelRef(label + "Span"))

	Label(label + "Done") // the last group's end has left the sums of the rows in registers, too
	row, ldc := GP64(), Load(Param("ldc"), GP64())
	MOVQ(c, row)
	k.each(func(t, p int) {
		VMOVUPS(k.sum[t][p], operand.Mem{Base: row, Disp: int(k.sum[t][p].Size()) * p})
		if p == 1 && t+1 < k.tokens {
			ADDQ(ldc, row)
		}
	})
	if k.halves {
		ADDQ(operand.U32(4*layout.PanelRows), c)
	} else {
		ADDQ(k.apart, k.panel) // the first panel's end is the second's begin
		ADDQ(operand.U32(2*4*layout.PanelRows), c)
	}
	DECQ(pairs)
	JNZ(operand.LabelRef(label + "Panel"))
	VZEROUPPER()
	RET()
}

func (k *pair) groupScales() [2]reg.VecVirtual {
	scales := k.vecs()
	for p, s := range scales {
		VCVTPH2PS(k.at(k.scales, p, 0, 2), s)
	}
	return scales
}

// block generates the products of one block of 32 columns.
func (k *pair) block() {
	dots := make([][2]reg.VecVirtual, k.tokens)
	for t := range dots {
		dots[t] = k.vecs()
	}
	k.start(dots)
	multiply := func(column int, codes [2]reg.VecVirtual) {
		for t := range dots {
			x := k.vec()
			VPBROADCASTD(k.act(t, column), x)
			for p, d := range dots[t] {
				VPDPBUSD(x, codes[p], d)
			}
		}
	}
	for line := range k.bits {
		if k.bits == 8 {
			codes := k.vecs()
			for p, v := range codes {
				k.load(line, p, v)
			}
			multiply(4*line, codes)
			continue
		}
		lo, hi := k.vecs(), k.vecs()
		for p := range 2 {
			k.load(line, p, lo[p])
			if k.halves { // whose registers do not hold both
				VPAND(mask256, lo[p], lo[p])
				continue
			}
			VPSRLW(operand.Imm(4), lo[p], hi[p])
			VPANDD(mask512, lo[p], lo[p])
			VPANDD(mask512, hi[p], hi[p])
		}
		multiply(8*line, lo)
		for p := range 2 {
			if k.halves {
				k.load(line, p, hi[p])
				VPSRLW(operand.Imm(4), hi[p], hi[p])
				VPAND(mask256, hi[p], hi[p])
			}
		}
		multiply(8*line+4, hi)
	}
	var scales [2]reg.VecVirtual
	if k.single {
		scales = k.groupScales()
	}
	for t := range dots {
		scale := k.vec()
		VBROADCASTSS(k.act(t, layout.ActScale), scale)
		for p, d := range dots[t] {
			VCVTDQ2PS(d, d)
			if k.single {
				VMULPS(scale, d, d)
				VFMADD231PS(d, scales[p], k.sum[t][p])
			} else {
				VFMADD231PS(d, scale, k.sum[t][p])
			}
		}
	}
}

// load fills a vector with a line of codes.
func (k *pair) load(line, p int, v reg.VecVirtual) {
	m := k.at(k.panel, p, line*layout.LineBytes, 4)
	if k.halves {
		VMOVDQU(m, v)
	} else {
		VMOVDQU32(m, v)
	}
}

// start begins dot products with minus the zero points times the sums of the
// activations.
func (k *pair) start(dots [][2]reg.VecVirtual) {
	var zeros [2]reg.VecVirtual
	if !k.sym {
		zeros = k.vecs()
		for p, z := range zeros {
			VPMOVZXBD(k.at(k.zeros, p, 0, 1), z)
		}
	}
	for t, ds := range dots {
		if k.sym {
			VPBROADCASTD(k.act(t, startAt(k.bits)), ds[0])
			if k.halves {
				VMOVDQA(ds[0], ds[1])
			} else {
				VMOVDQA32(ds[0], ds[1])
			}
			continue
		}
		// The pairs of 16 bits are (zero, 0) and (minus the sum, its sign).
		x := k.vec()
		VPBROADCASTD(k.act(t, layout.ActNegSum), x)
		for p, d := range ds {
			if k.halves {
				VPMADDWD(x, zeros[p], d)
				continue
			}
			VXORPS(d, d, d)
			VPDPWSSD(x, zeros[p], d)
		}
	}
}
