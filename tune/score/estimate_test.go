package score

import (
	"math"
	"slices"
	"testing"

	"nibble/model"
	"nibble/quant"
)

func TestFarFirst(t *testing.T) {
	for n := range 12 {
		var bytes []int64
		for i := range n {
			bytes = append(bytes, int64((i*7)%n*10))
		}
		order := farFirst(bytes)
		sorted := slices.Sorted(slices.Values(order))
		for i, j := range sorted {
			if i != j || len(sorted) != n {
				t.Fatalf("%d options: %v is no order of them", n, order)
			}
		}
		if n > 1 && (bytes[order[0]] != slices.Min(bytes) || bytes[order[1]] != slices.Max(bytes)) {
			t.Errorf("%d options begin with %d and %d bytes", n, bytes[order[0]], bytes[order[1]])
		}
	}
}

func TestSurvivors(t *testing.T) {
	bytes := []int64{100, 100, 110, 120, 200}
	errs := []float64{1, 0.7, 0.6, 0.8, 0.01}
	if got := survivors(bytes, errs); !slices.Equal(got, []int{1, 2, 4}) {
		t.Errorf("survivors %v, want the second, the third and the last: the first is clearly beaten, the fourth as well", got)
	}
	if got := survivors([]int64{10, 10}, []float64{0, 0}); len(got) != 2 {
		t.Errorf("survivors of equals: %v", got)
	}
}

// What is not measured follows from what is.
func TestEstimates(t *testing.T) {
	m := model.Module{Name: "model.layers.0.mlp.down_proj", Kind: "down", Rows: 64, Cols: 256}
	specs := []quant.Spec{{Bits: 4, Group: 32, Sym: true, Method: quant.RTN}, {Bits: 4, Group: 128, Sym: true, Method: quant.RTN}, {Bits: 8, Group: 32, Sym: true, Method: quant.RTN}, quant.Keep}
	nan := math.NaN()
	errs := []float64{0.02, nan, nan, 0}
	complete(errs, specs, m)
	if !(errs[1] > errs[0] && errs[1] < 2*errs[0]) || !(errs[2] > 0 && errs[2] < errs[0]/100) || errs[3] != 0 {
		t.Errorf("errors %v", errs)
	}
	w := ratios{}
	klds := []float64{0.004, nan, nan, nan}
	w.estimate(m, specs, errs, klds)
	if math.Abs(klds[1]-0.2*errs[1]) > 1e-12 || math.Abs(klds[2]-0.2*errs[2]) > 1e-12 || klds[3] != 0 {
		t.Errorf("divergences %v of errors %v", klds, errs)
	}
	// Another layer has nothing measured: it takes the ratio of its kind.
	klds = []float64{nan, nan, nan, nan}
	w.estimate(m, specs, errs, klds)
	if math.Abs(klds[0]-0.004) > 1e-12 {
		t.Errorf("divergences %v where the same kind has 0.2 of the error", klds)
	}
}
