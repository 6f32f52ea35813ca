package main

import "fmt"

// The layouts the kernels read; see pack.go and quantacts.go.
const (
	lineBytes = 64
	actBytes  = 48
	metaAt    = 32 // of a block of activations: scale, then int32: minus the sum, 8 and 128 times that
	panelRows = 16

	scaleBytes = 2 * panelRows
	zeroBytes  = panelRows
	symSpan    = 2
	asymSpan   = 4
)

// The elements at metaAt.
const (
	metaScale = iota
	metaNsum
	metaNsum8
	metaNsum128
)

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
	bits, rows, tokens int
	sym                bool
	codes              gp    // of the current block, for the first of the rows
	acts               gp    // the current blocks of the tokens
	scales, zeros      []vec // of the group: float32, int32; no zeros when symmetric
	acc                []vec // the sums of the group; those of all groups are in scratch
	nibbles, flip      vec   // constants for 4 and for signed 8 bits
}

// mul generates a kernel for some rows of a panel and some tokens.
func mul(f *file, t tier, bits int, sym bool, rows, tokens int) {
	kind := "asym"
	if sym {
		kind = "sym"
	}
	name := fmt.Sprintf("mul%d%s%s%dx%d", bits, kind, t.name(), rows, tokens)
	k := &kernel{bits: bits, rows: rows, tokens: tokens, sym: sym, nibbles: none, flip: none}
	k.function = f.begin(name,
		fmt.Sprintf("%s is mulGeneric for %d rows of a panel from lane on and %d tokens, %d-bit %smetric codes.\nldc and step count bytes.", name, rows, tokens, bits, kind), "",
		"c *float32", "ldc int", "panel *byte", "lane int", "acts *byte", "step int", "blocks int", "perGroup int", "scratch *byte")
	k.codes, k.acts = k.param("panel"), k.param("acts")
	lane, step, left, perGroup, scratch := k.param("lane"), k.param("step"), k.param("blocks"), k.param("perGroup"), k.param("scratch")
	n, scales, zeros, groups := k.gp(), k.gp(), k.gp(), k.gp()
	k.op("ADD %v<<2, %v", lane, k.codes)
	switch {
	case bits == 4:
		k.nibbles = k.constant(0x0f0f0f0f)
	case t.signed():
		k.flip = k.constant(0x80808080)
	}
	k.acc = k.vecN(rows * tokens / 4)
	for i, v := range k.acc {
		k.arm("movi %v.16b, #0", v)
		k.vstore(v, scratch, 16*i)
	}
	span, head := symSpan, symSpan*scaleBytes
	if !sym {
		span, head = asymSpan, asymSpan*(scaleBytes+zeroBytes)
	}

	k.label("span")
	k.op("SUB %v<<1, %v, %v", lane, k.codes, scales)
	if !sym {
		k.op("SUB %v, %v, %v", lane, scales, zeros)
		k.op("ADD $%d, %v", span*scaleBytes, zeros)
	}
	k.op("ADD $%d, %v", head, k.codes)
	k.op("MOVD $%d, %v", span, groups)

	k.label("group")
	k.op("CMP %v, %v", left, perGroup)
	k.op("CSEL LT, %v, %v, %v", perGroup, left, n)
	k.op("SUB %v, %v", n, left)
	k.loadScales(t, scales)
	if !sym {
		k.loadZeros(t, zeros)
	}

	k.label("block")
	t.block(k)
	k.op("ADD $%d, %v", bits*lineBytes, k.codes)
	k.op("ADD %v, %v", step, k.acts)
	k.op("SUBS $1, %v", n)
	k.op("BNE block")
	sum := k.vec()
	for i, v := range k.acc {
		k.load(sum, scratch, 16*i)
		k.arm("fmla %v.4s, %v.4s, %v.4s", sum, v, k.scales[i%len(k.scales)])
		k.vstore(sum, scratch, 16*i)
		k.arm("movi %v.16b, #0", v)
	}
	k.free(sum)
	k.op("CBZ %v, done", left)
	k.op("SUBS $1, %v", groups)
	k.op("BNE group")
	k.op("B span")

	k.label("done")
	for i, v := range k.acc {
		k.load(v, scratch, 16*i)
	}
	c, ldc := n, left
	k.reload("c", c)
	k.reload("ldc", ldc)
	t.store(k, c, ldc)
	k.op("RET")
}

