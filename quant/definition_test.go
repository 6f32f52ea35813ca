package quant

import (
	"context"
	"math"
	"testing"

	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/train"
	rt "nibble/runtime"
)

// quantized runs a recipe and returns the matrices and the trainings' last words.
func quantized(t *testing.T, ck *model.Checkpoint, base *rt.Model, cal *calib.Calibration, recipe string) (passtest.HeldSink, map[int]train.Trained) {
	t.Helper()
	last, out := map[int]train.Trained{}, passtest.NewHeldSink()
	j := job{eng: base.Engine, ck: ck, base: base, recipe: passtest.Parse(t, recipe), calibration: cal, l: func(e pass.Event) {
		if e, ok := e.(train.Trained); ok {
			last[e.Layer] = e
		}
	}}
	if err := j.prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.run(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	return out, last
}

// What training says is lost is what the trained codes lose, computed in float64:
// the squared distance of a layer's outputs, and the divergence of the model's.
func TestTrainedLossIsAsDefined(t *testing.T) {
	shortTraining(t, 3)
	tiny, ck, base, cal := passtest.Biased(t)
	made, last := quantized(t, ck, base, cal, "w4 g32 sym autoround; *.1.* keep; embed_tokens keep; lm_head keep")
	off := passtest.Dequantized(tiny, made.Matrices)
	sum, n := 0.0, 0.0
	for _, text := range cal.Tokens {
		got, want := off.Forward(text).States[1], tiny.Forward(text).States[1]
		for i := range want {
			for j := range want[i] {
				sum, n = sum+(got[i][j]-want[i][j])*(got[i][j]-want[i][j]), n+1
			}
		}
	}
	if e := last[0]; len(last) != 1 || math.Abs(e.Loss*n/sum-1) > 1e-3 || e.Iteration != 3 {
		t.Errorf("the layer's loss is said to be %g, it is %g", e.Loss, sum/n)
	}

	made, last = quantized(t, ck, base, cal, "w4 g32 sym autoround-best; *.1.mlp.* keep; embed_tokens keep")
	off = passtest.Dequantized(tiny, made.Matrices)
	sum, n = 0.0, 0.0
	for _, text := range cal.Tokens {
		got, want := off.Forward(text).Logits, tiny.Forward(text).Logits
		for i := range want {
			sum, n = sum+divergenceOf(want[i], got[i]), n+1
		}
	}
	if e := last[-1]; math.Abs(e.Loss*n/sum-1) > 1e-3 {
		t.Errorf("the model's loss is said to be %g, it is %g", e.Loss, sum/n)
	}
}

// divergenceOf is the KL divergence of the distributions of logits.
func divergenceOf(p, q []float64) float64 {
	sum := func(x []float64) (s float64) {
		for _, v := range x {
			s += math.Exp(v)
		}
		return s
	}
	zp, zq, kld := math.Log(sum(p)), math.Log(sum(q)), 0.0
	for i := range p {
		kld += math.Exp(p[i]-zp) * (p[i] - zp - q[i] + zq)
	}
	return kld
}
