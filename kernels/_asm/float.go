package main

import (
	"fmt"
	"sync"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/layout"
)

func floatKernels() {
	for _, dt := range []string{"F32", "F16", "BF16"} {
		for _, rows := range []int{1, 4} {
			for _, tokens := range []int{2, 4, 6} {
				dotsTile(wide512, dt, rows, tokens)
			}
			dotsTile(wide256, dt, rows, 2)
		}
		rowDots(wide512, dt)
		rowDots(wide256, dt)
	}
	outerProducts()
}

// maxPerBase is the number of rows reachable from one pointer: 0, 1 and 2 strides.
const maxPerBase = 3

// rowBases returns pointers that reach every row.
func rowBases(first reg.Register, stride reg.Register, tokens int) (bases []reg.Register, at func(t int) operand.Mem) {
	bases = []reg.Register{first}
	for t := maxPerBase; t < tokens; t += maxPerBase {
		b := GP64()
		MOVQ(bases[len(bases)-1], b)
		LEAQ(operand.Mem{Base: b, Index: stride, Scale: 2}, b)
		ADDQ(stride, b)
		bases = append(bases, b)
	}
	return bases, func(t int) operand.Mem {
		m := operand.Mem{Base: bases[t/maxPerBase]}
		if r := t % maxPerBase; r > 0 {
			m.Index, m.Scale = stride, uint8(r)
		}
		return m
	}
}

func elementSize(dt string) int {
	if dt == "F32" {
		return 4
	}
	return 2
}

// dots is the state of one generated kernel: inner products of a few stored rows
// with a few tokens.
type dots struct {
	wide
	dt           string
	w            []reg.VecVirtual
	wAt, xAt     func(int) operand.Mem
	wBase, xBase []reg.Register
}

// step multiplies one vector of every row and token, some columns on, after load has
// filled a register from memory, and adds to acc, by token and row.
func (d *dots) step(column int, acc [][]reg.VecVirtual, load func(m operand.Mem, dt string, v reg.VecVirtual)) {
	for r, w := range d.w {
		load(d.wAt(r).Offset(column*elementSize(d.dt)), d.dt, w)
		if d.dt == "BF16" {
			VPSLLD(operand.Imm(16), w, w)
		}
	}
	x := d.vec()
	for t, accs := range acc {
		load(d.xAt(t).Offset(4*column), "F32", x)
		for r, a := range accs {
			VFMADD231PS(x, d.w[r], a)
		}
	}
}

// columns goes through k columns, layout.DotLanes with each step. Where the vectors are wide,
// k may be any, and mask keeps loads of the last columns inside the rows.
func (d *dots) columns(label string, k, n, mask reg.Register, step func(load func(m operand.Mem, dt string, v reg.VecVirtual))) {
	MOVQ(k, n)
	SHRQ(operand.Imm(4), n)
	if d.lanes == layout.DotLanes {
		JZ(operand.LabelRef(label + "Tail"))
	}
	Label(label)
	step(plainLoad)
	for _, b := range d.wBase {
		ADDQ(operand.U32(uint64(layout.DotLanes*elementSize(d.dt))), b)
	}
	for _, b := range d.xBase {
		ADDQ(operand.U32(4*layout.DotLanes), b)
	}
	DECQ(n)
	JNZ(operand.LabelRef(label))
	if d.lanes == layout.DotLanes {
		Label(label + "Tail")
		TESTQ(operand.U32(15), k)
		JZ(operand.LabelRef(label + "Whole"))
		step(func(m operand.Mem, dt string, v reg.VecVirtual) { maskedLoad(m, dt, mask, v) })
		Label(label + "Whole")
	}
}

// columnsOf says which numbers of columns a kernel takes.
func (w wide) columnsOf() string {
	if w.lanes == layout.DotLanes {
		return "any k"
	}
	return "k is a positive multiple of 16"
}

// tailMask is the mask of the columns of k beyond whole vectors.
func tailMask(k reg.Register) reg.Register {
	mask, bits, rest := K(), GP64(), GP64()
	MOVQ(k, rest)
	ANDQ(operand.Imm(15), rest)
	MOVQ(operand.I32(-1), bits)
	BZHIQ(rest, bits, bits)
	KMOVW(bits.As32(), mask)
	return mask
}

