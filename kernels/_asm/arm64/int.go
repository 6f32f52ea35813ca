package main

import (
	"fmt"
	"slices"

	"nibble/kernels/_asm/table"
	"nibble/kernels/layout"
)

// The elements at layout.ActScale.
const (
	metaScale = iota
	metaNsum
	metaNsum8
	metaNsum128
)

// intKernels generates the tiles. Without hardware they were chosen by the models
// of llvm-mca 19: multiply-adds a cycle in groups of 32 symmetric 4-bit codes, on
// Neoverse V1 (four vector units) and, in brackets, N1 (two):
//
//	NEON    16x1 12.1 (5.9)   8x2 13.0 (6.5)
//	DotProd 16x1 22.1 (11.1)  16x2 28.3 (14.2)  8x4 32.8 (16.5)
//	I8MM    8x2 24.4          8x4 32.3          8x8 35.8
//
// DotProd 8x8 gains 2 % on V1 and loses 8 % on N1, whose stores of spilled sums
// take the vector units: it is left out. Half of what is not products is the
// conversion and scaling of every block's sums.
func intKernels(f *file) {
	for _, format := range table.Formats() {
		mul(f, neon{}, format, 16, 1)
		mul(f, neon{}, format, 8, 2)
		mul(f, dotProd{}, format, 16, 1)
		mul(f, dotProd{}, format, 16, 2)
		mul(f, dotProd{}, format, 8, 4)
		mul(f, i8mm{}, format, 8, 2)
		mul(f, i8mm{}, format, 8, 4)
		mul(f, i8mm{}, format, 8, 8)
	}
	quantizeBlocks(f)
}

// tier is what differs between instruction sets.
type tier interface {
	name() string
	// signed tells that 8-bit codes are taken as code-128, for the tier's products
	// are of signed bytes.
	signed() bool
	// working is how many registers block takes, beside constants and sums.
	working(k *kernel) int
	// spread turns the scales or zero points of four rows into vectors that match
	// the sums.
	spread(k *kernel, fourRows vec) []vec
	// block generates the products of one block of 32 columns.
	block(k *kernel)
	// store writes the sums to c, a row for every token, ldc apart.
	store(k *kernel, c, ldc gp)
}

// kernel is the state of the generation of one kernel.
type kernel struct {
	*function
	table.Format
	tier           tier
	rows, tokens   int
	lane, step     gp
	codes          gp // of the current block, for the first of the rows
	acts           gp // the current blocks of the tokens
	scales, zeros  gp // of the current block, for the first of the rows
	super          gp // the span's head, for the first of the rows, where scales have a scale
	side, sideStep gp // what stands beside acts, for least values
	scratch        gp
	nibbles, flip  vec // constants for nibbles and for signed 8 bits
	lookup, middle vec // what codes stand for; the zero point of codes of 5 or 6 bits

	// The running sums, and those of the current group. A group of one block has
	// none of its own.
	single     bool
	sums, part accumulators
}

// mul generates a kernel for some rows of a panel and some tokens.
func mul(f *file, t tier, format table.Format, rows, tokens int) {
	name := fmt.Sprintf("mul%s%s%dx%d", format.ID(), t.name(), rows, tokens)
	k := &kernel{Format: format, tier: t, rows: rows, tokens: tokens, nibbles: none, flip: none, lookup: none, middle: none}
	k.function = f.begin(name,
		fmt.Sprintf("%s is MulGeneric for %d rows of a panel from first on and %d tokens, %s.\nldc and step count bytes. It goes on to the next panels, 64 bytes further in c, for as many as times says.", name, rows, tokens, format.Describe()), "",
		table.MulParams...)
	f.tiles = append(f.tiles, table.Tile{Function: name, Format: format.Name, Zeros: format.WithZeros, ISA: t.name(), Rows: rows, Tokens: tokens})
	k.codes, k.acts, k.lane, k.step, k.scratch = k.param("panel"), k.gp(), k.param("first"), k.param("step"), k.param("scratch")
	left, perGroup := k.gp(), k.param("perGroup")
	k.scales, k.zeros = k.gp(), k.gp()
	k.op("ADD %v<<2, %v", k.lane, k.codes)
	switch {
	case k.Bits < 8:
		k.nibbles = k.constant(0x0f0f0f0f)
	case t.signed():
		k.flip = k.constant(0x80808080)
	}
	if k.Table != nil {
		k.lookup = k.bytes(*k.Table)
	}
	if k.High() > 0 && !k.Mins {
		k.middle = k.constant(0x01010101 << (k.Bits - 1))
	}
	if k.Mins {
		k.side, k.sideStep = k.gp(), k.param("sideStep")
	}
	if k.Scale == layout.SuperScale {
		k.super = k.gp()
	}
	if k.Group > 0 {
		k.single = true
		k.loop("single", left, perGroup)
		return
	}
	k.op("CMP $1, %v", perGroup)
	k.op("BEQ single")
	k.loop("several", left, perGroup)
	k.single = true
	k.loop("single", left, perGroup)
}

