package kernels

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"nibble/kernels/layout"
)

// ErrWrong reports a kernel whose results are not those of the reference.
var ErrWrong = errors.New("the kernel computes wrongly on this CPU")

// checkTokens bounds what the slow reference has to compute; it has a remainder
// in every size of tile.
const checkTokens = 38

// runFunc is intKernel.run.
type runFunc func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int)

// reference computes the first two panels and the last.
func reference(a *quantActs, w *packed) []float32 {
	return ends(mulGeneric, a, w)
}

// equal compares a kernel with the reference bit for bit.
func equal(want []float32, k intKernel, a *quantActs, w *packed) bool {
	got := ends(k.run, a, w)
	for i, v := range want {
		if math.Float32bits(v) != math.Float32bits(got[i]) {
			return false
		}
	}
	return true
}

// ends computes the first two panels at once, for some tiles take two, and the last,
// which may have fewer rows.
func ends(run runFunc, a *quantActs, w *packed) []float32 {
	m, n := min(a.m, checkTokens), w.panels()
	out := make([]float32, m*w.n)
	run(out, w.n, a, 0, m, w, 0, min(2, n))
	if n > 2 {
		run(out, w.n, a, 0, m, w, n-1, n)
	}
	return out
}

// checked gives a kernel a verdict that is found on first demand.
func checked(k intKernel) intKernel {
	k.verdict = sync.OnceValue(func() error { return check(k) })
	return k
}

// check compares a kernel with the reference in every scheme that it takes, for one
// token and for several, with panels and columns that are not whole.
func check(k intKernel) error {
	const rows = 2*layout.PanelRows + 5
	for _, scheme := range plainSchemes() {
		if !k.takes(scheme) {
			continue
		}
		cols := 3*128 + 8
		if scheme.Super {
			cols = 2 * layout.SuperCols
		}
		x := randomActivations(checkTokens, cols)
		w, err := randomWeights(rows, cols, scheme)
		if err != nil {
			return err
		}
		for _, m := range []int{1, checkTokens} {
			var a quantActs
			a.resize(m, cols)
			a.quantize(x, 0, m, quantizeBlocksGeneric)
			a.prepare(scheme)
			if !equal(reference(&a, w.quant), k, &a, w.quant) {
				return fmt.Errorf("%w: %s differs from the reference in %s, %d tokens: use another", ErrWrong, k, scheme, m)
			}
		}
	}
	return nil
}
