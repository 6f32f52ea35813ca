package main

// neon is what every arm64 CPU has: 16-bit products of signed bytes, summed as
// far as 16 bits hold. SMULL and SMLAL wrap and never saturate, so the bounds
// below are what keeps them exact.
type neon struct{ byRows }

func (neon) name() string { return "NEON" }
func (neon) signed() bool { return true }

// Two sums for every four rows of a token, the broadcasts of every token, the
// vector they come from, two of codes and a product; or, at the block's ends, scales
// or zero points, the numbers of a token and a sum.
func (neon) working(k *kernel) int {
	return 2*k.vectors() + max(2*k.tokens+4+k.High(), k.rows/4+2) + k.more()
}

func (n neon) block(k *kernel) {
	if k.Bits == 4 && k.Table == nil {
		n.block4(k)
		return
	}
	for part := range k.Parts() {
		n.part8(k, part)
	}
}

// block4 sums all eight products that meet in a 16-bit lane, 8*15*127 = 15240,
// and then two lanes, 30480.
func (neon) block4(k *kernel) {
	quads := k.rows / 4
	sums := k.vecN(2 * quads * k.tokens) // of rows 0 and 1, of 2 and 3, of every four
	for line := range 4 {
		dups := k.broadcast(2*line, 2)
		for q := range quads {
			lo, hi := k.vec(), k.vec()
			k.nibbleVectors(lo, hi, line, q)
			for t := range k.tokens {
				s := sums[2*(t*quads+q):]
				first := "smlal"
				if line == 0 {
					first = "smull"
				}
				k.arm("%s %v.8h, %v.8b, %v.8b", first, s[0], lo, dups[t][0])
				k.arm("%s2 %v.8h, %v.16b, %v.16b", first, s[1], lo, dups[t][0])
				k.arm("smlal %v.8h, %v.8b, %v.8b", s[0], hi, dups[t][1])
				k.arm("smlal2 %v.8h, %v.16b, %v.16b", s[1], hi, dups[t][1])
			}
			k.free(lo, hi)
		}
		for _, d := range dups {
			k.free(d...)
		}
	}
	var pairs, totals []vec
	for i := 0; i < len(sums); i += 2 {
		k.arm("addp %v.8h, %v.8h, %v.8h", sums[i], sums[i], sums[i+1])
		pairs, totals = append(pairs, sums[i]), append(totals, sums[i+1])
	}
	k.start(totals)
	for i, v := range totals {
		k.arm("sadalp %v.4s, %v.8h", v, pairs[i])
	}
	k.finish(0, totals)
	k.free(sums...)
}

// part8 sums two products, 2*128*127 = 32512, before it widens them.
func (neon) part8(k *kernel, part int) {
	quads := k.rows / 4
	sums := k.vecN(2 * quads * k.tokens)
	for _, v := range sums {
		k.arm("movi %v.2d, #0", v)
	}
	n := 8 / k.Parts()
	for line := part * n; line < (part+1)*n; line += 2 {
		dups := k.broadcast(line, 2)
		for q := range quads {
			c0, c1, p := k.vec(), k.vec(), k.vec()
			if k.Bits == 8 {
				k.codeVector(c0, line, q)
				k.codeVector(c1, line+1, q)
			} else {
				k.nibbleVectors(c0, c1, line/2, q)
			}
			for t := range k.tokens {
				s := sums[2*(t*quads+q):]
				k.arm("smull %v.8h, %v.8b, %v.8b", p, c0, dups[t][0])
				k.arm("smlal %v.8h, %v.8b, %v.8b", p, c1, dups[t][1])
				k.arm("sadalp %v.4s, %v.8h", s[0], p)
				k.arm("smull2 %v.8h, %v.16b, %v.16b", p, c0, dups[t][0])
				k.arm("smlal2 %v.8h, %v.16b, %v.16b", p, c1, dups[t][1])
				k.arm("sadalp %v.4s, %v.8h", s[1], p)
			}
			k.free(c0, c1, p)
		}
		for _, d := range dups {
			k.free(d...)
		}
	}
	var totals, starts []vec
	for i := 0; i < len(sums); i += 2 {
		k.arm("addp %v.4s, %v.4s, %v.4s", sums[i], sums[i], sums[i+1])
		totals, starts = append(totals, sums[i]), append(starts, sums[i+1])
	}
	if !k.fromZero() {
		k.start(starts)
		for i, v := range totals {
			k.arm("add %v.4s, %v.4s, %v.4s", v, v, starts[i])
		}
	}
	k.finish(part, totals)
	k.free(sums...)
}

// broadcast fills, for every token, vectors with four copies of the four
// activations of each of n groups of columns from the first.
func (k *kernel) broadcast(first, n int) [][]vec {
	var dups [][]vec
	act := k.vec()
	for t := range k.tokens {
		vs := k.vecN(n)
		k.act(act, t, first/4*16)
		for i, v := range vs {
			k.arm("dup %v.4s, %v.s[%d]", v, act, first%4+i)
		}
		dups = append(dups, vs)
	}
	k.free(act)
	return dups
}
