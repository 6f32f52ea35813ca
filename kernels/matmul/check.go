package matmul

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"nibble/kernels/format"
	"nibble/kernels/layout"
)

// ErrWrong reports a kernel whose results are not those of the reference.
var ErrWrong = errors.New("the kernel computes wrongly on this CPU")

// checkTokens bounds what the slow reference has to compute; it has a remainder
// in every size of tile.
const checkTokens = 38

// runFunc is intKernel.run.
type runFunc func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int)

// Reference computes the first two panels and the last.
func Reference(a *QuantActs, w *format.Packed) []float32 {
	return ends(MulGeneric, a, w)
}

// Equal compares a kernel with the reference bit for bit.
func Equal(want []float32, k Kernel, a *QuantActs, w *format.Packed) bool {
	got := ends(k.Run, a, w)
	for i, v := range want {
		if math.Float32bits(v) != math.Float32bits(got[i]) {
			return false
		}
	}
	return true
}

// ends computes the first two panels at once, for some tiles take two, and the last,
// which may have fewer rows.
func ends(run runFunc, a *QuantActs, w *format.Packed) []float32 {
	m, n := min(a.M, checkTokens), w.Panels()
	out := make([]float32, m*w.N)
	run(out, w.N, a, 0, m, w, 0, min(2, n))
	if n > 2 {
		run(out, w.N, a, 0, m, w, n-1, n)
	}
	return out
}

// Checked gives a kernel a verdict that is found on first demand.
func Checked(k Kernel) Kernel {
	k.verdict = sync.OnceValue(func() error { return check(k) })
	return k
}

// check compares a kernel with the reference in every scheme that it takes, for one
// token and for several, with panels and columns that are not whole.
func check(k Kernel) error {
	const rows = 2*layout.PanelRows + 5
	for _, scheme := range format.Plain() {
		if !k.Takes(scheme) {
			continue
		}
		cols := 3*128 + 8
		if scheme.Super {
			cols = 2 * layout.SuperCols
		}
		x := RandomActivations(checkTokens, cols)
		w, err := RandomWeights(rows, cols, scheme)
		if err != nil {
			return err
		}
		for _, m := range []int{1, checkTokens} {
			var a QuantActs
			a.resize(m, cols)
			a.quantize(x, 0, m, quantizeBlocksGeneric)
			a.Prepare(scheme.Format())
			if !Equal(Reference(&a, w.Quant), k, &a, w.Quant) {
				return fmt.Errorf("%w: %s differs from the reference in %s, %d tokens: use another", ErrWrong, k, scheme, m)
			}
		}
	}
	return nil
}

// RandomWeights makes a matrix to measure and check kernels on.
func RandomWeights(n, k int, s format.Scheme) (*Linear, error) {
	q, err := format.Random(rand.New(rand.NewPCG(1, 1)), n, k, s)
	if err != nil {
		return nil, err
	}
	return NewQuantLinear(q)
}

// RandomActivations are m tokens of k columns, the same each time.
func RandomActivations(m, k int) []float32 {
	x := make([]float32, m*k)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}
