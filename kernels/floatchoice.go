package kernels

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
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
	of map[ISA]floatChoice
}

// chooseFloat returns the fastest kernel for batches of the highest tier that isa
// allows. It is measured once in a process, within a few milliseconds, on a product
// that the second-level cache holds; one whose results are not those of the tier's
// first, bit for bit, is left out.
func chooseFloat(isa ISA) floatChoice {
	floatChoices.Lock()
	defer floatChoices.Unlock()
	if c, ok := floatChoices.of[isa]; ok {
		return c
	}
	var candidates []floatKernel
	for _, k := range floatKernels() {
		if isa.allows(k.ISA) {
			if len(candidates) > 0 && candidates[0].ISA != k.ISA {
				candidates = nil
			}
			candidates = append(candidates, k)
		}
	}
	if floatChoices.of == nil {
		floatChoices.of = map[ISA]floatChoice{}
	}
	c := measureFloats(candidates, time.Now)
	floatChoices.of[isa] = c
	return c
}

// String is the kernel's full name.
func (f floatKernel) String() string { return fmt.Sprintf("%s %s", f.ISA, f.Name) }

// measureFloats chooses among kernels, of which there is at least one, by a clock.
func measureFloats(kernels []floatKernel, now func() time.Time) floatChoice {
	if len(kernels) == 1 {
		return floatChoice{kernels[0], kernels[0].String()}
	}
	const n, k, m, rounds = 64, floatDepth, 96, 21
	w, x := make([]float32, n*k), make([]float32, m*k)
	for _, v := range [][]float32{w, x} {
		for i := range v {
			v[i] = float32(i*7919%1009)/1009 - 0.5
		}
	}
	var kernel floatKernel
	e := &Engine{pool: newPool(1), float: func() floatChoice { return floatChoice{floatKernel: kernel} }}
	defer e.Close()
	took, results := make([]time.Duration, len(kernels)), make([][]float32, len(kernels))
	for i := range kernels {
		took[i], results[i] = math.MaxInt64, make([]float32, m*n)
	}
	l := &Linear{n: n, k: k, float: floatBytes(w), dtype: F32}
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
func (e *Engine) FloatChoice() string { return e.float().reason }
