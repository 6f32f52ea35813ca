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
	for _, bits := range []int{4, 8} {
		for _, sym := range []bool{true, false} {
			mul(f, neon{}, bits, sym, 16, 1)
			mul(f, neon{}, bits, sym, 8, 2)
			mul(f, dotProd{}, bits, sym, 16, 1)
			mul(f, dotProd{}, bits, sym, 16, 2)
			mul(f, dotProd{}, bits, sym, 8, 4)
			mul(f, i8mm{}, bits, sym, 8, 2)
			mul(f, i8mm{}, bits, sym, 8, 4)
			mul(f, i8mm{}, bits, sym, 8, 8)
		}
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
	tier               tier
	bits, rows, tokens int
	sym                bool
	lane, step         gp
	codes              gp // of the current block, for the first of the rows
	acts               gp // the current blocks of the tokens
	scales, zeros      gp // of the current group, for the first of the rows
	scratch            gp
	nibbles, flip      vec // constants for 4 and for signed 8 bits

	// The running sums, and those of the current group. A group of one block has
	// none of its own.
	single     bool
	sums, part accumulators
}

// mul generates a kernel for some rows of a panel and some tokens.
func mul(f *file, t tier, bits int, sym bool, rows, tokens int) {
	kind := "asym"
	if sym {
		kind = "sym"
	}
	name := fmt.Sprintf("mul%d%s%s%dx%d", bits, kind, t.name(), rows, tokens)
	k := &kernel{tier: t, bits: bits, rows: rows, tokens: tokens, sym: sym, nibbles: none, flip: none}
	k.function = f.begin(name,
		fmt.Sprintf("%s is mulGeneric for %d rows of a panel from first on and %d tokens, %d-bit %smetric codes.\nldc and step count bytes. It goes on to the next panels, 64 bytes further in c, for as many as times says.", name, rows, tokens, bits, kind), "",
		table.MulParams...)
	f.tiles = append(f.tiles, table.Tile{Function: name, Format: fmt.Sprint("w", bits), Zeros: !sym, ISA: t.name(), Rows: rows, Tokens: tokens})
	k.codes, k.acts, k.lane, k.step, k.scratch = k.param("panel"), k.gp(), k.param("first"), k.param("step"), k.param("scratch")
	left, perGroup := k.gp(), k.param("perGroup")
	k.scales, k.zeros = k.gp(), k.gp()
	k.op("ADD %v<<2, %v", k.lane, k.codes)
	switch {
	case bits == 4:
		k.nibbles = k.constant(0x0f0f0f0f)
	case t.signed():
		k.flip = k.constant(0x80808080)
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
	k.reload("blocks", left)
	k.clear(k.sums)
	span, head := layout.SymSpan, layout.SymSpan*layout.ScaleBytes
	if !k.sym {
		span, head = layout.AsymSpan, layout.AsymSpan*(layout.ScaleBytes+layout.ZeroBytes)
	}
	n, groups := k.gp(), k.gp()

	k.label(label + "Span")
	k.op("SUB %v<<1, %v, %v", k.lane, k.codes, k.scales)
	if !k.sym {
		k.op("SUB %v, %v, %v", k.lane, k.scales, k.zeros)
		k.op("ADD $%d, %v", span*layout.ScaleBytes, k.zeros)
	}
	k.op("ADD $%d, %v", head, k.codes)
	k.op("MOVD $%d, %v", span, groups)

	k.label(label + "Group")
	if !k.single {
		k.clear(k.part)
		k.op("CMP %v, %v", left, perGroup)
		k.op("CSEL LT, %v, %v, %v", perGroup, left, n)
		k.op("SUB %v, %v", n, left)
		k.label(label + "Block")
	}
	k.tier.block(k)
	k.op("ADD $%d, %v", k.bits*layout.LineBytes, k.codes)
	k.op("ADD %v, %v", k.step, k.acts)
	if k.single {
		k.op("SUB $1, %v", left)
	} else {
		k.op("SUBS $1, %v", n)
		k.op("BNE %sBlock", label)
		scales := k.groupScales()
		for i := range k.vectors() {
			part := k.fetch(k.part, i)
			k.add(k.sums, i, func(sum vec) {
				k.arm("fmla %v.4s, %v.4s, %v.4s", sum, part, scales[i%len(scales)])
			})
			k.drop(k.part, part)
		}
		k.free(scales...)
	}
	k.op("ADD $%d, %v", layout.ScaleBytes, k.scales)
	if !k.sym {
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

// blockScales are the group's scales where a block needs them.
func (k *kernel) blockScales() []vec {
	if k.single {
		return k.groupScales()
	}
	return nil
}

// act loads 16 bytes of token t's current block.
func (k *kernel) act(v vec, t, offset int) { k.load(v, k.acts, t*layout.ActBytes+offset) }

// groupScales converts the scales of the group.
func (k *kernel) groupScales() (scales []vec) {
	for r := 0; r < k.rows; r += 8 {
		lo, hi := k.vec(), k.vec()
		k.load(lo, k.scales, 2*r)
		k.arm("fcvtl2 %v.4s, %v.8h", hi, lo)
		k.arm("fcvtl %v.4s, %v.4h", lo, lo)
		scales = append(append(scales, k.tier.spread(k, lo)...), k.tier.spread(k, hi)...)
	}
	return scales
}

// groupZeros widens the zero points of the group.
func (k *kernel) groupZeros() (zeros []vec) {
	widen := "uxtl"
	if k.bits == 8 && k.tier.signed() {
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

// nibbleVectors loads four rows by eight columns of 4-bit codes.
func (k *kernel) nibbleVectors(lo, hi vec, line, quad int) {
	k.load(lo, k.codes, line*layout.LineBytes+16*quad)
	k.arm("ushr %v.16b, %v.16b, #4", hi, lo)
	k.arm("and %v.16b, %v.16b, %v.16b", lo, lo, k.nibbles)
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
	case k.sym && k.bits == 8: // signed: the zero point is 0
		for _, v := range sums {
			k.arm("movi %v.2d, #0", v)
		}
	case k.sym:
		k.byToken(sums, func(i int, v, meta vec) { k.arm("dup %v.4s, %v.s[%d]", v, meta, metaNsum8) })
	default:
		zeros := k.groupZeros()
		k.byToken(sums, func(i int, v, meta vec) {
			k.arm("mul %v.4s, %v.4s, %v.s[%d]", v, zeros[i%len(zeros)], meta, metaNsum)
		})
		k.free(zeros...)
	}
}

// finish adds the sums of a block to those of the group or, if it has no more
// blocks, to all.
func (k *kernel) finish(sums []vec) {
	scales := k.blockScales()
	k.byToken(sums, func(i int, v, meta vec) { k.addBlock(i, v, fmt.Sprintf("%v.s[%d]", meta, metaScale), scales) })
	k.free(scales...)
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