// dotsTile generates the inner products of any number of rows, one or four at a
// time, with a few tokens.
func dotsTile(w wide, dt string, rows, tokens int) {
	name := fmt.Sprintf("dots%s%sx%dx%d", dt, w.name, rows, tokens)
	TEXT(name, NOSPLIT, "func(c *float32, ldc int, w *byte, ldw int, x *float32, ldx int, k int, times int, add int)")
	Doc(fmt.Sprintf("%s is dotsGeneric for times %d %s rows and %d tokens; ldc, ldw and ldx count bytes, add is 0 or 1; %s.", name, rows, dt, tokens, w.columnsOf()))
	Pragma("noescape")
	d := &dots{wide: w, dt: dt}
	row, ldw, ldx := Load(Param("w"), GP64()), Load(Param("ldw"), GP64()), Load(Param("ldx"), GP64())
	k, times, n := Load(Param("k"), GP64()), Load(Param("times"), GP64()), GP64()
	var mask reg.Register
	if w.lanes == 16 {
		mask = tailMask(k)
	}
	var acc [][]reg.VecVirtual // by token and row
	for range tokens {
		acc = append(acc, w.vecs(rows))
	}
	d.w = w.vecs(rows)
	each := func(f func(i int, a reg.VecVirtual)) {
		for t, accs := range acc {
			for r, a := range accs {
				f(t*rows+r, a)
			}
		}
	}

	Label("rows")
	// Short vectors take the halves of the sums one after the other: registers do not
	// hold both. What waits for the other half lies in the frame.
	var waiting operand.Mem
	if w.lanes < layout.DotLanes {
		waiting = AllocLocal(4 * w.lanes * rows * tokens)
	}
	at := func(i int) operand.Mem { return waiting.Offset(4 * w.lanes * i) }
	for column := 0; column < layout.DotLanes; column += w.lanes {
		first, x := GP64(), GP64()
		MOVQ(row, first)
		Load(Param("x"), x)
		d.wBase, d.wAt = rowBases(first, ldw, rows)
		d.xBase, d.xAt = rowBases(x, ldx, tokens)
		each(func(_ int, a reg.VecVirtual) { VXORPS(a, a, a) })
		d.columns(fmt.Sprintf("next%d", column), k, n, mask, func(load func(m operand.Mem, dt string, v reg.VecVirtual)) { d.step(column, acc, load) })
		switch {
		case column+w.lanes < layout.DotLanes:
			each(func(i int, a reg.VecVirtual) { VMOVUPS(a, at(i)) })
		case column > 0:
			each(func(i int, a reg.VecVirtual) { VADDPS(at(i), a, a) })
		}
	}
	c, add := GP64(), GP64()
	Load(Param("c"), c)
	Load(Param("add"), add)
	TESTQ(add, add)
	for t, accs := range acc {
		out := operand.Mem{Base: c}
		if rows == 4 {
			sums := d.lanesSum4(accs)
			addUnlessZero(fmt.Sprintf("store%d", t), func() { VADDPS(out, sums, sums) })
			VMOVUPS(sums, out)
		} else {
			sum := d.lanesSum(accs[0])
			addUnlessZero(fmt.Sprintf("store%d", t), func() { VADDSS(out, sum, sum) })
			VMOVSS(sum, out)
		}
		if t+1 < tokens { // LEAQ and not ADDQ, which would change the flags
			ldc := GP64()
			Load(Param("ldc"), ldc)
			LEAQ(operand.Mem{Base: c, Index: ldc, Scale: 1}, c)
		}
	}
	ADDQ(operand.Imm(uint64(4*rows)), operand.NewParamAddr("c", 0))
	LEAQ(operand.Mem{Base: row, Index: ldw, Scale: uint8(rows)}, row)
	DECQ(times)
	JNZ(operand.LabelRef("rows"))
	VZEROUPPER()
	RET()
}

// addUnlessZero jumps over f if the flags say that there is nothing to add to.
func addUnlessZero(label string, f func()) {
	JZ(operand.LabelRef(label))
	f()
	Label(label)
}

// halves adds the upper half of the lanes of a to the lower, down to four.
func (d *dots) halves(a reg.VecVirtual) reg.VecVirtual {
	h := XMM()
	if d.lanes == 16 {
		y := YMM()
		VEXTRACTF64X4(operand.Imm(1), a, y)
		VADDPS(a.AsY(), y, y)
		VEXTRACTF32X4(operand.Imm(1), y, h)
		VADDPS(y.AsX(), h, h)
	} else {
		VEXTRACTF128(operand.Imm(1), a, h)
		VADDPS(a.AsX(), h, h)
	}
	return h
}

// lanesSum returns the sum of the lanes of a: of halves, and halves of these.
func (d *dots) lanesSum(a reg.VecVirtual) reg.VecVirtual {
	h, k := d.halves(a), XMM()
	VPSRLDQ(operand.Imm(8), h, k)
	VADDPS(k, h, h)
	VPSRLDQ(operand.Imm(4), h, k)
	VADDSS(k, h, h)
	return h
}

