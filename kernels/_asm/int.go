package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/_asm/table"
	"nibble/kernels/layout"
)

func intKernels() {
	for _, f := range formats() {
		tokens := []int{1, 2, 4, 8, layout.MaxTokens}
		if !f.Zeros {
			tokens = []int{1, 2, 4}
		}
		for _, t := range tokens {
			tile(f, t, avx512{})
		}
		for _, t := range []int{1, 2, 4} {
			tile(f, t, avxvnni{})
		}
		for t := 1; t <= 4-f.Bits/4; t++ { // what 16 registers hold
			tile(f, t, avx2{})
		}
	}
	pairKernels()
	quantizeBlocks()
}

// tier is what differs between instruction sets.
type tier interface {
	name() string
	lanes() int // rows of the panel a call computes
	vec() reg.VecVirtual
	// setup makes constants.
	setup(f format)
	// free is how many registers are left for sums.
	free(k *kernel) int
	// late reports that a group's scales and zero points are loaded where they are
	// used: registers are short before.
	late(k *kernel) bool
	// block generates the products of one block of 32 columns.
	block(k *kernel)
}

// kernel is the state of the generation of one kernel.
type kernel struct {
	format
	tokens     int
	panel      reg.Register // the place in the stream of the panel
	lane       reg.Register // the first row, where a call does not compute all
	half       int          // of the rows, where there are two vectors of them
	ahead      reg.Register // how far in front of the codes to fetch, for one token
	acts       reg.Register
	side       reg.Register // what stands beside them, if the format needs it
	scratch    reg.Register
	scales     [2]reg.VecVirtual // of the block's groups, float32
	mins       reg.VecVirtual    // of the group, float32; nil unless the format has them
	zeroPoints reg.VecVirtual    // of the group, int32; nil when symmetric
	scalesAt   reg.Register      // behind them, by the bytes of a block
	zerosAt    reg.Register
	superAt    reg.Register // the span's head, where scales have a scale

	// The running sums of the tokens, sum, and those of the current group, part,
	// in registers or, where there are too few, in scratch. A group of one block
	// has no sum of its own.
	single    bool
	sum, part []reg.VecVirtual
}

// act is what lies at an offset of token t's current block.
func (k *kernel) act(t, offset int) operand.Mem {
	return operand.Mem{Base: k.acts, Disp: t*layout.ActBytes + offset}
}

// code is a line of codes of the current block.
func (k *kernel) code(line int) operand.Mem {
	return k.inPanel(k.panel, 4).Offset(line * layout.LineBytes)
}

// inPanel is what lies at a pointer, for the first of the rows of a vector; size is
// that of a row's part.
func (k *kernel) inPanel(p reg.Register, size uint8) operand.Mem {
	m := operand.Mem{Base: p, Disp: k.half * int(size) * layout.PanelRows / 2}
	if k.lane != nil {
		m.Index, m.Scale = k.lane, size
	}
	return m
}

// sumAt and partAt are the places in scratch.
func (k *kernel) sumAt(t int) operand.Mem {
	return operand.Mem{Base: k.scratch, Disp: t * layout.LineBytes}
}

func (k *kernel) partAt(t int) operand.Mem {
	return operand.Mem{Base: k.scratch, Disp: (layout.MaxTokens + t) * layout.LineBytes}
}

// beside is what stands beside token t's current block, for a part of it.
func (k *kernel) beside(t, part int) operand.Mem {
	return operand.Mem{Base: k.side, Disp: t*k.SideStep() + 4*part}
}

// registers makes n registers, or none when there are too few.
func registers(isa tier, n, free int) []reg.VecVirtual {
	if n > free {
		return nil
	}
	vs := make([]reg.VecVirtual, n)
	for i := range vs {
		vs[i] = isa.vec()
	}
	return vs
}

