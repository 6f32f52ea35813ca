package main

import "fmt"

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
// or four at a time. Four sums stand for each, and are added up in the same order
// in every tile.
func dots(f *file, dt string, rows, tokens int) {
	name := fmt.Sprintf("dots%sNEON%dx%d", dt, rows, tokens)
	k := f.begin(name, fmt.Sprintf("%s is dotsGeneric for times %d %s rows and %d tokens; ldc, ldw and ldx count bytes, add is 0 or 1. k is a positive multiple of 8.", name, rows, dt, tokens), "",
		"c *float32", "ldc int", "w *byte", "ldw int", "x *float32", "ldx int", "k int", "times int", "add int")
	k.label("rows")
	ws, xs := k.apart(k.param("w"), k.param("ldw"), rows), k.apart(k.param("x"), k.param("ldx"), tokens)
	n := k.param("k")
	acc := make([][]vec, tokens)
	for t := range acc {
		acc[t] = k.vecN(rows)
		for _, v := range acc[t] {
			k.arm("movi %v.16b, #0", v)
		}
	}
	w, x := make([][2]vec, rows), [2]vec{k.vec(), k.vec()}
	k.label("next") // 8 columns
	for r := range w {
		w[r] = [2]vec{k.vec(), k.vec()}
		k.eight(dt, w[r], ws[r])
	}
	for t := range acc {
		k.eight("F32", x, xs[t])
		for half := range 2 {
			for r, a := range acc[t] {
				k.arm("fmla %v.4s, %v.4s, %v.4s", a, w[r][half], x[half])
			}
		}
	}
	k.op("SUBS $8, %v", n)
	k.op("BNE next")
	c, ldc, add := ws[0], n, xs[0]
	k.reload("c", c)
	k.reload("ldc", ldc)
	k.reload("add", add)
	for t, a := range acc {
		if rows == 4 {
			k.arm("faddp %v.4s, %v.4s, %v.4s", a[0], a[0], a[1])
			k.arm("faddp %v.4s, %v.4s, %v.4s", a[2], a[2], a[3])
			k.arm("faddp %v.4s, %v.4s, %v.4s", a[0], a[0], a[2])
		} else {
			k.total(a[0])
		}
		store := fmt.Sprintf("store%d", t)
		k.op("CBZ %v, %s", add, store)
		if rows == 4 {
			k.load(x[0], c, 0)
		} else {
			k.op("FMOVS (%v), F%d", c, int(x[0]))
		}
		k.arm("fadd %v.4s, %v.4s, %v.4s", a[0], a[0], x[0])
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
	p, by := ws[0], n
	k.reload("c", p)
	k.op("ADD $%d, %v", 4*rows, p)
	k.op("MOVD %v, c+%d(FP)", p, k.at["c"])
	k.reload("w", p)
	k.reload("ldw", by)
	for range rows {
		k.op("ADD %v, %v", by, p)
	}
	k.op("MOVD %v, w+%d(FP)", p, k.at["w"])
	k.reload("times", p)
	k.op("SUBS $1, %v", p)
	k.op("MOVD %v, times+%d(FP)", p, k.at["times"])
	k.op("BNE rows")
	k.op("RET")
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

// total leaves the sum of the four elements in each of them.
func (k *function) total(v vec) {
	k.arm("faddp %v.4s, %v.4s, %v.4s", v, v, v)
	k.arm("faddp %v.4s, %v.4s, %v.4s", v, v, v)
}
