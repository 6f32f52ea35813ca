package matmul

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"nibble/kernels/cpu"
	"nibble/kernels/number"
	"nibble/kernels/pool"
)

// floatChoice is a kernel for float products and why it was taken.
type floatChoice struct {
	floatKernel
	reason string // "avx512vnni 8x48: 1.14x avx512vnni 4x6"
}

// floatGain is how much faster a kernel must be than those before it: noise
// is not a reason.
const floatGain = 1.05

// floatChoices are the choices of this process by tier.
var floatChoices struct {
	sync.Mutex
	of map[cpu.ISA]floatChoice
}

// chooseFloat returns the fastest kernel for batches of the highest tier that isa
// allows, of those that are right. It is measured once in a process, within a few
// milliseconds, on a product that the second-level cache holds.
func chooseFloat(isa cpu.ISA) floatChoice {
	floatChoices.Lock()
	defer floatChoices.Unlock()
	if c, ok := floatChoices.of[isa]; ok {
		return c
	}
	var candidates []floatKernel
	for _, k := range floatKernels() {
		if isa.Allows(k.ISA) {
			if len(candidates) > 0 && candidates[0].ISA != k.ISA {
				candidates = nil
			}
			candidates = append(candidates, k)
		}
	}
	if floatChoices.of == nil {
		floatChoices.of = map[cpu.ISA]floatChoice{}
	}
	c := measureFloats(rightFloats(candidates), time.Now)
	floatChoices.of[isa] = c
	return c
}

// String is the kernel's full name.
func (f floatKernel) String() string { return fmt.Sprintf("%s %s", f.ISA, f.Name) }

// rightFloats returns those of some kernels whose products are those of plain Go, bit
// for bit, from every storage type, for one token, a few and a batch; plain Go if there
// is none.
func rightFloats(kernels []floatKernel) (right []floatKernel) {
	plain := floatKernels()[0]
	want := someFloats(plain)
	for _, k := range kernels {
		if slices.Equal(someFloats(k), want) {
			right = append(right, k)
		}
	}
	if right == nil {
		return []floatKernel{plain}
	}
	return right
}

// someFloats computes a few products with a kernel.
func someFloats(kernel floatKernel) (all []float32) {
	e := floatEngine(&kernel)
	defer e.Pool.Close()
	const n, k = 5, floatDepth + 25
	for _, dt := range []number.DType{number.F32, number.F16, number.BF16} {
		w := make([]byte, n*k*dt.Size())
		number.EncodeFloats(w, halves(n*k), dt)
		for _, m := range []int{1, 3, 57} {
			a, dst := e.NewActs(), make([]float32, m*n)
			a.Set(halves(m*k), m, k)
			_ = e.MatMul(context.Background(), a, Product{&Linear{n: n, k: k, float: w, dtype: dt}, dst}) // its context does not end
			all = append(all, dst...)
		}
	}
	return all
}

// floatEngine has one thread and float products that are those of a kernel.
func floatEngine(kernel *floatKernel) *Products {
	return &Products{Pool: pool.New(1), float: func() floatChoice { return floatChoice{floatKernel: *kernel} }}
}

// halves are n numbers between minus a half and a half.
func halves(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i*7919%1009)/1009 - 0.5
	}
	return x
}

// measureFloats chooses among kernels, of which there is at least one, by a clock.
func measureFloats(kernels []floatKernel, now func() time.Time) floatChoice {
	if len(kernels) == 1 {
		return floatChoice{kernels[0], kernels[0].String()}
	}
	const n, k, m, rounds = 64, floatDepth, 96, 21
	w, x := halves(n*k), halves(m*k)
	var kernel floatKernel
	e := floatEngine(&kernel)
	defer e.Pool.Close()
	took, results := make([]time.Duration, len(kernels)), make([][]float32, len(kernels))
	for i := range kernels {
		took[i], results[i] = math.MaxInt64, make([]float32, m*n)
	}
	l := &Linear{n: n, k: k, float: number.Bytes(w), dtype: number.F32}
	for range rounds {
		for i := range kernels {
			kernel = kernels[i]
			a := e.NewActs()
			a.Set(x, m, k)
			start := now()
			_ = e.MatMul(context.Background(), a, Product{l, results[i]}) // its context does not end
			took[i] = min(took[i], now().Sub(start))
		}
	}
	chosen, others := 0, []string(nil)
	for i, kernel := range kernels {
		switch {
		case !slices.Equal(results[i], results[0]):
			others = append(others, fmt.Sprintf("%s is wrong", kernel))
		case float64(took[i])*floatGain < float64(took[chosen]):
			chosen = i
		}
	}
	for i, kernel := range kernels {
		if i != chosen && slices.Equal(results[i], results[0]) {
			others = append(others, fmt.Sprintf("%.2fx %s", float64(took[i])/float64(took[chosen]), kernel))
		}
	}
	return floatChoice{kernels[chosen], fmt.Sprintf("%s: %s", kernels[chosen], strings.Join(others, ", "))}
}

// FloatChoice says in words which kernel multiplies batches by float weights, and
// why.
func (e *Products) FloatChoice() string { return e.float().reason }
