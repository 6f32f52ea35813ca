package calib_test

import (
	"context"
	"reflect"
	"testing"

	"nibble/kernels"
	"nibble/model/modeltest"
	"nibble/quant/calib"
	"nibble/quant/method"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// The inputs that a matrix is quantized for are those of the layers before it,
// quantized, with their biases.
func TestInputsAreAsDefined(t *testing.T) {
	ctx := context.Background()
	tiny, ck, base, cal := passtest.Biased(t)
	seq, err := calib.NewSequence(ck, base, cal)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]*kernels.QTensor{}
	for _, mod := range ck.Config.Modules() {
		if mod.Layer < 0 {
			continue
		}
		if err := seq.Enter(ctx, mod.Layer); err != nil {
			t.Fatal(err)
		}
		off, text := passtest.Dequantized(tiny, made), 0
		if err := seq.Input(ctx, mod, func(x []float32, rows, cols int) error {
			for i, want := range off.Forward(cal.Tokens[text]).Inputs[mod.Name] {
				if d := modeltest.Distance(x[i*cols:(i+1)*cols], want); !(d < 1e-4) {
					t.Fatalf("%s, text %d, token %d: off by %.2g deviations", mod.Name, text, i, d)
				}
			}
			text++
			return nil
		}); err != nil || text != len(cal.Tokens) {
			t.Fatalf("%s: %d texts, %v", mod.Name, text, err)
		}
		if mod.Kind != "k" && mod.Kind != "down" {
			continue
		}
		// Quantized matrices are put as floats, as they stand for: activations of eight
		// bits would blur what is compared.
		q, _, err := method.One(ctx, base.Engine, ck, mod, recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.RTN})
		if err != nil {
			t.Fatal(err)
		}
		made[mod.Name] = q
		values := kernels.NewMatrix(mod.Rows, mod.Cols)
		for r := range mod.Rows {
			q.DequantRow(values.Row(r), r)
		}
		l, err := kernels.NewMatrixLinear(values)
		if err != nil {
			t.Fatal(err)
		}
		if err := seq.Put(mod, l); err != nil {
			t.Fatal(err)
		}
	}
}

// Outputs are those of the float model's layer, whatever is quantized before it.
func TestFloatOutputs(t *testing.T) {
	ctx := context.Background()
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	cal := passtest.Calibration(t, ck)
	seq, err := calib.NewSequence(ck, base, cal)
	if err != nil {
		t.Fatal(err)
	}
	want, err := base.NewStack(cal.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	for layer := range ck.Config.Layers() {
		if err := seq.Enter(ctx, layer); err != nil {
			t.Fatal(err)
		}
		for _, m := range ck.Config.Modules() {
			if m.Layer != layer {
				continue
			}
			q, _, err := method.One(ctx, base.Engine, ck, m, recipe.Spec{Bits: 4, Group: 0, Sym: true, Method: method.RTN})
			if err != nil {
				t.Fatal(err)
			}
			l, err := kernels.NewQuantLinear(q)
			if err != nil {
				t.Fatal(err)
			}
			if err := seq.Put(m, l); err != nil {
				t.Fatal(err)
			}
		}
		if err := want.Advance(ctx, base); err != nil {
			t.Fatal(err)
		}
		if layer == 1 {
			continue // asked for late, they are the same
		}
		got, err := seq.Outputs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want.States()) {
			t.Errorf("the outputs of layer %d are not the float model's", layer)
		}
		if layer > 0 && reflect.DeepEqual(got, seq.States()) {
			t.Errorf("the inputs of layer %d are its outputs", layer)
		}
	}
}
