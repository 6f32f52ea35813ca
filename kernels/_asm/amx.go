package main

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/_asm/table"
	"nibble/kernels/layout"
)

// The kernels with AMX tiles. A tile multiplication takes the activations of 16
// tokens, straight from where every kernel reads them, and signed codes of 16 rows,
// which unpackAMX has spread to bytes: the line of a panel that feeds VPDPBUSD with
// four columns of 16 rows is the row of a tile.
//
// The sums of a block leave the tile through memory, because only a vector can
// multiply them by the scale of the block. That, and not the multiplication, is
// what the time goes to: of about 54 cycles a block, storing the tile takes 17 and
// the vectors 24, at 16 for the multiplication itself.
const (
	amxBlock  = 8 * layout.LineBytes // a block of unpacked codes
	amxSums   = layout.AMXTokens * layout.LineBytes
	tileDots  = 0 // and 1: the sums of a block
	tileActs  = 2
	tileCodes = 3
)

func amxKernels() {
	dots := [2]int{layout.AMXTokens, layout.LineBytes}
	config := amxConfig("amxConfig", dots, dots, [2]int{layout.AMXTokens, layout.BlockCols}, [2]int{layout.BlockCols / 4, layout.LineBytes})
	for _, f := range formats() {
		if f.Bits&3 == 0 && f.Scale != layout.SuperScale && !f.Mins {
			unpackAMX(f)
		}
	}
	mulAMX("mulAMX", false, config)
	mulAMX("mulZerosAMX", true, config)
}

// amxConfig declares shapes of tiles (Intel SDM, volume 1, section 18.2): palette 1,
// then the bytes of a row and then the rows of each.
func amxConfig(name string, shapes ...[2]int) operand.Mem {
	m := GLOBL(name, RODATA|NOPTR)
	DATA(0, operand.U64(1))
	DATA(8, operand.U64(0))
	shapes = append(shapes, make([][2]int, 16-len(shapes))...)
	for i, rowsBytes := range shapes {
		DATA(16+2*i, operand.U16(rowsBytes[1]))
	}
	for i, rowsBytes := range shapes {
		DATA(48+i, operand.U8(rowsBytes[0]))
	}
	return m
}

// amx adds an instruction that Go's assembler lacks; spell turns it into bytes.
// Tiles are immediates: tile 3 is $3.
func amx(opcode string, operands ...operand.Op) {
	Instruction(&ir.Instruction{Opcode: opcode, Operands: operands, Inputs: operands})
}

func tile8(n int) operand.Op { return operand.Imm(uint64(n)) }