// tile generates a kernel for a number of tokens.
func tile(f format, tokens int, isa tier) {
	name := fmt.Sprintf("mul%s%sx%d", f.ID(), isa.name(), tokens)
	TEXT(name, NOSPLIT, mulSignature)
	rows, place := isa.lanes(), "from first on"
	if tokens == 1 {
		rows, place = layout.PanelRows, "all, fetched ahead bytes before they are read"
	} else if rows == layout.PanelRows {
		place = "all"
	}
	Doc(fmt.Sprintf("%s is MulGeneric for %d rows of a panel, %s, and %d tokens, %s.", name, rows, place, tokens, f.Describe()),
		"It goes on to the next panels, 64 bytes further in c, for as many as times says. ldc and step count bytes.")
	Pragma("noescape")
	registerTile(name, f, isa, rows, tokens)
	k := &kernel{format: f, tokens: tokens, panel: Load(Param("panel"), GP64()), acts: GP64(),
		scratch: Load(Param("scratch"), GP64())}
	if tokens == 1 {
		k.ahead = Load(Param("ahead"), GP64())
	} else if isa.lanes() < layout.PanelRows {
		k.lane = Load(Param("first"), GP64())
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
		k.loop(isa, "single", nil)
		return
	}
	perGroup := Load(Param("perGroup"), GP64())
	CMPQ(perGroup, operand.Imm(1))
	JEQ(operand.LabelRef("single"))
	k.loop(isa, "group", perGroup)
	k.single = true
	k.loop(isa, "single", nil)
}

// loop generates the product over all blocks, for groups of several blocks or of
// one, to the end of the function. One token meets all rows, so that its weights
// are read once: short vectors then take the halves of a block one after the other.
func (k *kernel) loop(isa tier, label string, perGroup reg.Register) {
	Label(label)
	halves := []*kernel{k}
	if k.tokens == 1 && isa.lanes() < layout.PanelRows {
		second := *k
		second.half = 1
		halves = append(halves, &second)
	}
	for _, h := range halves {
		h.sum, h.part = nil, nil
		free := isa.free(h)
		if !h.single {
			h.part = registers(isa, h.tokens, free)
			free -= len(h.part)
		}
		h.sum = registers(isa, h.tokens, free)
	}
	panels, c := Load(Param("times"), GP64()), Load(Param("c"), GP64())

	Label(label + "Panel")
	Load(Param("acts"), k.acts)
	if k.side != nil {
		Load(Param("side"), k.side)
	}
	for _, h := range halves {
		h.side, h.superAt = k.side, k.superAt
		clearSums(isa, h.sum, h.tokens, h.sumAt)
	}
	left := Load(Param("blocks"), GP64())
	step := Load(Param("step"), GP64())
	scales, groups := GP64(), GP64()
	var zeros reg.Register
	if k.WithZeros {
		zeros = GP64()
	}

	Label(label + "Span")
	if k.superAt != nil {
		MOVQ(k.panel, k.superAt)
		LEAQ(operand.Mem{Base: k.panel, Disp: k.SubsAt()}, scales)
	} else {
		MOVQ(k.panel, scales)
	}
	if k.WithZeros {
		LEAQ(operand.Mem{Base: k.panel, Disp: k.SpanBlocks() * layout.ScaleBytes}, zeros)
	}
	ADDQ(operand.U32(k.Head()), k.panel)
	MOVQ(operand.U32(k.SpanBlocks()), groups)
	Label(label + "Next")
	ADDQ(operand.U32(k.ScaleStep()), scales)
	if k.WithZeros {
		ADDQ(operand.U32(layout.ZeroBytes), zeros)
	}
	for _, h := range halves {
		h.scalesAt, h.zerosAt = scales, zeros
		if !isa.late(h) {
			h.loadScales(isa)
			h.loadZeros(isa)
		}
	}
	n := GP64()
	if !k.single {
		for _, h := range halves {
			clearSums(isa, h.part, h.tokens, h.partAt)
		}
		MOVQ(perGroup, n)
		CMPQ(n, left)
		CMOVQGT(left, n)
		SUBQ(n, left)
		Label(label + "Block")
	}
	for _, h := range halves {
		isa.block(h)
	}
	if k.ahead != nil {
		k.prefetch()
	}
	ADDQ(operand.U32(k.Lines()*layout.LineBytes), k.panel)
	ADDQ(step, k.acts)
	if k.side != nil {
		ADDQ(paramAt("sideStep"), k.side)
	}
	if k.single {
		DECQ(left)
	} else {
		DECQ(n)
		JNZ(operand.LabelRef(label + "Block"))
		for _, h := range halves {
			if isa.late(h) {
				h.loadScales(isa)
			}
			for t := range h.tokens {
				part := isa.vec()
				if h.part != nil {
					part = h.part[t]
				} else {
					VMOVUPS(h.partAt(t), part)
				}
				h.addPart(t, 0, part)
			}
		}
		TESTQ(left, left)
	}
	JZ(operand.LabelRef(label + "Done"))
	DECQ(groups)
	JNZ(operand.LabelRef(label + "Next"))
	JMP(operand.LabelRef(label + "Span"))

	Label(label + "Done")

	row, ldc := GP64(), Load(Param("ldc"), GP64())
	MOVQ(c, row)
	for t := range k.tokens {
		for _, h := range halves {
			v := isa.vec()
			if h.sum != nil {
				v = h.sum[t]
			} else {
				VMOVUPS(h.sumAt(t), v)
			}
			VMOVUPS(v, operand.Mem{Base: row, Disp: 4 * h.half * isa.lanes()})
		}
		if t+1 < k.tokens {
			ADDQ(ldc, row)
		}
	}
	ADDQ(operand.U32(4*layout.PanelRows), c)
	DECQ(panels)
	JNZ(operand.LabelRef(label + "Panel"))
	VZEROUPPER()
	RET()
}

