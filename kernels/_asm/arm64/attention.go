package main

// keyBlock is how many keys are interleaved; see kvcache.go.
const keyBlock = 16

// scores generates scoresGeneric for one query.
func scores(f *file, dt string) {
	name := "scores" + dt + "NEON"
	k := f.begin(name, name+" is scoresGeneric for one query; ldd is not used.", "",
		"dst *float32", "ldd int", "q *float32", "keys *byte", "blocks int", "dim int")
	dst, keys, left, dim := k.param("dst"), k.param("keys"), k.param("blocks"), k.param("dim")
	q, n := k.gp(), k.gp()
	k.label("block")
	acc, x := k.vecN(4), k.vec()
	for _, v := range acc {
		k.arm("movi %v.16b, #0", v)
	}
	k.reload("q", q)
	k.op("MOVD %v, %v", dim, n)
	k.label("next")
	k.op("FMOVS.P 4(%v), F%d", q, int(x))
	k.sixteen(dt, acc, x, keys)
	k.op("SUBS $1, %v", n)
	k.op("BNE next")
	for _, v := range acc {
		k.op("FMOVQ.P F%d, 16(%v)", int(v), dst)
	}
	k.op("SUBS $1, %v", left)
	k.op("BNE block")
	k.op("RET")
}

// values generates valuesGeneric for one query.
func values(f *file, dt string) {
	name := "values" + dt + "NEON"
	k := f.begin(name, name+" is valuesGeneric for one query; ldd and ldw are not used.", "",
		"dst *float32", "ldd int", "weights *float32", "ldw int", "rows *byte", "n int", "width int")
	dst, rows, left := k.param("dst"), k.param("rows"), k.param("width")
	stride, weights, n, p := k.gp(), k.gp(), k.gp(), k.gp()
	size := 4
	if dt == "F16" {
		size = 2
	}
	k.op("LSL $%d, %v, %v", size/2, left, stride)
	k.op("SUB $%d, %v", keyBlock*size, stride) // sixteen moves on by that
	k.label("columns")
	acc, x := k.vecN(4), k.vec()
	for _, v := range acc {
		k.arm("movi %v.16b, #0", v)
	}
	k.reload("weights", weights)
	k.reload("n", n)
	k.op("MOVD %v, %v", rows, p)
	k.label("next")
	k.op("FMOVS.P 4(%v), F%d", weights, int(x))
	k.sixteen(dt, acc, x, p)
	k.op("ADD %v, %v", stride, p)
	k.op("SUBS $1, %v", n)
	k.op("BNE next")
	for _, v := range acc {
		k.op("FMOVQ.P F%d, 16(%v)", int(v), dst)
	}
	k.op("ADD $%d, %v", keyBlock*size, rows)
	k.op("SUBS $%d, %v", keyBlock, left)
	k.op("BNE columns")
	k.op("RET")
}

// sixteen adds sixteen elements times the first of x to acc and moves on.
func (k *function) sixteen(dt string, acc []vec, x vec, p gp) {
	for i := 0; i < len(acc); i += 2 {
		v := [2]vec{k.vec(), k.vec()}
		k.eight(dt, v, p)
		for j, w := range v {
			k.arm("fmla %v.4s, %v.4s, %v.s[0]", acc[i+j], w, x)
		}
		k.free(v[:]...)
	}
}
