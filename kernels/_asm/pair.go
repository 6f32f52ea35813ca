package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/_asm/table"
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
	format
	tokens  int
	halves  bool
	panel   reg.Register // the place in the stream of the first panel
	apart   reg.Register // bytes from there to the second
	scales  reg.Register // of the block, in the first panel
	zerosAt reg.Register // of the group, in the first panel
	superAt reg.Register // the span's head in the first panel, where scales have a scale
	side    reg.Register // what stands beside the activations, if the format needs it
	acts    reg.Register
	scratch reg.Register

	// The running sums, of the group where it has several blocks: those of the
	// row are in scratch then.
	single bool
	sum    [][2]reg.VecVirtual
}

func pairKernels() {
	for _, f := range formats() {
		for _, t := range []int{2, 4, 6} {
			pairTile(f, false, t)
		}
		for _, t := range []int{2, 3} {
			pairTile(f, true, t)
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

func pairTile(f format, halves bool, tokens int) {
	isa, rows := tier(avx512{}), "two panels, apart bytes from each other,"
	name, next := fmt.Sprintf("mul%sAVX512VNNI2x%d", f.ID(), tokens), "two, 128 bytes further in c, for as many pairs as times says"
	if halves {
		isa, rows = avxvnni{}, "16 rows of a panel, all,"
		name, next = fmt.Sprintf("mul%sAVXVNNI16x%d", f.ID(), tokens), "panels, 64 bytes further in c, for as many as times says"
	}
	TEXT(name, NOSPLIT, mulSignature)
	Doc(fmt.Sprintf("%s is MulGeneric for %s and %d tokens, %s.", name, rows, tokens, f.Describe()),
		fmt.Sprintf("It goes on to the next %s. ldc and step count bytes.", next))
	Pragma("noescape")
	if halves {
		registerTile(name, f, isa, layout.PanelRows, tokens)
	} else {
		registerTile(name, f, isa, 2*layout.PanelRows, tokens)
	}
	k := &pair{format: f, tokens: tokens, halves: halves, panel: Load(Param("panel"), GP64()), acts: GP64(),
		scratch: Load(Param("scratch"), GP64()), scales: GP64(), zerosAt: GP64()}
	if !halves {
		k.apart = Load(Param("apart"), GP64())
	}
	if f.SideStep() > 0 {
		k.side = GP64()
	}
	if f.Scale == layout.SuperScale {
		k.superAt = GP64()
	}
	isa.setup(f)
	if f.Group > 0 {
		k.single = true
		k.loop("single", nil)
		return
	}
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
	if k.side != nil {
		Load(Param("side"), k.side)
	}
	clearSums()
	if !k.single {
		k.each(func(t, p int) { VMOVUPS(k.sum[0][0], k.rowSum(t, p)) })
	}
	left := Load(Param("blocks"), GP64())
	groups := GP64()

	Label(label + "Span")
	if k.superAt != nil {
		MOVQ(k.panel, k.superAt)
		LEAQ(operand.Mem{Base: k.panel, Disp: k.SubsAt()}, k.scales)
	} else {
		MOVQ(k.panel, k.scales)
	}
	if k.WithZeros {
		LEAQ(operand.Mem{Base: k.panel, Disp: k.SpanBlocks() * layout.ScaleBytes}, k.zerosAt)
	}
	ADDQ(operand.U32(k.Head()), k.panel)
	MOVQ(operand.U32(k.SpanBlocks()), groups)
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
	ADDQ(operand.U32(k.Lines()*layout.LineBytes), k.panel)
	step := Load(Param("step"), GP64())
	ADDQ(step, k.acts)
	if k.side != nil {
		ADDQ(paramAt("sideStep"), k.side)
	}
	if k.single {
		DECQ(left)
	} else {
		DECQ(n)
		JNZ(operand.LabelRef(label + "Block"))
		scales := k.groupScales(0)
		k.each(func(t, p int) {
			VFMADD213PS(k.rowSum(t, p), scales[p], k.sum[t][p]) // sum*scales + row sum
			VMOVUPS(k.sum[t][p], k.rowSum(t, p))
		})
		TESTQ(left, left)
	}
	JZ(operand.LabelRef(label + "Done"))
	ADDQ(operand.U32(k.ScaleStep()), k.scales)
	if k.WithZeros {
		ADDQ(operand.U32(layout.ZeroBytes), k.zerosAt)
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

// groupScales loads the scales of a part of the block.
func (k *pair) groupScales(part int) [2]reg.VecVirtual {
	return k.loadGroup(part*layout.SubBytes, 0)
}

// groupMins loads the least values of the group.
func (k *pair) groupMins() [2]reg.VecVirtual {
	return k.loadGroup(k.MinsApart(), layout.ScaleBytes)
}

// loadGroup loads what lies disp bytes behind the scales of the block, of their type;
// what that is multiplied by, if it is, lies super bytes behind the span's head.
func (k *pair) loadGroup(disp, super int) [2]reg.VecVirtual {
	vs := k.vecs()
	for p, v := range vs {
		if k.superAt == nil {
			k.format.loadScales(k.at(k.scales, p, disp, 2), operand.Mem{}, v, nil)
			continue
		}
		k.format.loadScales(k.at(k.scales, p, disp, 1), k.at(k.superAt, p, super, 2), v, k.vec())
	}
	return vs
}

// block generates the products of one block of 32 columns.
func (k *pair) block() {
	dots := make([][2]reg.VecVirtual, k.tokens)
	for t := range dots {
		dots[t] = k.vecs()
	}
	for part := range k.Parts() {
		k.start(part, dots)
		k.products(part, dots)
		k.finish(part, dots)
	}
	if !k.Mins {
		return
	}
	mins := k.groupMins()
	for t := range dots {
		x := k.vec()
		VBROADCASTSS(k.beside(t, 0), x)
		for p, m := range mins {
			VFMADD231PS(x, m, k.sum[t][p])
		}
	}
}

// beside is what stands beside token t's current block, for a part of it.
func (k *pair) beside(t, part int) operand.Mem {
	return operand.Mem{Base: k.side, Disp: t*k.SideStep() + 4*part}
}

// products adds the products of a part of the block's columns to dots.
func (k *pair) products(part int, dots [][2]reg.VecVirtual) {
	multiply := func(column int, codes [2]reg.VecVirtual) {
		for t := range dots {
			x := k.vec()
			VPBROADCASTD(k.act(t, column), x)
			for p, d := range dots[t] {
				VPDPBUSD(x, codes[p], d)
			}
		}
	}
	if k.Bits == 8 {
		for line := range k.Lines() {
			codes := k.vecs()
			for p, v := range codes {
				k.load(line, p, v)
			}
			multiply(4*line, codes)
		}
		return
	}
	n := 4 / k.Parts()
	for line := part * n; line < (part+1)*n; line++ {
		lo, hi := k.vecs(), k.vecs()
		for p := range 2 {
			k.load(line, p, lo[p])
			if !k.halves {
				VPSRLW(operand.Imm(4), lo[p], hi[p])
				VPANDD(mask512, hi[p], hi[p])
				k.complete(2*line+1, p, hi[p])
			}
			k.maskLow(lo[p])
			k.complete(2*line, p, lo[p])
		}
		multiply(8*line, lo)
		for p := range 2 {
			if k.halves { // whose registers do not hold both
				k.load(line, p, hi[p])
				VPSRLW(operand.Imm(4), hi[p], hi[p])
				k.maskLow(hi[p])
				k.complete(2*line+1, p, hi[p])
			}
		}
		multiply(8*line+4, hi)
	}
}

// maskLow leaves low nibbles.
func (k *pair) maskLow(v reg.VecVirtual) {
	if k.halves {
		k.maskNibbles(v)
	} else {
		VPANDD(mask512, v, v)
	}
}

// complete turns the nibbles of vector j of the codes of vector p of rows into unsigned
// bytes.
func (k *pair) complete(j, p int, v reg.VecVirtual) {
	high := k.at(k.panel, p, k.HighLine(j)*layout.LineBytes, 4)
	switch {
	case k.halves:
		k.complete256(j, high, v)
	case k.Table != nil:
		VPSHUFB(v, table512, v)
	case k.High() > 0:
		h := ZMM()
		VMOVDQU32(high, h)
		k.shiftHigh(j, h, h)
		VPTERNLOGD(operand.Imm(0xf8), high512, h, v) // v or (h and its mask)
	}
}

// finish adds the dot products of a part of the block to the sums.
func (k *pair) finish(part int, dots [][2]reg.VecVirtual) {
	var scales [2]reg.VecVirtual
	if k.single {
		scales = k.groupScales(part)
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

// start begins the dot products of a part of the block with minus the zero points times
// the sums of the activations.
func (k *pair) start(part int, dots [][2]reg.VecVirtual) {
	var zeros [2]reg.VecVirtual
	if k.WithZeros {
		zeros = k.vecs()
		for p, z := range zeros {
			VPMOVZXBD(k.at(k.zerosAt, p, 0, 1), z)
		}
	}
	for t, ds := range dots {
		from := k.act(t, max(k.format.Start(), 0))
		switch {
		case k.WithZeros:
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
			continue
		case k.format.Start() == table.StartNowhere:
			for _, d := range ds {
				VXORPS(d, d, d)
			}
			continue
		case k.format.Start() == table.StartBeside:
			from = k.beside(t, part)
		}
		VPBROADCASTD(from, ds[0])
		if k.StartTwice() {
			VPADDD(ds[0], ds[0], ds[0])
		}
		if k.halves {
			VMOVDQA(ds[0], ds[1])
		} else {
			VMOVDQA32(ds[0], ds[1])
		}
	}
}
