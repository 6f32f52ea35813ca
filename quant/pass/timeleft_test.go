package pass

import (
	"testing"
)

// Where a layer takes long, the estimate is that of a whole one.
func TestEstimateSpansALayer(t *testing.T) {
	w := window{least: 10}
	for layer := range 4 { // 100 s of sums, then 10 s of matrices
		for i := range 11 {
			w.add(float64(110*layer+100+i), float64(10*layer+i))
			if left := w.left(40); layer > 0 && (left < 0.8*11*(40-float64(10*layer+i)) || left > 1.2*11*(40-float64(10*layer+i))+1) {
				t.Errorf("layer %d, matrix %d: %g s for %d at a layer in 110 s", layer, i, left, 40-10*layer-i)
			}
		}
	}
}

// The estimate follows the rate of the last while, not that since the start.
func TestEstimateFollowsTheRate(t *testing.T) {
	var w window
	for s := range 40 { // fast
		w.add(float64(s), float64(100*s))
	}
	if left := w.left(5000); left < 10 || left > 12 {
		t.Errorf("%g s for 1100 at 100 a second", left)
	}
	for s := range 40 { // slow
		w.add(float64(40+s), 4000+float64(s))
	}
	if left := w.left(4139); left < 90 || left > 110 {
		t.Errorf("%g s for 100 at 1 a second", left)
	}
	if left := w.left(4039); left != 0 {
		t.Errorf("%g s for nothing", left)
	}
}