// clearSums generates zeros for the sums of some tokens, in registers or at their
// places in scratch.
func clearSums(isa tier, sums []reg.VecVirtual, tokens int, at func(t int) operand.Mem) {
	if sums != nil {
		for _, v := range sums {
			VXORPS(v, v, v)
		}
		return
	}
	zero := isa.vec() // not kept: AVX-VNNI's registers are all taken elsewhere
	VXORPS(zero, zero, zero)
	for t := range tokens {
		VMOVUPS(zero, at(t))
	}
}

// prefetch fetches as much of the stream as a block takes, and where each block
// brings scales of its own a line more.
func (k *kernel) prefetch() {
	lines := k.Lines()
	if k.single {
		lines++
	}
	for i := range lines {
		PREFETCHT0(operand.Mem{Base: k.panel, Index: k.ahead, Scale: 1, Disp: i * layout.LineBytes})
	}
}

// loadScales fills registers with the scales of the block's groups, and with their
// least values.
func (k *kernel) loadScales(isa tier) {
	load := func(at operand.Mem, super int) reg.VecVirtual {
		v, tmp, from := isa.vec(), reg.VecVirtual(nil), operand.Mem{}
		if k.superAt != nil {
			tmp, from = isa.vec(), k.inPanel(k.superAt, 2).Offset(super)
		}
		k.format.loadScales(at, from, v, tmp)
		return v
	}
	size := uint8(2)
	if k.superAt != nil {
		size = 1
	}
	at := k.inPanel(k.scalesAt, size).Offset(-k.ScaleStep())
	for part := range k.Parts() {
		k.scales[part] = load(at.Offset(part*layout.SubBytes), 0)
	}
	if k.Mins {
		k.mins = load(at.Offset(k.MinsApart()), layout.ScaleBytes)
	}
}

// loadZeros fills a register with the zero points of the group, if it has any.
func (k *kernel) loadZeros(isa tier) {
	if k.WithZeros {
		k.zeroPoints = isa.vec()
		VPMOVZXBD(k.inPanel(k.zerosAt, 1).Offset(-layout.ZeroBytes), k.zeroPoints)
	}
}

// addPart adds the product of a whole group, a part of the block, still without the
// group's scale, to the sum of a token, and what the group's least value contributes.
func (k *kernel) addPart(t, part int, product reg.VecVirtual) {
	if k.sum != nil {
		VFMADD231PS(product, k.scales[part], k.sum[t])
		k.addMin(t, k.sum[t], product)
		return
	}
	// product = product*scales + sum
	VFMADD213PS(k.sumAt(t), k.scales[part], product)
	k.addMin(t, product, nil)
	VMOVUPS(product, k.sumAt(t))
}

