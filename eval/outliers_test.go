package eval

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"testing"

	"nibble/kernels/slowtest"
	"nibble/model"
	"nibble/model/output"
	"nibble/quant"
)

// outliers saves in dir a copy of a checkpoint that computes the same with a few large
// activations, as larger models have them: some channels of every norm before a
// layer's matrices are multiplied by least, a power of two, or twice that, which divide the columns that
// read them.
func outliers(t *testing.T, ck *model.Checkpoint, dir string, least int) {
	t.Helper()
	at, err := output.Take(dir, output.Directory)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Release()
	w, err := model.Create(at, ck, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	put := func(name string, cols int, scale func(float32, int) float32) {
		tensor, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		v := tensor.Floats()
		for c := range cols {
			if c%23 == 5 {
				for i := c; i < len(v); i += cols {
					v[i] = scale(v[i], c)
				}
			}
		}
		if err := w.PutFloats(name, v); err != nil {
			t.Fatal(err)
		}
	}
	factor := func(c int) float32 { return float32(least << (c % 2)) }
	for _, m := range ck.Config.Modules() {
		norm := ""
		switch m.Kind {
		case "q":
			norm = "input_layernorm"
		case "gate":
			norm = "post_attention_layernorm"
		case "k", "v", "up":
		default:
			continue
		}
		if norm != "" {
			put(fmt.Sprintf("model.layers.%d.%s.weight", m.Layer, norm), m.Cols, func(v float32, c int) float32 { return v * factor(c) })
		}
		put(m.Name+".weight", m.Cols, func(v float32, c int) float32 { return v / factor(c) })
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

var saveOutliers = flag.String("save-outliers", "", "a directory to save the demo in, with activations 32 and 64 times as large in some channels")

// With -save-outliers it makes the model of quant/README.md's table that has outliers.
func TestSaveOutliers(t *testing.T) {
	if *saveOutliers == "" {
		t.Skip("makes a model for measurements: give -save-outliers DIR")
	}
	ck, _ := load(t, "demo")
	outliers(t, ck, *saveOutliers, 32)
}

// Where inputs are uneven, methods that know them lose less than those that do not.
func TestOutliers(t *testing.T) {
	slowtest.Skip(t)
	ctx := context.Background()
	ck, base := load(t, "demo")
	ref, err := NewReference(ctx, base, Options{Text: DemoText(), Chunks: 4}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		factor int
		group  string
		method string
		than   string
		most   float64 // of the other's divergence
	}{
		{4, "g32", quant.IMatrix, quant.MSE, 0.95},
		{32, "channel", quant.AWQ, quant.MSE, 0.3},
		{32, "g32", quant.AWQ, quant.RTN, 0.3},
	} {
		dir := filepath.Join(t.TempDir(), "outliers")
		outliers(t, ck, dir, c.factor)
		same, moved := load(t, dir)
		self, err := Run(ctx, moved, ref, Options{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !(self.KLDMean < 1e-6) {
			t.Fatalf("moving scales changes the model by %g", self.KLDMean)
		}
		cal, err := quant.NewCalibration(same, quant.CalibrationOptions{Samples: 8, Length: 128})
		if err != nil {
			t.Fatal(err)
		}
		divergence := func(method string) float64 {
			r, err := quant.ParseRecipe("w4 " + c.group + " sym " + method)
			if err != nil {
				t.Fatal(err)
			}
			q, _, err := quant.ApplyCalibrated(ctx, moved, same, r, cal, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := Run(ctx, q, ref, Options{}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d times, %s %s: kld %.5f ± %.5f", c.factor, c.group, method, res.KLDMean, res.KLDSE)
			return res.KLDMean
		}
		if got, other := divergence(c.method), divergence(c.than); got > c.most*other {
			t.Errorf("%d times, %s: %s diverges by %g, %s by %g", c.factor, c.group, c.method, got, c.than, other)
		}
	}
}
