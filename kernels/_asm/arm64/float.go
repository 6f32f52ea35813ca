package main

import (
	"fmt"

	"nibble/kernels/layout"
)

func floatKernels(f *file) {
	for _, dt := range []string{"F32", "F16", "BF16"} {
		for _, rows := range []int{1, 4} {
			for _, tokens := range []int{1, 4} {
				dots(f, dt, rows, tokens)
			}
		}
	}
}

// dots generates the inner products of a few tokens with any number of rows, one
// or four at a time. Sixteen sums stand for each, see dotsGeneric, a vector of which
// fits the registers at a time: quarters of the columns are taken one after the other,
// and what waits for others lies in the frame.
func dots(f *file, dt string, rows, tokens int) {
	name := fmt.Sprintf("dots%sNEON%dx%d", dt, rows, tokens)
	waiting := 16 * rows * tokens // bytes of a quarter
	k := f.beginFrame(2*waiting, name, fmt.Sprintf("%s is dotsGeneric for times %d %s rows and %d tokens; ldc, ldw and ldx count bytes, add is 0 or 1. k is a positive multiple of 16.", name, rows, dt, tokens), "",
		"c *float32", "ldc int", "w *byte", "ldw int", "x *float32", "ldx int", "k int", "times int", "add int")
	w, ldw, x, ldx := k.param("w"), k.param("ldw"), k.param("x"), k.param("ldx")
	n, acc, size := k.gp(), k.vecN(rows*tokens), elementSize(dt)
	weights, token := k.vecN(rows), k.vec()
	ws, xs := k.gpN(rows), k.gpN(tokens)
	k.label("rows")
	// Quarters 0 and 2 meet, then 1 and 3, then these two sums.
	for i, quarter := range []int{0, 2, 1, 3} {
		pointers(k, ws, w, ldw, 4*size*quarter)
		pointers(k, xs, x, ldx, 16*quarter)
		for _, v := range acc {
			k.arm("movi %v.16b, #0", v)
		}
		k.reload("k", n)
		next := fmt.Sprintf("next%d", quarter)
		k.label(next)
		for r, v := range weights {
			k.four(dt, v, ws[r])
			k.op("ADD $%d, %v", layout.DotLanes*size, ws[r])
		}
		for t, p := range xs {
			k.load(token, p, 0)
			k.op("ADD $%d, %v", 4*layout.DotLanes, p)
			for r, v := range weights {
				k.arm("fmla %v.4s, %v.4s, %v.4s", acc[t*rows+r], v, token)
			}
		}
		k.op("SUBS $%d, %v", layout.DotLanes, n)
		k.op("BNE %s", next)
		for j, v := range acc {
			first, second := 16*j, waiting+16*j
			switch i {
			case 0:
				k.op("FMOVQ F%d, %d(RSP)", int(v), frameAt+first)
			case 1:
				k.op("FMOVQ %d(RSP), F%d", frameAt+first, int(token))
				k.arm("fadd %v.4s, %v.4s, %v.4s", v, v, token)
				k.op("FMOVQ F%d, %d(RSP)", int(v), frameAt+first)
			case 2:
				k.op("FMOVQ F%d, %d(RSP)", int(v), frameAt+second)
			case 3:
				for _, at := range []int{second, first} {
					k.op("FMOVQ %d(RSP), F%d", frameAt+at, int(token))
					k.arm("fadd %v.4s, %v.4s, %v.4s", v, v, token)
				}
			}
		}
	}
	c, ldc, add := ws[0], n, xs[0]
	k.reload("c", c)
	k.reload("ldc", ldc)
	k.reload("add", add)
	for t := range tokens {
		a := acc[t*rows:][:rows]
		if rows == 4 { // the sums of pairs of lanes, of two vectors at a time
			for _, p := range [][2]vec{{a[0], a[1]}, {a[2], a[3]}} {
				k.arm("zip2 %v.2d, %v.2d, %v.2d", token, p[0], p[1])
				k.arm("zip1 %v.2d, %v.2d, %v.2d", p[0], p[0], p[1])
				k.arm("fadd %v.4s, %v.4s, %v.4s", p[0], p[0], token)
			}
			k.arm("faddp %v.4s, %v.4s, %v.4s", a[0], a[0], a[2])
		} else {
			k.total(a[0], token)
		}
		store := fmt.Sprintf("store%d", t)
		k.op("CBZ %v, %s", add, store)
		if rows == 4 {
			k.load(token, c, 0)
		} else {
			k.op("FMOVS (%v), F%d", c, int(token))
		}
		k.arm("fadd %v.4s, %v.4s, %v.4s", a[0], a[0], token)
		k.label(store)
		if rows == 4 {
			k.vstore(a[0], c, 0)
		} else {
			k.op("FMOVS F%d, (%v)", int(a[0]), c)
		}
		if t+1 < tokens {
			k.op("ADD %v, %v", ldc, c)
		}
	}
	// The next rows.
	p := ws[0]
	k.reload("c", p)
	k.op("ADD $%d, %v", 4*rows, p)
	k.op("MOVD %v, c+%d(FP)", p, k.at["c"])
	for range rows {
		k.op("ADD %v, %v", ldw, w)
	}
	k.reload("times", p)
	k.op("SUB $1, %v", p)
	k.op("MOVD %v, times+%d(FP)", p, k.at["times"])
	k.op("CBNZ %v, rows", p)
	k.op("RET")
}

// pointers sets registers to places stride bytes apart, the first of them some bytes
// behind first.
func pointers(k *function, ps []gp, first, stride gp, offset int) {
	k.op("ADD $%d, %v, %v", offset, first, ps[0])
	for i := range ps[1:] {
		k.op("ADD %v, %v, %v", stride, ps[i], ps[i+1])
	}
}

// four loads four elements as a vector of float32.
func (k *function) four(dt string, v vec, p gp) {
	switch dt {
	case "F32":
		k.load(v, p, 0)
	case "F16":
		k.op("FMOVD (%v), F%d", p, int(v))
		k.arm("fcvtl %v.4s, %v.4h", v, v)
	case "BF16":
		k.op("FMOVD (%v), F%d", p, int(v))
		k.arm("shll %v.4s, %v.4h, #16", v, v)
	}
}

// eight loads eight elements as two vectors of float32 and moves on.
func (k *function) eight(dt string, v [2]vec, p gp) {
	k.op("FMOVQ.P 16(%v), F%d", p, int(v[0]))
	switch dt {
	case "F32":
		k.op("FMOVQ.P 16(%v), F%d", p, int(v[1]))
	case "F16":
		k.arm("fcvtl2 %v.4s, %v.8h", v[1], v[0])
		k.arm("fcvtl %v.4s, %v.4h", v[0], v[0])
	case "BF16":
		k.arm("shll2 %v.4s, %v.8h, #16", v[1], v[0])
		k.arm("shll %v.4s, %v.4h, #16", v[0], v[0])
	}
}

// total leaves the sum of the four elements in each of the first two: of halves, and
// halves of these.
func (k *function) total(v, scratch vec) {
	k.arm("dup %v.2d, %v.d[1]", scratch, v)
	k.arm("fadd %v.4s, %v.4s, %v.4s", v, v, scratch)
	k.arm("faddp %v.4s, %v.4s, %v.4s", v, v, v)
}
