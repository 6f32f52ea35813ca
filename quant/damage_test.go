package quant

import (
	"context"
	"math"
	"testing"
)

// Methods that measure inputs say what they gain over plain rounding, and the
// worst matrix comes first.
func TestDamage(t *testing.T) {
	ck := open(t, "demo")
	base := load(t, 2, ck)
	_, report, err := Apply(context.Background(), base, ck, parse(t, "w4 channel sym gptq; *.0.* w4 g32 sym mse; *.1.* keep"), nil)
	if err != nil {
		t.Fatal(err)
	}
	better, n := 0, 0
	for _, m := range report.Modules {
		measured := m.Spec == "w4 channel sym gptq"
		if measured != (m.OutErr > 0 && m.OutErrRTN > 0) {
			t.Errorf("%s, %s: errors of outputs %g and %g", m.Module, m.Spec, m.OutErr, m.OutErrRTN)
		}
		if measured {
			n++
			if m.OutErr < m.OutErrRTN {
				better++
			}
		}
	}
	if n == 0 || better < n*9/10 {
		t.Errorf("gptq has smaller errors of outputs than plain rounding in %d of %d matrices", better, n)
	}
	sorted := ByDamage(report.Modules)
	for i, m := range sorted {
		if m.Spec == Keep.String() || i > 0 && m.Damage() > sorted[i-1].Damage() {
			t.Errorf("%d: %s, %s, %g after %g", i, m.Module, m.Spec, m.Damage(), sorted[max(0, i-1)].Damage())
		}
	}
}

// What training reports of outputs can be compared with what GPTQ reports: it is
// the same where the codes and the inputs are, and as good elsewhere.
func TestDamageOfTraining(t *testing.T) {
	shortTraining(t, 0)
	ck := open(t, "demo")
	base := load(t, 2, ck)
	cal := calibration(t, ck)
	lines := func(method string) []ModuleReport {
		_, report, err := ApplyCalibrated(context.Background(), base, ck, parse(t, "w4 channel sym "+method+"; embed_tokens w4 g32 sym "+method), cal, nil)
		if err != nil {
			t.Fatal(err)
		}
		return report.Modules
	}
	want := lines(GPTQ)
	close := func(a, b, share float64) bool { return a > 0 && math.Abs(a-b) <= share*b }
	for _, method := range []string{AutoRoundLight, AutoRoundBest} {
		for i, m := range lines(method) {
			share := 0.05         // attention and products that round otherwise lead to other codes here and there
			if i >= 1 && i <= 3 { // the first layer's q, k and v
				share = 1e-4
			}
			if !close(m.OutErr, want[i].OutErr, share) || !close(m.OutErrRTN, want[i].OutErrRTN, share) {
				t.Errorf("%s, %s: errors of outputs %g and %g, want %g and %g", method, m.Module, m.OutErr, m.OutErrRTN, want[i].OutErr, want[i].OutErrRTN)
			}
		}
	}
	shortTraining(t, 20)
	better := 0
	trained := lines(AutoRoundLight)[1:]
	for _, m := range trained {
		if m.OutErr < m.OutErrRTN {
			better++
		}
	}
	if better < len(trained)*9/10 {
		t.Errorf("training has smaller errors of outputs than plain rounding in %d of %d matrices", better, len(trained))
	}
}

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
