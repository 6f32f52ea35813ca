package quant

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"nibble/kernels"
	"nibble/kernels/slowtest"
	"nibble/quant/calib"
	"nibble/quant/journal"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/train"
)

// shortTraining makes training a matter of a moment.
func shortTraining(t *testing.T, iterations int) {
	light, each, whole := method.AutoRoundLightTraining, method.AutoRoundTraining, method.AutoRoundBestTraining
	t.Cleanup(func() {
		method.AutoRoundLightTraining, method.AutoRoundTraining, method.AutoRoundBestTraining = light, each, whole
	})
	trainFor(iterations)
}

func trainFor(iterations int) {
	for _, how := range []*train.Training{&method.AutoRoundLightTraining, &method.AutoRoundTraining, &method.AutoRoundBestTraining} {
		how.Iterations = iterations
	}
}

// What is reported as lost is lost no more: training lessens it, layer by layer
// and for the model as a whole.
func TestTrainingLessensLoss(t *testing.T) {
	shortTraining(t, 20)
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	cal := passtest.Calibration(t, ck)
	r := passtest.Parse(t, "w4 channel sym autoround-best; *.k_proj keep; *.0.mlp.down_proj w8 g32 asym autoround-best")
	last := map[int]train.Trained{}
	_, report, err := ApplyCalibrated(context.Background(), base, ck, r, cal, func(e pass.Event) {
		if e, ok := e.(train.Trained); ok {
			last[e.Layer] = e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(last) != ck.Config.Layers()+1 {
		t.Errorf("%d trainings were told of", len(last))
	}
	for layer, e := range last {
		if e.Iteration != e.Iterations || !(e.Loss < 0.97*e.Before) {
			t.Errorf("layer %d: %+v", layer, e)
		}
	}
	for _, m := range report.Modules {
		if m.Spec != "keep" && m.MSE == 0 {
			t.Errorf("%s has no error", m.Module)
		}
	}
}

// Where training only spoils what GPTQ gives, as on a first layer, that is kept.
func TestSpoiltTrainingKeepsItsStart(t *testing.T) {
	was := method.AutoRoundLightTraining
	t.Cleanup(func() { method.AutoRoundLightTraining = was })
	method.AutoRoundLightTraining = train.Training{Iterations: 3, Batch: 2, Rate: 3, Share: 0.1}
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	cal := passtest.Calibration(t, ck)
	quantized := func(method string) map[string]*kernels.QTensor {
		out := passtest.NewHeldSink()
		j := job{eng: base.Engine, ck: ck, base: base, recipe: passtest.Parse(t, "w4 g32 sym "+method), calibration: cal, l: func(e pass.Event) {
			if e, ok := e.(train.Trained); ok && e.Loss != e.Before {
				t.Errorf("layer %d: a loss of %g after %g", e.Layer, e.Loss, e.Before)
			}
		}}
		if err := j.prepare(); err != nil {
			t.Fatal(err)
		}
		if _, err := j.run(context.Background(), out); err != nil {
			t.Fatal(err)
		}
		return out.Matrices
	}
	if !reflect.DeepEqual(quantized(method.AutoRoundLight), quantized(method.GPTQ)) {
		t.Error("the codes are not GPTQ's")
	}
}

// Training stops when it is told to.
func TestTrainingIsCancelled(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	ctx, cancel := context.WithCancel(context.Background())
	_, _, err := ApplyCalibrated(ctx, base, ck, passtest.Parse(t, "w4 g32 sym autoround"), passtest.Calibration(t, ck), func(e pass.Event) {
		if _, ok := e.(train.Trained); ok {
			if ctx.Err() != nil {
				t.Error("training went on")
			}
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A training of the whole model that is cut goes on to the same bytes.
func TestWholeTrainingResumes(t *testing.T) {
	shortTraining(t, 12)
	const recipe = "w4 channel sym autoround-best; *.1.* keep"
	dir := t.TempDir()
	if err := quantizeDemo(filepath.Join(dir, "want"), recipe, 0); err != nil {
		t.Fatal(err)
	}
	ck := quanttest.Open(t, "demo")
	cal, err := calib.New(ck, calib.Options{Samples: 3, Length: 32})
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range slowtest.Or([]int{-1}, []int{2, -1}) { // while all layers are trained, and one
		out := filepath.Join(dir, fmt.Sprint("out", layer))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_, err := Run(ctx, Options{Engine: quanttest.Engine(t, 1), Source: ck, Recipe: passtest.Parse(t, recipe), Out: out, Calibration: cal}, func(e pass.Event) {
			if e, ok := e.(train.Trained); ok && e.Layer == layer && e.Iteration == 6 {
				cancel()
			}
		})
		if u := (*journal.Unfinished)(nil); !errors.As(err, &u) {
			t.Fatalf("a cancelled run: %v", err)
		}
		trained, first := map[int]bool{}, 0
		_, err = Run(context.Background(), Options{Engine: quanttest.Engine(t, 2), Source: ck, Recipe: passtest.Parse(t, recipe), Out: out, Calibration: cal}, func(e pass.Event) {
			if e, ok := e.(train.Trained); ok {
				trained[e.Layer] = true
				if e.Layer == layer && first == 0 {
					first = e.Iteration
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if trained[0] || !trained[-1] || layer < 0 && first != 7 {
			t.Errorf("cut in layer %d, trained again: %v, from iteration %d on", layer, trained, first)
		}
		same(t, out, filepath.Join(dir, "want"))
	}
}
