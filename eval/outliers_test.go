package eval

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"nibble/model"
	"nibble/quant"
)

// outliers saves a copy of a checkpoint that computes the same with a few large
// activations, as larger models have them: some channels of every norm before a
// layer's matrices are multiplied by powers of two, which divide the columns that
// read them.
func outliers(t *testing.T, ck *model.Checkpoint) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "outliers")
	w, err := model.Create(dir, ck, nil)
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
	factor := func(c int) float32 { return float32(int(32) << (c % 2)) }
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
	return dir
}

// Where inputs are uneven, methods that know them lose much less than those that
// do not.
func TestOutliers(t *testing.T) {
	ctx := context.Background()
	ck, base := load(t, "demo")
	same, moved := load(t, outliers(t, ck))
	ref, err := NewReference(ctx, base, Options{Text: DemoText(), Chunks: 8}, nil)
	if err != nil {
		t.Fatal(err)
	}
	self, err := Run(ctx, moved, ref, Options{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !(self.KLDMean < 1e-6) {
		t.Fatalf("moving scales changes the model by %g", self.KLDMean)
	}
	for _, group := range []string{"g32", "channel"} {
		kld := map[string]float64{}
		for _, method := range []string{quant.RTN, quant.MSE, quant.IMatrix, quant.AWQ} {
			r, err := quant.ParseRecipe("w4 " + group + " sym " + method)
			if err != nil {
				t.Fatal(err)
			}
			q, _, err := quant.Apply(ctx, moved, same, r, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := Run(ctx, q, ref, Options{}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			kld[method] = res.KLDMean
			t.Logf("%-8s %-8s kld %.5f ± %.5f", group, method, res.KLDMean, res.KLDSE)
		}
		plain := math.Min(kld[quant.RTN], kld[quant.MSE])
		if kld[quant.IMatrix] > 0.8*plain || kld[quant.AWQ] > 0.5*plain {
			t.Errorf("%s: imatrix %g and awq %g are not clearly below %g", group, kld[quant.IMatrix], kld[quant.AWQ], plain)
		}
	}
}
