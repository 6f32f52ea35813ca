package main

import (
	"fmt"
	"slices"
)

// loop generates one over n elements, a positive multiple of 8, two vectors at a
// time. body turns one of them, the half 0 or 1, of what lies at from into what is
// stored at to, and may change it in place. The pointers move on.
func (k *function) loop(n gp, from, to []gp, body func(half int, v []vec) []vec) {
	k.label("next")
	for half := range 2 {
		vs := k.vecN(len(from))
		for i, p := range from {
			k.load(vs[i], p, 16*half)
		}
		for i, v := range body(half, vs) {
			k.vstore(v, to[i], 16*half)
		}
		k.free(vs...)
	}
	for _, p := range from {
		k.op("ADD $32, %v", p)
	}
	for _, p := range to {
		if !slices.Contains(from, p) {
			k.op("ADD $32, %v", p)
		}
	}
	k.op("SUBS $8, %v", n)
	k.op("BNE next")
}

// vectorKernels generates the operations on whole vectors that are not products;
// n is a positive multiple of 8 in all of them.
func vectorKernels(f *file) {
	squares(f)
	scaleMul(f)
	add(f)
	maximum(f)
	rotate(f)
	encodeF16(f)
	decode(f, "F32")
	decode(f, "F16")
	decode(f, "BF16")
	expSum(f)
	swiGLU(f)
}

const multiple = "; n is a positive multiple of 8."

func squares(f *file) {
	k := f.begin("squaresNEON", "squaresNEON returns the sum of squares"+multiple, "float32", "x *float32", "n int")
	x, n, sums := k.param("x"), k.param("n"), k.vecN(2)
	for _, v := range sums {
		k.arm("movi %v.2d, #0", v)
	}
	k.loop(n, []gp{x}, nil, func(half int, v []vec) []vec {
		k.arm("fmla %v.4s, %v.4s, %v.4s", sums[half], v[0], v[0])
		return nil
	})
	k.arm("fadd %v.4s, %v.4s, %v.4s", sums[0], sums[0], sums[1])
	k.total(sums[0], sums[1])
	k.op("FMOVS F%d, ret+%d(FP)", int(sums[0]), k.at["ret"])
	k.op("RET")
}

func scaleMul(f *file) {
	k := f.begin("scaleMulNEON", "scaleMulNEON stores x*scale*w"+multiple, "",
		"dst *float32", "x *float32", "w *float32", "scale float32", "n int")
	dst, x, w, n, scale := k.param("dst"), k.param("x"), k.param("w"), k.param("n"), k.vec()
	k.op("FMOVS scale+%d(FP), F%d", k.at["scale"], int(scale))
	k.loop(n, []gp{x, w}, []gp{dst}, func(_ int, v []vec) []vec {
		k.arm("fmul %v.4s, %v.4s, %v.s[0]", v[0], v[0], scale)
		k.arm("fmul %v.4s, %v.4s, %v.4s", v[0], v[0], v[1])
		return v[:1]
	})
	k.op("RET")
}

func add(f *file) {
	k := f.begin("addNEON", "addNEON adds x to dst"+multiple, "", "dst *float32", "x *float32", "n int")
	dst, x, n := k.param("dst"), k.param("x"), k.param("n")
	k.loop(n, []gp{dst, x}, []gp{dst}, func(_ int, v []vec) []vec {
		k.arm("fadd %v.4s, %v.4s, %v.4s", v[0], v[0], v[1])
		return v[:1]
	})
	k.op("RET")
}

func maximum(f *file) {
	k := f.begin("maximumNEON", "maximumNEON returns the largest element, or NaN if there is one"+multiple, "float32", "x *float32", "n int")
	x, n, tops := k.param("x"), k.param("n"), k.vecN(2)
	k.load(tops[0], x, 0)
	k.load(tops[1], x, 16)
	k.loop(n, []gp{x}, nil, func(half int, v []vec) []vec {
		k.arm("fmax %v.4s, %v.4s, %v.4s", tops[half], tops[half], v[0])
		return nil
	})
	k.arm("fmax %v.4s, %v.4s, %v.4s", tops[0], tops[0], tops[1])
	k.arm("fmaxv s%d, %v.4s", int(tops[0]), tops[0])
	k.op("FMOVS F%d, ret+%d(FP)", int(tops[0]), k.at["ret"])
	k.op("RET")
}