// act loads 16 bytes of token t's current block.
func (k *kernel) act(v vec, t, offset int) { k.load(v, k.acts, t*actBytes+offset) }

// loadScales converts the scales of a group and moves on.
func (k *kernel) loadScales(t tier, from gp) {
	for r := 0; r < k.rows; r += 8 {
		lo, hi := k.vec(), k.vec()
		k.load(lo, from, 2*r)
		k.arm("fcvtl2 %v.4s, %v.8h", hi, lo)
		k.arm("fcvtl %v.4s, %v.4h", lo, lo)
		k.scales = append(append(k.scales, t.spread(k, lo)...), t.spread(k, hi)...)
	}
	k.op("ADD $%d, %v", scaleBytes, from)
}

// loadZeros widens the zero points of a group and moves on.
func (k *kernel) loadZeros(t tier, from gp) {
	widen := "uxtl"
	if k.bits == 8 && t.signed() {
		widen = "sxtl"
	}
	for r := 0; r < k.rows; r += 8 {
		lo, hi := k.vec(), k.vec()
		k.op("FMOVD %d(%v), F%d", r, from, int(lo))
		if widen == "sxtl" {
			k.arm("eor %v.16b, %v.16b, %v.16b", lo, lo, k.flip)
		}
		k.arm("%s %v.8h, %v.8b", widen, lo, lo)
		k.arm("%s2 %v.4s, %v.8h", widen, hi, lo)
		k.arm("%s %v.4s, %v.4h", widen, lo, lo)
		k.zeros = append(append(k.zeros, t.spread(k, lo)...), t.spread(k, hi)...)
	}
	k.op("ADD $%d, %v", zeroBytes, from)
}

// codeVector loads four rows by four columns of 8-bit codes.
func (k *kernel) codeVector(v vec, line, quad int) {
	k.load(v, k.codes, line*lineBytes+16*quad)
	if k.flip != none {
		k.arm("eor %v.16b, %v.16b, %v.16b", v, v, k.flip)
	}
}

// nibbleVectors loads four rows by eight columns of 4-bit codes.
func (k *kernel) nibbleVectors(lo, hi vec, line, quad int) {
	k.load(lo, k.codes, line*lineBytes+16*quad)
	k.arm("ushr %v.16b, %v.16b, #4", hi, lo)
	k.arm("and %v.16b, %v.16b, %v.16b", lo, lo, k.nibbles)
}

// byRows is the form of sums in which a vector holds four rows of one token:
// those of token t are acc[t*quads:(t+1)*quads].
type byRows struct{}

func (byRows) spread(_ *kernel, fourRows vec) []vec { return []vec{fourRows} }

func (byRows) store(k *kernel, c, ldc gp) {
	quads := k.rows / 4
	for i, v := range k.acc {
		k.vstore(v, c, 16*(i%quads))
		if i%quads == quads-1 && i+1 < len(k.acc) {
			k.op("ADD %v, %v", ldc, c)
		}
	}
}

// start sets the block's sums of a token to what the zero points contribute.
func (k *kernel) start(t int, sums []vec) {
	meta := k.vec()
	k.act(meta, t, metaAt)
	for i, v := range sums {
		switch {
		case !k.sym:
			k.arm("mul %v.4s, %v.4s, %v.s[%d]", v, k.zeros[i], meta, metaNsum)
		case k.bits == 4:
			k.arm("dup %v.4s, %v.s[%d]", v, meta, metaNsum8)
		default: // signed: the zero point is 0
			k.arm("movi %v.16b, #0", v)
		}
	}
	k.free(meta)
}

// finish adds the block's sums of a token, times the scale of its activations,
// to acc.
func (k *kernel) finish(t int, sums []vec) {
	meta := k.vec()
	k.act(meta, t, metaAt)
	for i, v := range sums {
		k.arm("scvtf %v.4s, %v.4s", v, v)
		k.arm("fmla %v.4s, %v.4s, %v.s[%d]", k.acc[t*len(sums)+i], v, meta, metaScale)
	}
	k.free(meta)
}