// addMin adds the least value times the sum of the activations; tmp is free, or nil.
func (k *kernel) addMin(t int, sum, tmp reg.VecVirtual) {
	switch {
	case !k.Mins:
	case sum.Size() == 64:
		VFMADD231PS_BCST(k.beside(t, 0), k.mins, sum)
	default:
		if tmp == nil {
			tmp = vecLike(sum)
		}
		VBROADCASTSS(k.beside(t, 0), tmp)
		VFMADD231PS(tmp, k.mins, sum)
	}
}

// addBlock adds the integer product of a part of a block times the scale of its
// activations, which multiply fetches, to the sums. dots is overwritten.
func (k *kernel) addBlock(t, part int, dots reg.VecVirtual, multiply func(v reg.VecVirtual), accumulate func(v, sum reg.VecVirtual)) {
	VCVTDQ2PS(dots, dots)
	switch {
	case k.single:
		multiply(dots)
		k.addPart(t, part, dots)
	case k.part != nil:
		accumulate(dots, k.part[t])
	default:
		sum := vecLike(dots)
		VMOVUPS(k.partAt(t), sum)
		accumulate(dots, sum)
		VMOVUPS(sum, k.partAt(t))
	}
}

func vecLike(v reg.VecVirtual) reg.VecVirtual {
	if v.Size() == 64 {
		return ZMM()
	}
	return YMM()
}

// avx512 computes 16 rows with VPDPBUSD on 512 bits; the activations are
// embedded broadcasts.
type avx512 struct{}

// Constants in registers: low nibbles, the bits above them, and what codes stand for.
var mask512, high512, table512, mask256, ones256, sixteen256, table256, tableHigh256 reg.VecVirtual

func (avx512) name() string        { return "AVX512VNNI" }
func (avx512) lanes() int          { return 16 }
func (avx512) vec() reg.VecVirtual { return ZMM() }
func (avx512) late(*kernel) bool   { return false }

// Beside the sums live 8 vectors of codes, a mask, scales, zero points or another
// constant or scales, as many dot products as are interleaved, and a temporary.
func (avx512) free(*kernel) int { return 32 - 12 - interleave }

func (avx512) setup(f format) {
	if f.Bits < 8 {
		mask512 = constant(ZMM(), 0x0f0f0f0f)
	}
	if f.High() > 0 {
		high512 = constant(ZMM(), f.highMask())
	}
	if f.Table != nil {
		table512 = ZMM()
		VMOVDQU32(f.tableBytes(0, 255), table512)
	}
}

// constant fills a register with a 32-bit pattern.
func constant(v reg.VecVirtual, bits uint32) reg.VecVirtual {
	r, x := GP32(), XMM()
	MOVL(operand.U32(bits), r)
	VMOVD(r, x)
	VPBROADCASTD(x, v)
	return v
}

// interleave is how many tokens are computed at a time: enough chains of
// dependent dot products to hide their latency.
const interleave = 4

// codes loads the block's codes: vector j holds columns 4j to 4j+3 of 16 rows, as
// unsigned bytes.
func (avx512) codes(k *kernel) (vs [8]reg.VecVirtual) {
	if k.Bits == 8 {
		for j := range vs {
			vs[j] = ZMM()
			VMOVDQU32(k.code(j), vs[j])
		}
		return vs
	}
	for line := range 4 {
		lo, hi := ZMM(), ZMM()
		VMOVDQU32(k.code(line), lo)
		VPSRLW(operand.Imm(4), lo, hi)
		VPANDD(mask512, lo, lo)
		VPANDD(mask512, hi, hi)
		vs[2*line], vs[2*line+1] = lo, hi
	}
	for j, v := range vs {
		switch {
		case k.Table != nil:
			VPSHUFB(v, table512, v)
		case k.High() > 0:
			high := ZMM()
			VMOVDQU32(k.code(k.HighLine(j)), high)
			k.shiftHigh(j, high, high)
			VPTERNLOGD(operand.Imm(0xf8), high512, high, v) // v or (high and its mask)
		}
	}
	return vs
}