// loop generates the product over all blocks, in groups of several blocks or of
// one, to the end of the function.
func (k *kernel) loop(label string, left, perGroup gp) {
	k.label(label)
	free := slices.Clone(k.vecs)
	room := 16 * k.vectors()
	if !k.single {
		k.part = k.accumulators(room)
	}
	k.sums = k.accumulators(0)
	panels, c := k.gp(), k.gp()
	k.reload("times", panels)
	k.reload("c", c)

	k.label(label + "Panel")
	k.reload("acts", k.acts)
	if k.Mins {
		k.reload("side", k.side)
	}
	k.reload("blocks", left)
	k.clear(k.sums)
	n, groups := k.gp(), k.gp()

	k.label(label + "Span")
	k.op("SUB %v<<1, %v, %v", k.lane, k.codes, k.scales)
	switch {
	case k.WithZeros:
		k.op("SUB %v, %v, %v", k.lane, k.scales, k.zeros)
		k.op("ADD $%d, %v", k.SpanBlocks()*layout.ScaleBytes, k.zeros)
	case k.Scale == layout.SuperScale:
		k.op("MOVD %v, %v", k.scales, k.super)
		k.op("SUB %v, %v", k.lane, k.scales)
		k.op("ADD $%d, %v", k.SubsAt(), k.scales)
	}
	k.op("ADD $%d, %v", k.Head(), k.codes)
	k.op("MOVD $%d, %v", k.SpanBlocks(), groups)

	k.label(label + "Group")
	if !k.single {
		k.clear(k.part)
		k.op("CMP %v, %v", left, perGroup)
		k.op("CSEL LT, %v, %v, %v", perGroup, left, n)
		k.op("SUB %v, %v", n, left)
		k.label(label + "Block")
	}
	k.tier.block(k)
	k.op("ADD $%d, %v", k.Lines()*layout.LineBytes, k.codes)
	k.op("ADD %v, %v", k.step, k.acts)
	if k.Mins {
		k.op("ADD %v, %v", k.sideStep, k.side)
	}
	if k.single {
		k.op("SUB $1, %v", left)
	} else {
		k.op("SUBS $1, %v", n)
		k.op("BNE %sBlock", label)
		scales := k.groupScales(0)
		for i := range k.vectors() {
			part := k.fetch(k.part, i)
			k.add(k.sums, i, func(sum vec) {
				k.arm("fmla %v.4s, %v.4s, %v.4s", sum, part, scales[i%len(scales)])
			})
			k.drop(k.part, part)
		}
		k.free(scales...)
	}
	k.op("ADD $%d, %v", k.ScaleStep(), k.scales)
	if k.WithZeros {
		k.op("ADD $%d, %v", layout.ZeroBytes, k.zeros)
	}
	k.op("CBZ %v, %sDone", left, label)
	k.op("SUBS $1, %v", groups)
	k.op("BNE %sGroup", label)
	k.op("B %sSpan", label)

	k.label(label + "Done")
	row, ldc := n, groups
	k.op("MOVD %v, %v", c, row)
	k.reload("ldc", ldc)
	k.tier.store(k, row, ldc)
	k.op("ADD $%d, %v", 4*layout.PanelRows, c)
	k.op("SUBS $1, %v", panels)
	k.op("BNE %sPanel", label)
	k.op("RET")
	k.gps = append([]int{int(panels), int(c), int(n), int(groups)}, k.gps...)
	k.vecs = free
}

