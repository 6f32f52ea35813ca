package main

import (
	"fmt"

	"nibble/kernels/layout"
)

// i8mm multiplies two rows by two tokens, eight columns at a time: twice the
// products of a dot product. Codes are taken unsigned. Tokens come in pairs.
type i8mm struct{}

func (i8mm) name() string { return "I8MM" }
func (i8mm) signed() bool { return false }

// Sums lie two rows by two tokens in a vector, (row 0, token 0), (row 0, token
// 1), (row 1, token 0), (row 1, token 1): those of a pair of tokens p are
// pairs*p to pairs*(p+1), where pairs is half the rows.

func (i8mm) spread(k *kernel, v vec) []vec {
	first := k.vec()
	k.arm("zip1 %v.4s, %v.4s, %v.4s", first, v, v)
	k.arm("zip2 %v.4s, %v.4s, %v.4s", v, v, v)
	return []vec{first, v}
}

func (i8mm) store(k *kernel, c, ldc gp) {
	pairs := k.rows / 2
	for t := range k.tokens {
		for r := 0; r < pairs; r += 2 {
			v, a, b := k.vec(), k.fetch(k.sums, t/2*pairs+r), k.fetch(k.sums, t/2*pairs+r+1)
			k.arm("uzp%d %v.4s, %v.4s, %v.4s", t%2+1, v, a, b)
			k.vstore(v, c, 8*r)
			k.free(v)
			k.drop(k.sums, a)
			k.drop(k.sums, b)
		}
		if t+1 < k.tokens {
			k.op("ADD %v, %v", ldc, c)
		}
	}
}

// The sums of a block, activations of every pair of tokens, and codes; or, at its
// ends, scales or zero points, the numbers of a pair of tokens and a sum.
func (i8mm) working(k *kernel) int {
	return k.vectors() + max(k.tokens+3+k.High(), k.rows/2+2) + k.more()
}

func (i i8mm) block(k *kernel) {
	for part := range k.Parts() {
		i.part(k, part)
	}
}

func (i i8mm) part(k *kernel, part int) {
	pairs := k.rows / 2
	sums := k.vecN(k.vectors())
	i.start(k, sums)
	acts := make([][2]vec, k.tokens/2) // of a pair of tokens: 8 columns, and 8 more
	for p := range acts {
		acts[p] = [2]vec{k.vec(), k.vec()}
	}
	n := 4 / k.Parts()
	for step := part * n; step < (part+1)*n; step++ { // of 8 columns
		if step%2 == 0 {
			for p, v := range acts {
				other := k.vec()
				k.act(other, 2*p, 8*step)
				k.act(v[1], 2*p+1, 8*step)
				k.arm("zip1 %v.2d, %v.2d, %v.2d", v[0], other, v[1])
				k.arm("zip2 %v.2d, %v.2d, %v.2d", v[1], other, v[1])
				k.free(other)
			}
		}
		for q := range k.rows / 4 {
			lo, hi, rows := k.vec(), k.vec(), k.vec()
			mmla := "smmla"
			if k.Bits < 8 {
				k.nibbleVectors(lo, hi, step, q)
			} else {
				mmla = "usmmla"
				k.codeVector(lo, 2*step, q)
				k.codeVector(hi, 2*step+1, q)
			}
			k.arm("zip1 %v.4s, %v.4s, %v.4s", rows, lo, hi)
			k.arm("zip2 %v.4s, %v.4s, %v.4s", hi, lo, hi)
			for r, c := range []vec{rows, hi} {
				for p, v := range acts {
					k.arm("%s %v.4s, %v.16b, %v.16b", mmla, sums[p*pairs+2*q+r], c, v[step%2])
				}
			}
			k.free(lo, hi, rows)
		}
	}
	for _, v := range acts {
		k.free(v[:]...)
	}
	i.finish(k, part, sums)
	k.free(sums...)
}

// meta fills a vector with an element of the block's numbers of tokens t and
// t+1, twice.
func (i8mm) meta(k *kernel, v vec, t, element int) {
	k.act(v, t, layout.ActScale)
	other := k.vec()
	k.act(other, t+1, layout.ActScale)
	k.arm("zip%d %v.4s, %v.4s, %v.4s", element/2+1, v, v, other)
	k.arm("dup %v.2d, %v.d[%d]", v, v, element%2)
	k.free(other)
}

func (i i8mm) start(k *kernel, sums []vec) {
	pairs := k.rows / 2
	switch {
	case k.fromZero():
		for _, s := range sums {
			k.arm("movi %v.2d, #0", s)
		}
		return
	case k.WithZeros:
		zeros, v := k.groupZeros(), k.vec()
		for n, s := range sums {
			if n%pairs == 0 {
				i.meta(k, v, n/pairs*2, metaNsum)
			}
			k.arm("mul %v.4s, %v.4s, %v.4s", s, zeros[n%pairs], v)
		}
		k.free(append(zeros, v)...)
		return
	}
	element := metaNsum8
	if k.Bits == 8 {
		element = metaNsum128
	}
	for n, s := range sums {
		if n%pairs == 0 {
			i.meta(k, s, n/pairs*2, element)
			continue
		}
		k.op("VMOV V%d.B16, V%d.B16", int(sums[n/pairs*pairs]), int(s))
	}
}

func (i i8mm) finish(k *kernel, part int, sums []vec) {
	pairs := k.rows / 2
	scales, v := k.blockScales(part), k.vec()
	for n, s := range sums {
		if n%pairs == 0 {
			i.meta(k, v, n/pairs*2, metaScale)
		}
		k.addBlock(n, s, fmt.Sprintf("%v.4s", v), scales)
	}
	k.free(append(scales, v)...)
	if !k.Mins {
		return
	}
	mins, both := k.groupMins(), k.vec()
	for n := range sums {
		if n%pairs == 0 {
			k.op("FMOVD %d(%v), F%d", n/pairs*2*k.SideStep(), k.side, int(both))
			k.arm("dup %v.2d, %v.d[0]", both, both)
		}
		k.add(k.sums, n, func(to vec) { k.arm("fmla %v.4s, %v.4s, %v.4s", to, mins[n%pairs], both) })
	}
	k.free(append(mins, both)...)
}