func (isa avx512) block(k *kernel) {
	vs := isa.codes(k)
	var sums [interleave]reg.VecVirtual
	for i := range sums {
		sums[i] = ZMM()
	}
	for t0 := 0; t0 < k.tokens; t0 += interleave {
		dots := sums[:min(interleave, k.tokens-t0)]
		for part := range k.Parts() {
			for i := range dots {
				switch {
				case k.WithZeros: // the pairs of 16 bits are (zero, 0) and (minus the sum, its sign)
					VPXORD(dots[i], dots[i], dots[i])
					VPDPWSSD_BCST(k.act(t0+i, layout.ActNegSum), k.zeroPoints, dots[i])
				case k.Start() == table.StartNowhere:
					VPXORD(dots[i], dots[i], dots[i])
				case k.Start() == table.StartBeside:
					VPBROADCASTD(k.beside(t0+i, part), dots[i])
				default:
					VPBROADCASTD(k.act(t0+i, k.Start()), dots[i])
					if k.StartTwice() {
						VPADDD(dots[i], dots[i], dots[i])
					}
				}
			}
			n := len(vs) / k.Parts()
			for j := part * n; j < (part+1)*n; j++ {
				for i := range dots {
					VPDPBUSD_BCST(k.act(t0+i, 4*j), vs[j], dots[i])
				}
			}
			for i, d := range dots {
				scale := k.act(t0+i, layout.ActScale)
				k.addBlock(t0+i, part, d,
					func(v reg.VecVirtual) { VMULPS_BCST(scale, v, v) },
					func(v, sum reg.VecVirtual) { VFMADD231PS_BCST(scale, v, sum) })
			}
		}
	}
}

// finish256 adds the dot products of a part of a block, still without a zero point
// unless started is set, to a token's sum.
func (k *kernel) finish256(t, part int, dots reg.VecVirtual, started bool) {
	z, s := YMM(), YMM()
	switch {
	case k.WithZeros:
		VPBROADCASTD(k.act(t, layout.ActNegSum), z)
		VPMADDWD(k.zeroPoints, z, z)
		VPADDD(z, dots, dots)
	case started, k.Start() == table.StartNowhere:
	case k.Start() == table.StartBeside:
		VPBROADCASTD(k.beside(t, part), z)
		VPADDD(z, dots, dots)
	default:
		VPBROADCASTD(k.act(t, k.Start()), z)
		VPADDD(z, dots, dots)
		if k.StartTwice() {
			VPADDD(z, dots, dots)
		}
	}
	VBROADCASTSS(k.act(t, layout.ActScale), s)
	k.addBlock(t, part, dots,
		func(v reg.VecVirtual) { VMULPS(s, v, v) },
		func(v, sum reg.VecVirtual) { VFMADD231PS(s, v, sum) })
}

// avxvnni computes 8 rows with VPDPBUSD on 256 bits. avo writes the instruction
// by name, which Go's assembler would encode for AVX-512; vex.go turns it into
// the bytes of the VEX form.
type avxvnni struct{}

func (avxvnni) name() string        { return "AVXVNNI" }
func (avxvnni) lanes() int          { return 8 }
func (avxvnni) vec() reg.VecVirtual { return YMM() }
func (avxvnni) late(k *kernel) bool { return k.tokens > 1 }

// Beside the sums live two dot products of each token, a mask or a table, two vectors
// of codes and one of activations; for one token, scales and zero points or least
// values, too.
func (v avxvnni) free(k *kernel) int {
	free := 16 - 4 - 2*k.tokens
	if !v.late(k) {
		free -= 2
	}
	return free
}

func (avxvnni) setup(f format) {
	switch {
	case f.Table != nil:
		table256 = YMM()
		VMOVDQU(f.tableBytes(0, 255), table256)
	case f.Bits == 4:
		mask256 = constant(YMM(), 0x0f0f0f0f)
	}
}