// unpackAMX generates the unpacking of a panel: codes less their zero points, a
// byte each, and scales as float32.
func unpackAMX(f format) {
	bits, sym := f.Bits, !f.WithZeros
	name := fmt.Sprintf("unpack%sAMX", f.ID())
	TEXT(name, NOSPLIT, "func(codes *byte, scales *byte, zeros *byte, panel *byte, blocks int, perGroup int)")
	what := "less their zero points"
	if f.Table != nil {
		what = "what they stand for"
	}
	if bits == 8 {
		what = "less 128, and to zeros the zero points less 128"
		if sym {
			what = "less 128"
		}
	}
	mul := "mulAMX"
	if bits == 8 && !sym {
		mul = "mulZerosAMX"
	}
	unpackers = append(unpackers, table.Unpacker{Function: name, Mul: mul, Format: f.Name, Zeros: f.WithZeros})
	Doc(fmt.Sprintf("%s spreads a panel of %s: to codes a byte each, as in 8 bits but signed, %s; to scales the scales.", name, f.Describe(), what))
	Pragma("noescape")
	codes, scales := Load(Param("codes"), GP64()), Load(Param("scales"), GP64())
	panel, left, perGroup := Load(Param("panel"), GP64()), Load(Param("blocks"), GP64()), Load(Param("perGroup"), GP64())
	span, head := f.Span(f.WithZeros)
	mask, zero := ZMM(), ZMM() // zero: what to take from each code, or to flip in it, or the table
	if bits == 4 {
		mask = constant(mask, 0x0f0f0f0f)
	}
	switch {
	case f.Table != nil:
		values := make([]byte, len(f.Table))
		for i, v := range f.Table {
			values[i] = byte(v)
		}
		VMOVDQU32(table64(strings.ReplaceAll(f.Name, "_", "")+"Signed", values), zero)
	case bits == 8:
		zero = constant(zero, 0x80808080)
	case sym:
		zero = constant(zero, 0x08080808)
	}
	var zeros reg.Register
	var spread reg.VecVirtual
	if bits == 8 && !sym {
		zeros, spread = Load(Param("zeros"), GP64()), constant(ZMM(), 128)
	} else if !sym {
		spread = constant(ZMM(), 0x01010101)
	}
	low := constant(ZMM(), 0xffff)
	from, fromZeros, groups, n := GP64(), GP64(), GP64(), GP64()

	Label("span")
	MOVQ(panel, from)
	LEAQ(operand.Mem{Base: panel, Disp: span * layout.ScaleBytes}, fromZeros)
	ADDQ(operand.U32(head), panel)
	MOVQ(operand.U32(span), groups)
	Label("group")
	v := ZMM()
	f.loadScales(operand.Mem{Base: from}, operand.Mem{}, v, nil)
	VMOVUPS(v, operand.Mem{Base: scales})
	ADDQ(operand.U32(layout.ScaleBytes), from)
	ADDQ(operand.U32(layout.LineBytes), scales)
	if !sym {
		z := ZMM()
		VPMOVZXBD(operand.Mem{Base: fromZeros}, z)
		ADDQ(operand.U32(layout.ZeroBytes), fromZeros)
		if bits == 4 {
			VPMULLD(spread, z, zero)
		} else {
			// As a pair of 16 bits with zero, which VPDPWSSD takes.
			VPSUBD(spread, z, z)
			VPANDD(low, z, z)
			VMOVDQU32(z, operand.Mem{Base: zeros})
			ADDQ(operand.U32(layout.LineBytes), zeros)
		}
	}
	MOVQ(perGroup, n)
	CMPQ(n, left)
	CMOVQGT(left, n)
	SUBQ(n, left)
	Label("block")
	for line := range bits {
		lo := ZMM()
		VMOVDQU32(operand.Mem{Base: panel, Disp: line * layout.LineBytes}, lo)
		if bits == 8 {
			VPXORD(zero, lo, lo)
			VMOVDQU32(lo, operand.Mem{Base: codes, Disp: line * layout.LineBytes})
			continue
		}
		hi := ZMM()
		VPSRLW(operand.Imm(4), lo, hi)
		VPANDD(mask, lo, lo)
		VPANDD(mask, hi, hi)
		if f.Table != nil {
			VPSHUFB(lo, zero, lo)
			VPSHUFB(hi, zero, hi)
		} else {
			VPSUBB(zero, lo, lo)
			VPSUBB(zero, hi, hi)
		}
		VMOVDQU32(lo, operand.Mem{Base: codes, Disp: 2 * line * layout.LineBytes})
		VMOVDQU32(hi, operand.Mem{Base: codes, Disp: (2*line + 1) * layout.LineBytes})
	}
	ADDQ(operand.U32(bits*layout.LineBytes), panel)
	ADDQ(operand.U32(amxBlock), codes)
	DECQ(n)
	JNZ(operand.LabelRef("block"))
	TESTQ(left, left)
	JZ(operand.LabelRef("done"))
	DECQ(groups)
	JNZ(operand.LabelRef("group"))
	JMP(operand.LabelRef("span"))
	Label("done")
	VZEROUPPER()
	RET()
}

// amxMul is the state of the generation of a product.
type amxMul struct {
	codes, scales, zeros reg.Register // of the block whose dot products are next; of the group of the block whose sums are
	acts, past           reg.Register // of these two blocks
	stepActs, stepCodes  reg.Register // bytes between tokens, between lines
	scratch              reg.Register
	zero                 reg.VecVirtual // of the group; nil without zero points

	single bool // a group is one block
	sum    []reg.VecVirtual
}