// addBlock adds the products of a block, integers, to sum i: times scale, that of
// the activations as multiply applies it, and for a group of one block the
// group's as well.
func (k *kernel) addBlock(i int, v vec, activations string, scales []vec) {
	k.arm("scvtf %v.4s, %v.4s", v, v)
	if !k.single {
		k.add(k.part, i, func(sum vec) { k.arm("fmla %v.4s, %v.4s, %s", sum, v, activations) })
		return
	}
	k.arm("fmul %v.4s, %v.4s, %s", v, v, activations)
	k.add(k.sums, i, func(sum vec) { k.arm("fmla %v.4s, %v.4s, %v.4s", sum, v, scales[i%len(scales)]) })
}

// blockScales are the scales of a part of the block where it needs them.
func (k *kernel) blockScales(part int) []vec {
	if k.single {
		return k.groupScales(part)
	}
	return nil
}

// act loads 16 bytes of token t's current block.
func (k *kernel) act(v vec, t, offset int) { k.load(v, k.acts, t*layout.ActBytes+offset) }

// groupScales converts the scales of the group, a part of the block.
func (k *kernel) groupScales(part int) []vec { return k.perRow(part*layout.SubBytes, 0) }

// groupMins converts the least values of the group.
func (k *kernel) groupMins() []vec { return k.perRow(k.MinsApart(), layout.ScaleBytes) }

// perRow converts what lies disp bytes behind the scales of the block, of their type;
// what that is multiplied by, if it is, lies super bytes behind the span's head.
func (k *kernel) perRow(disp, super int) (all []vec) {
	halves := func(lo, hi vec, base gp, at int) {
		k.load(lo, base, at)
		k.arm("fcvtl2 %v.4s, %v.8h", hi, lo)
		k.arm("fcvtl %v.4s, %v.4h", lo, lo)
	}
	for r := 0; r < k.rows; r += 8 {
		lo, hi := k.vec(), k.vec()
		switch k.Scale {
		case layout.F16Scale:
			halves(lo, hi, k.scales, disp+2*r)
		case layout.BF16Scale:
			k.load(lo, k.scales, disp+2*r)
			k.arm("shll2 %v.4s, %v.8h, #16", hi, lo)
			k.arm("shll %v.4s, %v.4h, #16", lo, lo)
		case layout.SuperScale:
			k.op("FMOVD %d(%v), F%d", disp+r, k.scales, int(lo))
			k.arm("sxtl %v.8h, %v.8b", lo, lo)
			k.arm("sxtl2 %v.4s, %v.8h", hi, lo)
			k.arm("sxtl %v.4s, %v.4h", lo, lo)
			factors := [2]vec{k.vec(), k.vec()}
			halves(factors[0], factors[1], k.super, super+2*r)
			for i, v := range []vec{lo, hi} {
				k.arm("scvtf %v.4s, %v.4s", v, v)
				k.arm("fmul %v.4s, %v.4s, %v.4s", v, v, factors[i])
			}
			k.free(factors[:]...)
		}
		all = append(append(all, k.tier.spread(k, lo)...), k.tier.spread(k, hi)...)
	}
	return all
}

// more is how many registers a block takes beyond what even steps of 4 bits do.
func (k *kernel) more() int {
	if k.Scale == layout.SuperScale {
		return 2
	}
	return 0
}

// columnLines is how many lines hold the codes of a block, but for the high bits of 5
// and 6.
func (k *kernel) columnLines() int {
	if k.Bits == 8 {
		return 8
	}
	return 4
}

// fromZero tells that the sums of a block start at zero: codes are signed and stand for
// themselves, or least values take the place of zero points.
func (k *kernel) fromZero() bool {
	return !k.WithZeros && (!k.Zeros || k.Bits == 8 && k.tier.signed())
}

// groupZeros widens the zero points of the group.
func (k *kernel) groupZeros() (zeros []vec) {
	widen := "uxtl"
	if k.Bits == 8 && k.tier.signed() {
		widen = "sxtl"
	}
	for r := 0; r < k.rows; r += 8 {
		lo, hi := k.vec(), k.vec()
		k.op("FMOVD %d(%v), F%d", r, k.zeros, int(lo))
		if widen == "sxtl" {
			k.arm("eor %v.16b, %v.16b, %v.16b", lo, lo, k.flip)
		}
		k.arm("%s %v.8h, %v.8b", widen, lo, lo)
		k.arm("%s2 %v.4s, %v.8h", widen, hi, lo)
		k.arm("%s %v.4s, %v.4h", widen, lo, lo)
		zeros = append(append(zeros, k.tier.spread(k, lo)...), k.tier.spread(k, hi)...)
	}
	return zeros
}

