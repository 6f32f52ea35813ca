package main

import (
	"fmt"

	"nibble/kernels/layout"
)

// attentionKernels generates the two products of attention for tiles of queries;
// see attention.go of package kernels. Sixteen sums, whatever the tile, hide the
// latency of multiply-adds.
func attentionKernels(f *file) {
	for _, dt := range []string{"F32", "F16"} {
		for _, rows := range []int{1, 2, 4} {
			scores(f, dt, rows, 4/rows)
			values(f, dt, rows, 4/rows)
		}
	}
}

func elementSize(dt string) int {
	if dt == "F32" {
		return 4
	}
	return 2
}

// scores generates scoresGeneric for a number of queries, several blocks of keys
// at a time.
func scores(f *file, dt string, rows, blocks int) {
	name := fmt.Sprintf("scores%sNEONx%d", dt, rows)
	k := f.begin(name, fmt.Sprintf("%s is scoresGeneric for %d queries; ldd and step count bytes.", name, rows), "",
		"dst *float32", "ldd int", "q *float32", "keys *byte", "step int", "blocks int", "dim int")
	keys, step, left, dim, ldd := k.param("keys"), k.param("step"), k.param("blocks"), k.param("dim"), k.param("ldd")
	qBytes, blockBytes, n := k.gp(), k.gp(), k.gp()
	k.op("LSL $2, %v, %v", dim, qBytes)
	k.op("MOVD $%d, %v", layout.KeyBlock*elementSize(dt), blockBytes)
	k.op("MUL %v, %v", dim, blockBytes)
	dsts, qs := k.apart(k.param("dst"), ldd, rows), k.apart(k.param("q"), qBytes, rows)
	pass := func(label string, blocks int) {
		gps := k.gps
		k.label(label)
		k.op("CMP $%d, %v", blocks, left)
		k.op("BLT %sDone", label)
		at := k.apart(keys, step, blocks)
		acc, query := k.vecN(4*rows*blocks), k.vecN(rows)
		for _, v := range acc {
			k.arm("movi %v.2d, #0", v)
		}
		k.op("MOVD %v, %v", dim, n)
		k.label(label + "Next")
		for r, p := range qs {
			k.op("FMOVS.P 4(%v), F%d", p, int(query[r]))
		}
		for b, p := range at {
			key := k.sixteen(dt, p)
			for r, q := range query {
				for i, v := range key {
					k.arm("fmla %v.4s, %v.4s, %v.s[0]", acc[4*(r*blocks+b)+i], v, q)
				}
			}
			k.free(key...)
		}
		k.op("SUBS $1, %v", n)
		k.op("BNE %sNext", label)
		for _, p := range qs {
			k.op("SUB %v, %v", qBytes, p)
		}
		if blocks > 1 {
			k.op("MOVD %v, %v", at[blocks-1], keys)
		}
		k.op("ADD %v, %v", step, keys) // from the end of a block's keys to that of the next
		k.op("SUB %v, %v", blockBytes, keys)
		for r, p := range dsts {
			for i, v := range acc[4*r*blocks:][:4*blocks] {
				k.vstore(v, p, 16*i)
			}
			k.op("ADD $%d, %v", 4*layout.KeyBlock*blocks, p)
		}
		k.op("SUB $%d, %v", blocks, left)
		k.op("B %s", label)
		k.label(label + "Done")
		k.free(append(acc, query...)...)
		k.gps = gps
	}
	if blocks > 1 {
		pass("many", blocks)
	}
	pass("one", 1)
	k.op("RET")
}

// values generates valuesGeneric for a number of queries, several times sixteen
// columns at a time.
func values(f *file, dt string, rows, blocks int) {
	name := fmt.Sprintf("values%sNEONx%d", dt, rows)
	k := f.begin(name, fmt.Sprintf("%s is valuesGeneric for %d queries; ldd, ldw and step count bytes, add is 0 or 1.", name, rows), "",
		"dst *float32", "ldd int", "weights *float32", "ldw int", "rows *byte", "step int", "n int", "width int", "add int")
	src, left, ldd, ldw := k.param("rows"), k.param("width"), k.param("ldd"), k.param("ldw")
	dsts := k.apart(k.param("dst"), ldd, rows)
	stride, gap, first, n, some, p := k.gp(), k.param("step"), k.gp(), k.gp(), k.gp(), k.gp()
	size := elementSize(dt)
	k.op("LSL $%d, %v, %v", size/2, left, stride)
	k.op("SUB %v<<4, %v", stride, gap) // from the end of a block to the next: layout.KeyBlock is 16
	pass := func(label string, blocks int) {
		gps := k.gps
		k.label(label)
		k.op("CMP $%d, %v", layout.KeyBlock*blocks, left)
		k.op("BLT %sDone", label)
		k.reload("weights", first)
		ws := k.apart(first, ldw, rows)
		k.reload("n", n)
		k.op("MOVD %v, %v", src, p)
		acc, weight := k.vecN(4*rows*blocks), k.vecN(rows)
		for _, v := range acc {
			k.arm("movi %v.2d, #0", v)
		}
		k.reload("add", some)
		k.op("CBZ %v, %sBlock", some, label)
		for r, p := range dsts {
			for i, v := range acc[4*r*blocks:][:4*blocks] {
				k.load(v, p, 16*i)
			}
		}
		k.label(label + "Block")
		k.op("MOVD $%d, %v", layout.KeyBlock, some)
		k.op("CMP %v, %v", some, n)
		k.op("CSEL LT, %v, %v, %v", n, some, some)
		k.op("SUB %v, %v", some, n)
		k.label(label + "Next")
		for r, p := range ws {
			k.op("FMOVS.P 4(%v), F%d", p, int(weight[r]))
		}
		for b := range blocks {
			value := k.sixteen(dt, p)
			for r, w := range weight {
				for i, v := range value {
					k.arm("fmla %v.4s, %v.4s, %v.s[0]", acc[4*(r*blocks+b)+i], v, w)
				}
			}
			k.free(value...)
		}
		k.op("ADD %v, %v", stride, p)
		k.op("SUB $%d, %v", layout.KeyBlock*size*blocks, p)
		k.op("SUBS $1, %v", some)
		k.op("BNE %sNext", label)
		k.op("ADD %v, %v", gap, p)
		k.op("CBNZ %v, %sBlock", n, label)
		for r, p := range dsts {
			for i, v := range acc[4*r*blocks:][:4*blocks] {
				k.vstore(v, p, 16*i)
			}
			k.op("ADD $%d, %v", 4*layout.KeyBlock*blocks, p)
		}
		k.op("ADD $%d, %v", layout.KeyBlock*size*blocks, src)
		k.op("SUB $%d, %v", layout.KeyBlock*blocks, left)
		k.op("B %s", label)
		k.label(label + "Done")
		k.free(append(acc, weight...)...)
		k.gps = gps
	}
	if blocks > 1 {
		pass("wide", blocks)
	}
	pass("narrow", 1)
	k.op("RET")
}

// sixteen loads sixteen elements as four vectors of float32 and moves on.
func (k *function) sixteen(dt string, p gp) []vec {
	v := k.vecN(4)
	k.eight(dt, [2]vec(v[:2]), p)
	k.eight(dt, [2]vec(v[2:]), p)
	return v
}