func rotate(f *file) {
	k := f.begin("rotateNEON", "rotateNEON is rotateGeneric"+multiple, "",
		"lo *float32", "hi *float32", "cos *float32", "sin *float32", "n int")
	lo, hi, cos, sin, n := k.param("lo"), k.param("hi"), k.param("cos"), k.param("sin"), k.param("n")
	newLo, newHi := k.vec(), k.vec()
	k.loop(n, []gp{lo, hi, cos, sin}, []gp{lo, hi}, func(_ int, v []vec) []vec {
		a, b, c, s := v[0], v[1], v[2], v[3]
		k.arm("fmul %v.4s, %v.4s, %v.4s", newLo, b, s)
		k.arm("fneg %v.4s, %v.4s", newLo, newLo)
		k.arm("fmla %v.4s, %v.4s, %v.4s", newLo, a, c) // a*c - b*s, of which the second is rounded
		k.arm("fmul %v.4s, %v.4s, %v.4s", newHi, a, s)
		k.arm("fmla %v.4s, %v.4s, %v.4s", newHi, b, c)
		return []vec{newLo, newHi}
	})
	k.op("RET")
}

func encodeF16(f *file) {
	k := f.begin("encodeF16NEON", "encodeF16NEON rounds to half precision"+multiple, "", "dst *uint16", "x *float32", "n int")
	dst, x, n := k.param("dst"), k.param("x"), k.param("n")
	lo, hi := k.vec(), k.vec()
	k.label("next")
	k.op("FMOVQ.P 16(%v), F%d", x, int(lo))
	k.op("FMOVQ.P 16(%v), F%d", x, int(hi))
	k.arm("fcvtn %v.4h, %v.4s", lo, lo)
	k.arm("fcvtn2 %v.8h, %v.4s", lo, hi)
	k.op("FMOVQ.P F%d, 16(%v)", int(lo), dst)
	k.op("SUBS $8, %v", n)
	k.op("BNE next")
	k.op("RET")
}

// decode generates the conversion of rows of floats to float32, column by column:
// as many streams from memory as there are rows hide its latency.
func decode(f *file, dt string) {
	name := fmt.Sprintf("decode%sNEON", dt)
	k := f.begin(name, name+" is decodeRows; ldd and lds count bytes"+multiple+". What lies after bytes further is fetched.", "",
		"dst *float32", "ldd int", "src *byte", "lds int", "n int", "rows int", "after int")
	dst, ldd, src, lds, n, rows := k.param("dst"), k.param("ldd"), k.param("src"), k.param("lds"), k.param("n"), k.param("rows")
	after, to, from, at, left := k.param("after"), k.gp(), k.gp(), k.gp(), k.gp()
	v := [2]vec{k.vec(), k.vec()}
	k.label("columns")
	k.op("MOVD %v, %v", dst, to)
	k.op("MOVD %v, %v", src, from)
	k.op("MOVD %v, %v", rows, left)
	k.label("next")
	k.op("ADD %v, %v, %v", after, from, at)
	k.op("PRFM (%v), PLDL2KEEP", at)
	k.op("MOVD %v, %v", from, at)
	k.eight(dt, v, at)
	k.vstore(v[0], to, 0)
	k.vstore(v[1], to, 16)
	k.op("ADD %v, %v", lds, from)
	k.op("ADD %v, %v", ldd, to)
	k.op("SUBS $1, %v", left)
	k.op("BNE next")
	size := 4
	if dt != "F32" {
		size = 2
	}
	k.op("ADD $%d, %v", 8*size, src)
	k.op("ADD $32, %v", dst)
	k.op("SUBS $8, %v", n)
	k.op("BNE columns")
	k.op("RET")
}
