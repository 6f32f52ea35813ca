package main

import "nibble/kernels/layout"

// quantizeBlocks is quantizeBlocksGeneric.
func quantizeBlocks(f *file) {
	k := f.begin("quantizeBlocksNEON", "quantizeBlocksNEON is quantizeBlocksGeneric for n > 0 blocks; step counts bytes.", "",
		"dst *byte", "step int", "x *float32", "n int")
	dst, step, x, n := k.param("dst"), k.param("step"), k.param("x"), k.param("n")
	c127, scale, inv := k.constant(0x42fe0000), k.vec(), k.vec()
	top, inf := k.gp(), k.gp()
	k.op("MOVD $%#x, %v", 0x7f800000, inf)

	k.label("next")
	k.comment("The largest magnitude, as bits: these are ordered as the values are, and NaN comes after everything.")
	vs, most, a := k.vecN(8), k.vec(), k.vec()
	for i, v := range vs {
		k.load(v, x, 16*i)
		if i == 0 {
			k.arm("fabs %v.4s, %v.4s", most, v)
			continue
		}
		k.arm("fabs %v.4s, %v.4s", a, v)
		k.arm("umax %v.4s, %v.4s, %v.4s", most, most, a)
	}
	k.arm("umaxv s%d, %v.4s", int(most), most)
	k.op("FMOVS F%d, %v", int(most), top)
	k.op("CMPW %v, %v", inf, top)
	k.op("BHS broken")
	k.op("FDIVS F%d, F%d, F%d", int(c127), int(most), int(scale))
	k.op("FDIVS F%d, F%d, F%d", int(most), int(c127), int(inv))
	k.op("FMOVS F%d, %v", int(inv), top)
	k.op("CMPW %v, %v", inf, top)
	k.op("BLO finite")
	k.arm("movi %v.16b, #0", scale)
	k.arm("movi %v.16b, #0", inv)

	k.label("finite")
	sum := a
	for i, v := range vs {
		k.arm("fmul %v.4s, %v.4s, %v.s[0]", v, v, inv)
		k.arm("fcvtns %v.4s, %v.4s", v, v)
		if i == 1 {
			k.arm("add %v.4s, %v.4s, %v.4s", sum, vs[0], v)
		} else if i > 1 {
			k.arm("add %v.4s, %v.4s, %v.4s", sum, sum, v)
		}
	}
	for half := range 2 {
		v := vs[4*half:]
		k.arm("uzp1 %v.8h, %v.8h, %v.8h", v[0], v[0], v[1])
		k.arm("uzp1 %v.8h, %v.8h, %v.8h", v[2], v[2], v[3])
		k.arm("uzp1 %v.16b, %v.16b, %v.16b", v[0], v[0], v[2])
		k.vstore(v[0], dst, 16*half)
	}
	k.op("FMOVS F%d, %d(%v)", int(scale), layout.ActScale, dst)
	k.arm("addv s%d, %v.4s", int(sum), sum)
	nsum, times := top, k.gp()
	k.op("FMOVS F%d, %v", int(sum), nsum)
	k.op("NEGW %v, %v", nsum, nsum)
	k.op("MOVW %v, %d(%v)", nsum, layout.ActScale+4*metaNsum, dst)
	k.op("LSLW $3, %v, %v", nsum, times)
	k.op("MOVW %v, %d(%v)", times, layout.ActScale+4*metaNsum8, dst)
	k.op("LSLW $7, %v, %v", nsum, times)
	k.op("MOVW %v, %d(%v)", times, layout.ActScale+4*metaNsum128, dst)

	k.label("advance")
	k.op("ADD $128, %v", x)
	k.op("ADD %v, %v", step, dst)
	k.op("SUBS $1, %v", n)
	k.op("BNE next")
	k.op("RET")

	k.label("broken") // an infinity or NaN: zeros with a scale that shows it
	zero, nan := sum, top
	k.arm("movi %v.16b, #0", zero)
	k.vstore(zero, dst, 0)
	k.vstore(zero, dst, 16)
	k.vstore(zero, dst, layout.ActScale)
	k.op("MOVD $%#x, %v", 0x7fc00000, nan)
	k.op("MOVW %v, %d(%v)", nan, layout.ActScale, dst)
	k.op("B advance")
}