// maskNibbles leaves the low nibbles, by a register that has them or memory.
func (f format) maskNibbles(v reg.VecVirtual) {
	if f.Bits == 4 && f.Table == nil {
		VPAND(mask256, v, v)
		return
	}
	VPAND(fill64(0x0f0f0f0f), v, v)
}

// complete256 turns the nibbles of vector j of a block's codes, which lies at high for
// the bits above them, into unsigned bytes.
func (f format) complete256(j int, high operand.Mem, v reg.VecVirtual) {
	switch {
	case f.Table != nil:
		VPSHUFB(v, table256, v)
	case f.High() > 0:
		h := YMM()
		VMOVDQU(high, h)
		f.shiftHigh(j, h, h)
		VPAND(fill64(f.highMask()), h, h)
		VPOR(h, v, v)
	}
}

// block sums the products of low and of high nibbles, or of even and odd lines, by
// themselves: two chains of each token hide the latency of VPDPBUSD.
func (v avxvnni) block(k *kernel) {
	dots := make([][2]reg.VecVirtual, k.tokens)
	for t := range dots {
		dots[t] = [2]reg.VecVirtual{YMM(), YMM()}
	}
	started := !k.WithZeros && k.Start() >= 0
	add := func(j int, v reg.VecVirtual) {
		for t := range dots {
			x := YMM()
			VPBROADCASTD(k.act(t, 4*j), x)
			VPDPBUSD(x, v, dots[t][j%2])
		}
	}
	lines := min(k.Bits, 8)
	if k.Bits < 8 {
		lines = 4
	}
	for part := range k.Parts() {
		for t := range dots {
			if started {
				VPBROADCASTD(k.act(t, k.Start()), dots[t][0])
				if k.StartTwice() {
					VPADDD(dots[t][0], dots[t][0], dots[t][0])
				}
			} else {
				VPXOR(dots[t][0], dots[t][0], dots[t][0])
			}
			VPXOR(dots[t][1], dots[t][1], dots[t][1])
		}
		n := lines / k.Parts()
		for line := part * n; line < (part+1)*n; line++ {
			v := YMM()
			VMOVDQU(k.code(line), v)
			if k.Bits == 8 {
				add(line, v)
				continue
			}
			hi := YMM()
			VPSRLW(operand.Imm(4), v, hi)
			k.maskNibbles(v)
			k.maskNibbles(hi)
			for i, v := range []reg.VecVirtual{v, hi} {
				j := 2*line + i
				k.complete256(j, k.code(k.HighLine(j)), v)
				add(j, v)
			}
		}
		if v.late(k) && part == 0 {
			k.loadZeros(v)
			if k.single {
				k.loadScales(v)
			}
		}
		for t, d := range dots {
			VPADDD(d[1], d[0], d[0])
			k.finish256(t, part, d[0], started)
		}
	}
}

// avx2 computes 8 rows with VPMADDUBSW, whose 16-bit sums saturate. Nibbles
// cannot reach that: a pair is at most 2*15*127 = 3810, and the eight pairs that
// a block adds to one 16-bit lane 30480. Codes of more bits, and what those of tables
// stand for, are taken as two nibbles.
type avx2 struct{}

func (avx2) name() string        { return "AVX2" }
func (avx2) lanes() int          { return 8 }
func (avx2) vec() reg.VecVirtual { return YMM() }
func (avx2) late(k *kernel) bool { return false }

// two tells that codes are taken as two nibbles.
func (f format) two() bool { return f.Bits > 4 || f.Table != nil }

// Beside the sums live the dot products, for both nibbles where there are two, two or
// three constants, scales, zero points or least values, two vectors of codes, one of
// activations and a temporary.
func (avx2) free(k *kernel) int {
	if k.two() {
		return 16 - 9 - 2*k.tokens
	}
	return 16 - 8 - k.tokens
}

// inMemory tells that constants are operands in memory: registers are short.
func (f format) inMemory() bool { return f.two() && f.Bits < 8 }

