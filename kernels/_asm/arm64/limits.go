package main

// limitKernels generates the loops that measure what the machine can do.
func limitKernels(f *file) {
	k := f.begin("readNEON", "readNEON loads n bytes, a positive multiple of 256, and returns something that depends on all of them.",
		"uint64", "p *byte", "n int")
	p, n := k.param("p"), k.param("n")
	acc, next := k.vecN(8), k.vecN(8)
	for _, v := range acc {
		k.arm("movi %v.16b, #0", v)
	}
	k.label("next")
	for half := range 2 {
		for i, v := range next {
			k.load(v, p, 128*half+16*i)
		}
		for i, v := range next {
			k.arm("eor %v.16b, %v.16b, %v.16b", acc[i], acc[i], v)
		}
	}
	k.op("ADD $256, %v", p)
	k.op("SUBS $256, %v", n)
	k.op("BNE next")
	for _, v := range acc[1:] {
		k.arm("eor %v.16b, %v.16b, %v.16b", acc[0], acc[0], v)
	}
	k.op("FMOVD F%d, ret+%d(FP)", int(acc[0]), k.at["ret"])
	k.op("RET")

	peak(f, "peakNEON", "SMLAL and SMLAL2", "smlal %[1]v.8h, %[2]v.8b, %[3]v.8b", "smlal2 %[1]v.8h, %[2]v.16b, %[3]v.16b")
	peak(f, "peakDotProd", "SDOT", "sdot %[1]v.4s, %[2]v.16b, %[3]v.4b[0]")
	peak(f, "peakI8MM", "SMMLA", "smmla %[1]v.4s, %[2]v.16b, %[3]v.16b")
	peak(f, "peakFMLA", "FMLA", "fmla %[1]v.4s, %[2]v.4s, %[3]v.4s")
}

// peakChains is how many independent sums hide the latency of the widest cores.
const peakChains = 24

// peak runs n rounds of independent operations on zeros.
func peak(f *file, name, what string, ops ...string) {
	k := f.begin(name, name+" runs n rounds of independent operations: "+what+".", "", "n int")
	n := k.param("n")
	a, b, acc := k.vec(), k.vec(), k.vecN(peakChains)
	for _, v := range append([]vec{a, b}, acc...) {
		k.arm("movi %v.16b, #0", v)
	}
	k.label("next")
	for i, v := range acc {
		k.arm(ops[i%len(ops)], v, a, b)
	}
	k.op("SUBS $1, %v", n)
	k.op("BNE next")
	k.op("RET")
}