// lanesSum4 returns the sums of four vectors, added in the order of lanesSum.
func (d *dots) lanesSum4(a []reg.VecVirtual) reg.VecVirtual {
	var pairs [2]reg.VecVirtual // lanes 0+2 and 1+3 of two vectors
	for i := range pairs {
		h, k := d.halves(a[2*i]), d.halves(a[2*i+1])
		low, high := XMM(), XMM()
		VUNPCKLPD(k, h, low)
		VUNPCKHPD(k, h, high)
		VADDPS(high, low, low)
		pairs[i] = low
	}
	even, odd := XMM(), XMM()
	VSHUFPS(operand.Imm(0x88), pairs[1], pairs[0], even)
	VSHUFPS(operand.Imm(0xdd), pairs[1], pairs[0], odd)
	VADDPS(odd, even, even)
	return even
}

// maskedLoad is plainLoad of the lanes of a mask; the others are zero.
func maskedLoad(m operand.Mem, dt string, mask reg.Register, v reg.VecVirtual) {
	switch dt {
	case "F32":
		VMOVUPS_Z(m, mask, v)
	case "F16":
		VCVTPH2PS_Z(m, mask, v)
	case "BF16":
		VPMOVZXWD_Z(m, mask, v)
	}
}

// plainLoad fills a vector of float32 or, widened, of 16-bit elements.
func plainLoad(m operand.Mem, dt string, v reg.VecVirtual) {
	switch dt {
	case "F32":
		VMOVUPS(m, v)
	case "F16":
		VCVTPH2PS(m, v)
	case "BF16":
		VPMOVZXWD(m, v)
	}
}

// rowDots generates the inner products of one token with rows one after the
// other: a single stream of weights, in sums formed like those of dotsTile, of one
// stretch of columns after the other.
func rowDots(w wide, dt string) {
	name := fmt.Sprintf("rowDots%s%s", dt, w.name)
	TEXT(name, NOSPLIT, "func(c *float32, w *byte, ldw int, x *float32, k int, depth int, rows int)")
	Doc(fmt.Sprintf("%s is dotsGeneric for one token and stretches of depth columns, a multiple of 16; ldw counts bytes, %s.", name, w.columnsOf()))
	Pragma("noescape")
	c, row, ldw, rows := Load(Param("c"), GP64()), Load(Param("w"), GP64()), Load(Param("ldw"), GP64()), Load(Param("rows"), GP64())
	k, depth := Load(Param("k"), GP64()), Load(Param("depth"), GP64())
	d := &dots{wide: w, dt: dt}
	acc, total := w.vecs(layout.DotLanes/w.lanes), XMM()
	d.w = w.vecs(1)
	p, x, n, left, stretch := GP64(), GP64(), GP64(), GP64(), GP64()
	d.wBase, d.wAt = rowBases(p, nil, 1)
	d.xBase, d.xAt = rowBases(x, nil, 1)
	var mask reg.Register
	if w.lanes == 16 {
		mask = tailMask(k) // of the last stretch: the others are whole
	}

	Label("row")
	MOVQ(row, p)
	Load(Param("x"), x)
	MOVQ(k, left)
	VXORPS(total, total, total)
	Label("stretch")
	MOVQ(depth, stretch)
	CMPQ(stretch, left)
	CMOVQGT(left, stretch)
	for _, a := range acc {
		VXORPS(a, a, a)
	}
	d.columns("next", stretch, n, mask, func(load func(m operand.Mem, dt string, v reg.VecVirtual)) {
		for i, a := range acc {
			d.step(i*w.lanes, [][]reg.VecVirtual{{a}}, load)
		}
	})
	if len(acc) == 2 {
		VADDPS(acc[1], acc[0], acc[0])
	}
	VADDSS(d.lanesSum(acc[0]), total, total)
	SUBQ(stretch, left)
	JNZ(operand.LabelRef("stretch"))
	VMOVSS(total, operand.Mem{Base: c})
	ADDQ(operand.Imm(4), c)
	ADDQ(ldw, row)
	DECQ(rows)
	JNZ(operand.LabelRef("row"))
	VZEROUPPER()
	RET()
}

// exp256 holds the constants of exp32 (see vec.go) in registers.
type exp256 struct {
	log2e, ln2hi, ln2lo, lo, hi reg.VecVirtual
	table                       operand.Mem // the polynomial's coefficients
}

