package main

import "slices"

// exp holds the constants of exp32 (see vec.go) in registers.
type exp struct {
	log2e, ln2hi, ln2lo, lo, hi vec
	powers                      []vec // coefficients, from the highest power down
}

func (k *function) newExp() exp {
	e := exp{
		log2e: k.constant(0x3fb8aa3b), ln2hi: k.constant(0x3f318000), ln2lo: k.constant(0xb95e8083),
		lo: k.constant(0xc2aeac4f), hi: k.constant(0x42b0c0a5), // -87.33654, 88.37626: the ends of the normal results
	}
	for _, bits := range []uint32{0x39506967, 0x3ab743ce, 0x3c088908, 0x3d2aa9c1, 0x3e2aaaaa, 0x3f000000, 0x3f800000} {
		e.powers = append(e.powers, k.constant(bits))
	}
	return e
}

// exp replaces x by exp(x): 0 below the normal results, the largest beyond them.
func (k *function) exp(e exp, x vec) {
	under, n, p, q := k.vec(), k.vec(), k.vec(), k.vec()
	k.arm("fcmgt %v.4s, %v.4s, %v.4s", under, e.lo, x)
	k.arm("fmin %v.4s, %v.4s, %v.4s", x, x, e.hi) // a NaN in x stays
	k.arm("fmax %v.4s, %v.4s, %v.4s", x, x, e.lo)
	k.arm("fmul %v.4s, %v.4s, %v.4s", n, x, e.log2e)
	k.arm("frintn %v.4s, %v.4s", n, n)
	k.arm("fmls %v.4s, %v.4s, %v.4s", x, n, e.ln2hi)
	k.arm("fmls %v.4s, %v.4s, %v.4s", x, n, e.ln2lo)
	last := len(e.powers) - 1
	// The last power closes the polynomial for (exp(x)-1)/x and then that for
	// exp(x).
	for i, c := range append(slices.Clone(e.powers), e.powers[last])[1:] {
		k.op("VMOV V%d.B16, V%d.B16", int(c), int(q))
		from := p
		if i == 0 {
			from = e.powers[0]
		}
		k.arm("fmla %v.4s, %v.4s, %v.4s", q, from, x)
		p, q = q, p
	}
	k.arm("fcvtns %v.4s, %v.4s", n, n)
	k.arm("shl %v.4s, %v.4s, #23", n, n)
	k.arm("add %v.4s, %v.4s, %v.4s", x, p, n) // times 2^n
	k.arm("bic %v.16b, %v.16b, %v.16b", x, x, under)
	k.free(under, n, p, q)
}

func expSum(f *file) {
	k := f.begin("expSumNEON", "expSumNEON stores exp(x-shift) and returns the sum"+multiple, "float32",
		"dst *float32", "x *float32", "shift float32", "n int")
	dst, x, n := k.param("dst"), k.param("x"), k.param("n")
	shift, sums := k.vec(), k.vecN(2)
	k.op("FMOVS shift+%d(FP), F%d", k.at["shift"], int(shift))
	k.arm("dup %v.4s, %v.s[0]", shift, shift)
	e := k.newExp()
	for _, v := range sums {
		k.arm("movi %v.2d, #0", v)
	}
	k.loop(n, []gp{x}, []gp{dst}, func(half int, v []vec) []vec {
		k.arm("fsub %v.4s, %v.4s, %v.4s", v[0], v[0], shift)
		k.exp(e, v[0])
		k.arm("fadd %v.4s, %v.4s, %v.4s", sums[half], sums[half], v[0])
		return v
	})
	k.arm("fadd %v.4s, %v.4s, %v.4s", sums[0], sums[0], sums[1])
	k.total(sums[0], sums[1])
	k.op("FMOVS F%d, ret+%d(FP)", int(sums[0]), k.at["ret"])
	k.op("RET")
}

func swiGLU(f *file) {
	k := f.begin("swiGLUNEON", "swiGLUNEON is SwiGLU"+multiple, "",
		"dst *float32", "gate *float32", "up *float32", "n int")
	dst, gate, up, n := k.param("dst"), k.param("gate"), k.param("up"), k.param("n")
	e := k.newExp()
	one := e.powers[len(e.powers)-1]
	d := k.vec()
	k.loop(n, []gp{gate, up}, []gp{dst}, func(_ int, v []vec) []vec {
		g, u := v[0], v[1]
		k.arm("fneg %v.4s, %v.4s", d, g)
		k.exp(e, d)
		k.arm("fadd %v.4s, %v.4s, %v.4s", d, d, one)
		k.arm("fdiv %v.4s, %v.4s, %v.4s", d, g, d)
		k.arm("fmul %v.4s, %v.4s, %v.4s", d, d, u)
		return []vec{d}
	})
	k.op("RET")
}