// mulAMX generates the product of 16 tokens and panels of unpacked codes.
func mulAMX(name string, zeros bool, config operand.Mem) {
	TEXT(name, NOSPLIT,
		"func(c *float32, ldc int, codes *byte, scales *byte, zeros *byte, acts *byte, step int, blocks int, perGroup int, panels int, more int, scratch *byte)")
	also := ""
	if zeros {
		also = " The zeros meet minus the sums of the activations."
	}
	Doc(fmt.Sprintf("%s is MulGeneric for %d tokens and panels that unpackAMX spread, one after the other.%s", name, layout.AMXTokens, also),
		"If more is not 0 the sums go on from c. ldc and step count bytes; scratch is three times 16 lines, on a cache line.")
	Pragma("noescape")
	k := &amxMul{codes: Load(Param("codes"), GP64()), scales: Load(Param("scales"), GP64()), acts: GP64(), past: GP64(),
		stepActs: GP64(), stepCodes: GP64(), scratch: Load(Param("scratch"), GP64())}
	if zeros {
		k.zeros, k.zero = Load(Param("zeros"), GP64()), ZMM()
	}
	at := GP64()
	LEAQ(config, at)
	amx("LDTILECFG", operand.Mem{Base: at})
	MOVQ(operand.U32(layout.ActBytes), k.stepActs)
	MOVQ(operand.U32(layout.LineBytes), k.stepCodes)
	perGroup := Load(Param("perGroup"), GP64())
	CMPQ(perGroup, operand.Imm(1))
	JEQ(operand.LabelRef("single"))
	k.loop("group", perGroup)
	k.single = true
	k.loop("single", nil)
}

// loop generates the product over all panels, for groups of several blocks or of
// one, to the end of the function. While the vectors take a block's dot products
// from memory, the next block's go there from one tile and those of the block
// after it are computed in the other.
func (k *amxMul) loop(label string, perGroup reg.Register) {
	Label(label)
	panels, c := Load(Param("panels"), GP64()), Load(Param("c"), GP64())
	k.sum = make([]reg.VecVirtual, layout.AMXTokens) // of the group, where it has several blocks: those of the row are in scratch then
	for t := range k.sum {
		k.sum[t] = ZMM()
	}
	clearSums := func() {
		for _, v := range k.sum {
			VXORPS(v, v, v)
		}
	}
	left, n := GP64(), GP64()
	startGroup := func() { // counts its blocks
		clearSums()
		MOVQ(perGroup, n)
		CMPQ(n, left)
		CMOVQGT(left, n)
	}

	// end generates the end of a block: the last of a group goes on to the next group.
	end := func(tile int, next string) {
		k.add(tile)
		if !k.single {
			DECQ(n)
			JNZ(operand.LabelRef(next))
			k.addGroup()
			startGroup()
			Label(next)
		}
	}

	Label(label + "Panel")
	Load(Param("acts"), k.acts)
	MOVQ(k.acts, k.past)
	Load(Param("blocks"), left)
	k.dots(tileDots)
	clearSums()
	more := Load(Param("more"), GP64())
	TESTQ(more, more)
	JZ(operand.LabelRef(label + "First"))
	k.rows(c, func(t int, row operand.Mem) { VMOVUPS(row, k.sum[t]) })
	Label(label + "First")
	if !k.single {
		for t, v := range k.sum {
			VMOVUPS(v, k.rowSum(t))
		}
		startGroup()
	}
	CMPQ(left, operand.Imm(1))
	JEQ(operand.LabelRef(label + "One"))
	k.dots(tileDots + 1)
	Label(label + "One")
	k.store(tileDots)
	DECQ(left)
	JZ(operand.LabelRef(label + "End0"))
	Label(label + "Loop")
	for _, tile := range []int{tileDots + 1, tileDots} {
		half := fmt.Sprint(label, tile)
		CMPQ(left, operand.Imm(1))
		JEQ(operand.LabelRef(half + "Last"))
		k.dots(1 - tile)
		Label(half + "Last")
		k.store(tile)
		end(1-tile, half+"Next")
		DECQ(left)
		JZ(operand.LabelRef(fmt.Sprint(label, "End", tile)))
	}
	JMP(operand.LabelRef(label + "Loop"))
	for _, tile := range []int{tileDots, tileDots + 1} {
		Label(fmt.Sprint(label, "End", tile))
		k.add(tile)
		if tile == tileDots {
			JMP(operand.LabelRef(label + "Done"))
		}
	}

	Label(label + "Done")
	if !k.single {
		k.addGroup() // leaves the sums of the rows in registers, too
	}
	k.rows(c, func(t int, row operand.Mem) { VMOVUPS(k.sum[t], row) })
	ADDQ(operand.U32(4*layout.PanelRows), c)
	DECQ(panels)
	JNZ(operand.LabelRef(label + "Panel"))
	amx("TILERELEASE")
	VZEROUPPER()
	RET()
}

