package main

// dotProd sums four products of signed bytes to 32 bits at a time; the
// activations are an element of a vector, so that nothing is broadcast.
type dotProd struct{ byRows }

func (dotProd) name() string { return "DotProd" }
func (dotProd) signed() bool { return true }

// The sums of a block, activations of every token, and codes; or, at its ends,
// scales or zero points, the numbers of a token and a sum.
func (dotProd) working(k *kernel) int {
	return k.vectors() + max(k.tokens+2+k.High(), k.rows/4+2) + k.more()
}

func (d dotProd) block(k *kernel) {
	for part := range k.Parts() {
		d.part(k, part)
	}
}

func (dotProd) part(k *kernel, part int) {
	quads := k.rows / 4
	sums := k.vecN(k.vectors())
	k.start(sums)
	acts := k.vecN(k.tokens)
	groups := 8 / k.columnLines() // of four columns in a line
	n := k.columnLines() / k.Parts()
	for line := part * n; line < (part+1)*n; line++ {
		first := line * groups % 4 // the line's first group in the vectors of activations
		if first == 0 {
			for t, v := range acts {
				k.act(v, t, line*groups/4*16)
			}
		}
		for q := range quads {
			codes := k.vecN(groups)
			if k.Bits < 8 {
				k.nibbleVectors(codes[0], codes[1], line, q)
			} else {
				k.codeVector(codes[0], line, q)
			}
			for i, c := range codes {
				for t, v := range acts {
					k.arm("sdot %v.4s, %v.16b, %v.4b[%d]", sums[t*quads+q], c, v, first+i)
				}
			}
			k.free(codes...)
		}
	}
	k.free(acts...)
	k.finish(part, sums)
	k.free(sums...)
}
