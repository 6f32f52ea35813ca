package calib_test

import (
	"context"
	"math"
	"reflect"
	"testing"

	"nibble/quant/calib"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
)

// The diagonal without the rest is the diagonal of the whole Hessian.
func TestImportance(t *testing.T) {
	ctx := context.Background()
	ck := quanttest.Open(t, "demo")
	seq, err := calib.NewSequence(ck, quanttest.Load(t, 2, ck), passtest.Calibration(t, ck))
	if err != nil {
		t.Fatal(err)
	}
	if err := seq.Enter(ctx, 0); err != nil {
		t.Fatal(err)
	}
	for _, m := range ck.Config.Modules() {
		if m.Layer != 0 {
			continue
		}
		h := calib.NewHessian(seq.Base.Engine, m.Cols)
		if err := seq.Input(ctx, m, func(x []float32, rows, cols int) error { return h.Add(ctx, x, rows, cols) }); err != nil {
			t.Fatal(err)
		}
		if err := h.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		mean := 0.0
		for c := range m.Cols {
			mean += float64(h.At(c, c)) / float64(m.Cols)
		}
		got, err := seq.Importance(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		for c := range m.Cols {
			if want := float64(h.At(c, c))/mean + calib.MomentFloor; math.Abs(float64(got[c])-want) > 1e-4*want {
				t.Fatalf("%s, column %d weighs %g, want %g", m.Name, c, got[c], want)
			}
		}
	}
	if h := calib.Importance(make([]float64, 3)); !reflect.DeepEqual(h, []float32{1, 1, 1}) {
		t.Errorf("without any input columns weigh %v", h)
	}
}
