package main

// accumulators are float32 sums in registers or, where there are too few, in
// scratch.
type accumulators struct {
	regs []vec
	n    int
	at   int // offset in scratch
}

// vectors is how many vectors hold an element for every row and token.
func (k *kernel) vectors() int { return k.rows * k.tokens / 4 }

// accumulators takes registers for sums as long as enough are left for the work
// of a block.
func (k *kernel) accumulators(at int) accumulators {
	a := accumulators{n: k.vectors(), at: at}
	if len(k.vecs)-a.n >= k.tier.working(k) {
		a.regs = k.vecN(a.n)
	}
	return a
}

// clear sets sums to zero.
func (k *kernel) clear(a accumulators) {
	if a.regs != nil {
		for _, v := range a.regs {
			k.arm("movi %v.2d, #0", v)
		}
		return
	}
	zero := k.vec()
	k.arm("movi %v.2d, #0", zero)
	for i := range a.n {
		k.vstore(zero, k.scratch, a.at+16*i)
	}
	k.free(zero)
}

// fetch returns sum i in a register, which drop takes back.
func (k *kernel) fetch(a accumulators, i int) vec {
	if a.regs != nil {
		return a.regs[i]
	}
	v := k.vec()
	k.load(v, k.scratch, a.at+16*i)
	return v
}

func (k *kernel) drop(a accumulators, v vec) {
	if a.regs == nil {
		k.free(v)
	}
}

// add generates the change of sum i by f.
func (k *kernel) add(a accumulators, i int, f func(sum vec)) {
	v := k.fetch(a, i)
	f(v)
	if a.regs == nil {
		k.vstore(v, k.scratch, a.at+16*i)
	}
	k.drop(a, v)
}