func (avx2) setup(f format) {
	if f.Table != nil {
		table256, tableHigh256 = YMM(), YMM()
		VMOVDQU(f.tableBytes(0, 15), table256)
		VMOVDQU(f.tableBytes(4, 15), tableHigh256)
	}
	if f.inMemory() {
		return
	}
	mask256 = constant(YMM(), 0x0f0f0f0f)
	ones256 = constant(YMM(), 0x00010001)
	if f.Bits == 8 {
		sixteen256 = constant(YMM(), 0x00100010)
	}
}

// nibbles256 are the nibbles of some columns' codes, high is nil if there are none.
type nibbles256 struct {
	column    int
	low, high reg.VecVirtual
}

// nibbles loads a line of codes and calls add for the nibbles of its columns.
func (avx2) nibbles(k *kernel, line int, add func(n nibbles256)) {
	lo, hi := YMM(), YMM()
	VMOVDQU(k.code(line), lo)
	if !k.inMemory() {
		VPSRLW(operand.Imm(4), lo, hi)
		VPAND(mask256, lo, lo)
		VPAND(mask256, hi, hi)
		if k.Bits == 8 {
			add(nibbles256{4 * line, lo, hi})
			return
		}
		add(nibbles256{8 * line, lo, nil})
		add(nibbles256{8*line + 4, hi, nil})
		return
	}
	for i := range 2 {
		v, high := lo, YMM()
		if i == 1 { // loaded again: its register is free meanwhile
			v = hi
			VMOVDQU(k.code(line), v)
			VPSRLW(operand.Imm(4), v, v)
		}
		VPAND(fill64(0x0f0f0f0f), v, v)
		j := 2*line + i
		if k.Table != nil {
			VPSHUFB(v, tableHigh256, high)
			VPSHUFB(v, table256, v)
		} else {
			// One bit or two that stand at the bottom then.
			VMOVDQU(k.code(k.HighLine(j)), high)
			down := j
			if k.High() == 2 {
				down = 2 * (j % 4)
			}
			if down > 0 {
				VPSRLW(operand.Imm(uint64(down)), high, high)
			}
			VPAND(fill64(k.highMask()>>4), high, high)
		}
		add(nibbles256{4 * j, v, high})
	}
}

func (isa avx2) block(k *kernel) {
	ones, sixteen := operand.Op(ones256), operand.Op(sixteen256)
	if k.inMemory() {
		ones, sixteen = fill64(0x00010001), fill64(0x00100010)
	}
	// accumulate adds one product of nibbles; the first of a block starts the sum.
	accumulate := func(sum *reg.VecVirtual, x, v reg.VecVirtual) {
		if *sum == nil {
			*sum = YMM()
			VPMADDUBSW(x, v, *sum)
			return
		}
		p := YMM()
		VPMADDUBSW(x, v, p)
		VPADDW(p, *sum, *sum)
	}
	lines := k.Bits
	if k.Bits < 8 {
		lines = 4
	}
	for part := range k.Parts() {
		lows, highs := make([]reg.VecVirtual, k.tokens), make([]reg.VecVirtual, k.tokens)
		n := lines / k.Parts()
		for line := part * n; line < (part+1)*n; line++ {
			isa.nibbles(k, line, func(n nibbles256) {
				for t := range k.tokens {
					x := YMM()
					VPBROADCASTD(k.act(t, n.column), x)
					accumulate(&lows[t], x, n.low)
					if n.high != nil {
						accumulate(&highs[t], x, n.high)
					}
				}
			})
		}
		for t := range k.tokens {
			VPMADDWD(ones, lows[t], lows[t])
			if k.two() {
				VPMADDWD(sixteen, highs[t], highs[t])
				VPADDD(highs[t], lows[t], lows[t])
			}
			k.finish256(t, part, lows[t], false)
		}
	}
}