// codeVector loads four rows by four columns of 8-bit codes.
func (k *kernel) codeVector(v vec, line, quad int) {
	k.load(v, k.codes, line*layout.LineBytes+16*quad)
	if k.flip != none {
		k.arm("eor %v.16b, %v.16b, %v.16b", v, v, k.flip)
	}
}

// nibbleVectors loads four rows by eight columns of codes of less than 8 bits, as signed
// bytes: 4-bit codes of even steps as they are, others less their zero point.
func (k *kernel) nibbleVectors(lo, hi vec, line, quad int) {
	k.load(lo, k.codes, line*layout.LineBytes+16*quad)
	k.arm("ushr %v.16b, %v.16b, #4", hi, lo)
	k.arm("and %v.16b, %v.16b, %v.16b", lo, lo, k.nibbles)
	for i, v := range []vec{lo, hi} {
		j := 2*line + i // columns 4j to 4j+3
		switch {
		case k.Table != nil:
			k.arm("tbl %v.16b, {%v.16b}, %v.16b", v, k.lookup, v)
		case k.High() > 0:
			up := 7 - j // the bits above the nibble go to the top, then to the bottom
			if k.High() == 2 {
				up = 6 - 2*(j%4)
			}
			high := k.vec()
			k.load(high, k.codes, k.HighLine(j)*layout.LineBytes+16*quad)
			if up > 0 {
				k.arm("shl %v.16b, %v.16b, #%d", high, high, up)
			}
			k.arm("ushr %v.16b, %v.16b, #%d", high, high, 8-k.High())
			k.arm("sli %v.16b, %v.16b, #4", v, high)
			k.free(high)
		}
		if k.middle != none {
			k.arm("sub %v.16b, %v.16b, %v.16b", v, v, k.middle)
		}
	}
}

// byRows is the form of sums in which a vector holds four rows of one token:
// those of token t are quads*t to quads*(t+1).
type byRows struct{}

func (byRows) spread(_ *kernel, fourRows vec) []vec { return []vec{fourRows} }

func (byRows) store(k *kernel, c, ldc gp) {
	quads := k.rows / 4
	for i := range k.vectors() {
		v := k.fetch(k.sums, i)
		k.vstore(v, c, 16*(i%quads))
		k.drop(k.sums, v)
		if i%quads == quads-1 && i+1 < k.vectors() {
			k.op("ADD %v, %v", ldc, c)
		}
	}
}

// start sets the sums of a block, quads vectors for every token, to what the zero
// points contribute.
func (k *kernel) start(sums []vec) {
	switch {
	case k.fromZero():
		for _, v := range sums {
			k.arm("movi %v.2d, #0", v)
		}
	case !k.WithZeros:
		k.byToken(sums, func(i int, v, meta vec) { k.arm("dup %v.4s, %v.s[%d]", v, meta, metaNsum8) })
	default:
		zeros := k.groupZeros()
		k.byToken(sums, func(i int, v, meta vec) {
			k.arm("mul %v.4s, %v.4s, %v.s[%d]", v, zeros[i%len(zeros)], meta, metaNsum)
		})
		k.free(zeros...)
	}
}

// finish adds the sums of a part of a block to those of the group or, if it has no
// more blocks, to all.
func (k *kernel) finish(part int, sums []vec) {
	scales := k.blockScales(part)
	k.byToken(sums, func(i int, v, meta vec) { k.addBlock(i, v, fmt.Sprintf("%v.s[%d]", meta, metaScale), scales) })
	k.free(scales...)
	if !k.Mins {
		return
	}
	mins, quads, sum := k.groupMins(), k.rows/4, k.vec()
	for i := range sums {
		if i%quads == 0 {
			k.op("FMOVS %d(%v), F%d", i/quads*k.SideStep(), k.side, int(sum))
		}
		k.add(k.sums, i, func(to vec) { k.arm("fmla %v.4s, %v.4s, %v.s[0]", to, mins[i%quads], sum) })
	}
	k.free(append(mins, sum)...)
}

// byToken calls f for every vector of sums with the numbers of its token's block.
func (k *kernel) byToken(sums []vec, f func(i int, v, meta vec)) {
	meta := k.vec()
	for i, v := range sums {
		if i%(k.rows/4) == 0 {
			k.act(meta, i/(k.rows/4), layout.ActScale)
		}
		f(i, v, meta)
	}
	k.free(meta)
}