// expCoefficients are those of exp32, from the highest power down.
var expCoefficients = []uint32{0x39506967, 0x3ab743ce, 0x3c088908, 0x3d2aa9c1, 0x3e2aaaaa, 0x3f000000, 0x3f800000}

func newExp256() exp256 {
	e := exp256{
		log2e: constant(YMM(), 0x3fb8aa3b), ln2hi: constant(YMM(), 0x3f318000), ln2lo: constant(YMM(), 0xb95e8083),
		lo: constant(YMM(), 0xc2aeac4f), hi: constant(YMM(), 0x42b0c0a5), // -87.33654, 88.37626: the ends of the normal results
	}
	e.table = expTable()
	return e
}

// expTable declares the coefficients, eight times each, on first use.
var expTable = sync.OnceValue(func() operand.Mem {
	table := GLOBL("expCoefficients", RODATA|NOPTR)
	for i, c := range expCoefficients {
		for lane := range 8 {
			DATA(32*i+4*lane, operand.U32(c))
		}
	}
	return table
})

// exp replaces x by exp(x): 0 below the normal results, the largest beyond them.
func (e exp256) exp(x reg.VecVirtual) {
	under, n, p := YMM(), YMM(), YMM()
	VCMPPS(operand.Imm(1), e.lo, x, under) // x < lo
	VMINPS(x, e.hi, x)                     // a NaN in x stays
	VMAXPS(x, e.lo, x)
	VMULPS(e.log2e, x, n)
	VROUNDPS(operand.Imm(0), n, n)
	VFNMADD231PS(e.ln2hi, n, x)
	VFNMADD231PS(e.ln2lo, n, x)
	at := func(i int) operand.Mem { return e.table.Offset(32 * i) }
	VMOVUPS(at(0), p)
	for i := 1; i < len(expCoefficients); i++ {
		VFMADD213PS(at(i), x, p)
	}
	// p = 1 + x/2 + ... was taken for (exp(x)-1)/x: the last step closes it.
	VFMADD213PS(at(len(expCoefficients)-1), x, p)
	VCVTPS2DQ(n, n)
	VPSLLD(operand.Imm(23), n, n)
	VPADDD(n, p, x) // times 2^n
	VANDNPS(x, under, x)
}

func expSum() {
	TEXT("expSumAVX2", NOSPLIT, "func(dst *float32, x *float32, shift float32, n int) float32")
	Doc("expSumAVX2 stores exp(x-shift) and returns the sum; n is a positive multiple of 8.")
	Pragma("noescape")
	dst, x := Load(Param("dst"), GP64()), Load(Param("x"), GP64())
	shift, n := YMM(), GP64()
	VBROADCASTSS(paramAt("shift"), shift)
	Load(Param("n"), n)
	e := newExp256()
	sum := YMM()
	VXORPS(sum, sum, sum)
	Label("next")
	v := YMM()
	VMOVUPS(operand.Mem{Base: x}, v)
	VSUBPS(shift, v, v)
	e.exp(v)
	VMOVUPS(v, operand.Mem{Base: dst})
	VADDPS(v, sum, sum)
	ADDQ(operand.U32(32), x)
	ADDQ(operand.U32(32), dst)
	SUBQ(operand.U32(8), n)
	JNZ(operand.LabelRef("next"))
	total := lanesTotal(sum)
	VZEROUPPER()
	Store(total, ReturnIndex(0))
	RET()
}

func swiGLU() {
	TEXT("swiGLUAVX2", NOSPLIT, "func(dst *float32, gate *float32, up *float32, n int)")
	Doc("swiGLUAVX2 is SwiGLU for n elements, a positive multiple of 8.")
	Pragma("noescape")
	dst, gate, up := Load(Param("dst"), GP64()), Load(Param("gate"), GP64()), Load(Param("up"), GP64())
	n := Load(Param("n"), GP64())
	e := newExp256()
	one, zero := constant(YMM(), 0x3f800000), YMM()
	VXORPS(zero, zero, zero)
	Label("next")
	g, v := YMM(), YMM()
	VMOVUPS(operand.Mem{Base: gate}, g)
	VSUBPS(g, zero, v)
	e.exp(v)
	VADDPS(one, v, v)
	VDIVPS(v, g, v)
	VMULPS(operand.Mem{Base: up}, v, v)
	VMOVUPS(v, operand.Mem{Base: dst})
	ADDQ(operand.U32(32), gate)
	ADDQ(operand.U32(32), up)
	ADDQ(operand.U32(32), dst)
	SUBQ(operand.U32(8), n)
	JNZ(operand.LabelRef("next"))
	VZEROUPPER()
	RET()
}