// quantizeBlocks is quantizeBlocksGeneric with AVX2.
func quantizeBlocks() {
	TEXT("quantizeBlocksAVX2", NOSPLIT, "func(dst *byte, step int, x *float32, n int)")
	Doc("quantizeBlocksAVX2 is quantizeBlocksGeneric for n > 0 blocks; step counts bytes.")
	Pragma("noescape")
	dst, step, x, n := Load(Param("dst"), GP64()), Load(Param("step"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	abs := constant(YMM(), 0x7fffffff)
	order := YMM()
	VMOVDQU(permutation("packOrder", 0, 4, 1, 5, 2, 6, 3, 7), order)
	c127, big := XMM(), XMM()
	constantScalar(c127, 0x42fe0000) // 127
	constantScalar(big, 0x7f7fffff)  // the largest float32
	Label("next")
	// The largest magnitude, as bits: these are ordered as the values are, and NaN
	// comes after everything.
	var v [4]reg.VecVirtual
	m := YMM()
	for i := range v {
		v[i] = YMM()
		VMOVUPS(operand.Mem{Base: x, Disp: 32 * i}, v[i])
		if i == 0 {
			VPAND(abs, v[i], m)
			continue
		}
		a := YMM()
		VPAND(abs, v[i], a)
		VPMAXUD(a, m, m)
	}
	h, k := XMM(), XMM()
	VEXTRACTI128(operand.Imm(1), m, h)
	VPMAXUD(m.AsX(), h, h)
	VPSRLDQ(operand.Imm(8), h, k)
	VPMAXUD(k, h, h)
	VPSRLDQ(operand.Imm(4), h, k)
	VPMAXUD(k, h, h)
	top := GP32()
	VMOVD(h, top)
	CMPL(top, operand.U32(0x7f800000))
	JCC(operand.LabelRef("broken"))
	scale, inv := XMM(), XMM()
	VDIVSS(c127, h, scale)
	VDIVSS(h, c127, inv)
	VUCOMISS(big, inv)
	JLS(operand.LabelRef("finite"))
	VXORPS(scale, scale, scale)
	VXORPS(inv, inv, inv)
	Label("finite")
	VMOVSS(scale, operand.Mem{Base: dst, Disp: layout.ActScale})
	invs := YMM()
	VBROADCASTSS(inv, invs)
	sum := YMM()
	for i := range v {
		VMULPS(invs, v[i], v[i])
		VCVTPS2DQ(v[i], v[i]) // rounds to nearest even
		if i == 0 {
			VMOVDQA(v[i], sum)
		} else {
			VPADDD(v[i], sum, sum)
		}
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VPERMD(v[0], order, v[0])
	VMOVDQU(v[0], operand.Mem{Base: dst})
	VEXTRACTI128(operand.Imm(1), sum, h)
	VPADDD(sum.AsX(), h, h)
	VPSRLDQ(operand.Imm(8), h, k)
	VPADDD(k, h, h)
	VPSRLDQ(operand.Imm(4), h, k)
	VPADDD(k, h, h)
	VPXOR(k, k, k)
	VPSUBD(h, k, h)
	VMOVD(h, operand.Mem{Base: dst, Disp: layout.ActNegSum})
	VPSLLD(operand.Imm(3), h, k)
	VMOVD(k, operand.Mem{Base: dst, Disp: layout.ActNegSum8})
	VPSLLD(operand.Imm(7), h, k)
	VMOVD(k, operand.Mem{Base: dst, Disp: layout.ActNegSum128})
	Label("advance")
	ADDQ(operand.U32(128), x)
	ADDQ(step, dst)
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	VZEROUPPER()
	RET()

	Label("broken") // an infinity or NaN: zeros with a scale that shows it
	z, nan := YMM(), GP32()
	VPXOR(z, z, z)
	VMOVDQU(z, operand.Mem{Base: dst})
	VMOVDQU(z.AsX(), operand.Mem{Base: dst, Disp: layout.ActScale})
	MOVL(operand.U32(0x7fc00000), nan)
	MOVL(nan, operand.Mem{Base: dst, Disp: layout.ActScale})
	JMP(operand.LabelRef("advance"))
}

func constantScalar(x reg.VecVirtual, bits uint32) {
	r := GP32()
	MOVL(operand.U32(bits), r)
	VMOVD(r, x)
}

// permutation declares a table of dword indices.
func permutation(name string, idx ...uint32) operand.Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, v := range idx {
		DATA(4*i, operand.U32(v))
	}
	return m
}