// rows generates f for the places of the tokens' results.
func (k *amxMul) rows(c reg.Register, f func(t int, row operand.Mem)) {
	row, ldc := GP64(), Load(Param("ldc"), GP64())
	MOVQ(c, row)
	for t := range k.sum {
		f(t, operand.Mem{Base: row})
		if t+1 < len(k.sum) {
			ADDQ(ldc, row)
		}
	}
}

func (k *amxMul) rowSum(t int) operand.Mem {
	return operand.Mem{Base: k.scratch, Disp: 2*amxSums + t*layout.LineBytes}
}

func (k *amxMul) nextGroup() {
	ADDQ(operand.U32(layout.LineBytes), k.scales)
	if k.zeros != nil {
		ADDQ(operand.U32(layout.LineBytes), k.zeros)
	}
}

// addGroup generates the end of a group: its sums times its scales are added to
// those of the rows.
func (k *amxMul) addGroup() {
	scale := ZMM()
	VMOVUPS(operand.Mem{Base: k.scales}, scale)
	k.nextGroup()
	for t, v := range k.sum {
		VFMADD213PS(k.rowSum(t), scale, v) // sum*scale + row sum
		VMOVUPS(v, k.rowSum(t))
	}
}

// store generates the way of a block's dot products from their tile to memory.
func (k *amxMul) store(tile int) {
	amx("TILESTORED", tile8(tile), k.dotsAt(tile, 0).Idx(k.stepCodes, 1))
}

func (k *amxMul) dotsAt(tile, t int) operand.Mem {
	return operand.Mem{Base: k.scratch, Disp: tile*amxSums + t*layout.LineBytes}
}

// dots generates the dot products of the next block, in a tile.
func (k *amxMul) dots(tile int) {
	amx("TILELOADD", operand.Mem{Base: k.codes, Index: k.stepCodes, Scale: 1}, tile8(tileCodes))
	amx("TILELOADD", operand.Mem{Base: k.acts, Index: k.stepActs, Scale: 1}, tile8(tileActs))
	amx("TILEZERO", tile8(tile))
	amx("TDPBSSD", tile8(tileCodes), tile8(tileActs), tile8(tile))
	ADDQ(operand.U32(amxBlock), k.codes)
	step := Load(Param("step"), GP64())
	ADDQ(step, k.acts)
}

// add generates the sums of a block: its dot products, stored from a tile, times
// the scales of its activations.
func (k *amxMul) add(tile int) {
	scale := ZMM()
	if k.single {
		VMOVUPS(operand.Mem{Base: k.scales}, scale)
	}
	if k.zeros != nil {
		VMOVDQU32(operand.Mem{Base: k.zeros}, k.zero)
	}
	for t, sum := range k.sum {
		dots, v := k.dotsAt(tile, t), ZMM()
		if k.zeros == nil {
			VCVTDQ2PS(dots, v)
		} else {
			VMOVDQU32(dots, v)
			VPDPWSSD_BCST(operand.Mem{Base: k.past, Disp: t*layout.ActBytes + layout.ActNegSum}, k.zero, v)
			VCVTDQ2PS(v, v)
		}
		actScale := operand.Mem{Base: k.past, Disp: t*layout.ActBytes + layout.ActScale}
		if k.single {
			VMULPS_BCST(actScale, v, v)
			VFMADD231PS(v, scale, sum)
		} else {
			VFMADD231PS_BCST(actScale, v, sum)
		}
	}
	if k.single {
		k.nextGroup()
	}
	step := Load(Param("step"), GP64())
	ADDQ(step, k.past)
}

// peakAMX generates what measures the limit: whole tiles, twice as wide as the
// kernels' blocks.
func peakAMX() {
	TEXT("peakAMX", NOSPLIT, "func(n int)")
	Doc("peakAMX runs n rounds of independent operations: TDPBSSD on whole tiles.")
	config := amxConfig("amxWhole", slices.Repeat([][2]int{{16, layout.LineBytes}}, peakTiles+2)...)
	n, at := Load(Param("n"), GP64()), GP64()
	LEAQ(config, at)
	amx("LDTILECFG", operand.Mem{Base: at})
	for tile := range peakTiles + 2 {
		amx("TILEZERO", tile8(tile))
	}
	Label("next")
	for tile := range peakTiles {
		amx("TDPBSSD", tile8(peakTiles), tile8(peakTiles+1), tile8(tile))
	}
	DECQ(n)
	JNZ(operand.LabelRef("next"))
	amx("TILERELEASE")
	RET()
}

// peakTiles is as many independent sums as there are tiles for, next to two factors.
const peakTiles = 6
