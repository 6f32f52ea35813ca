package runtime

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/modeltest"
	place "nibble/model/output"
)

// quantized writes a tiny model with random codes for all of its matrices, and
// puts what they stand for into tiny.
func quantized(t *testing.T, tiny *modeltest.Model, s kernels.Scheme) string {
	t.Helper()
	src, err := model.Open(tiny.Write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	schemes := make(map[string]kernels.Scheme)
	for _, mod := range src.Config.Modules() {
		schemes[mod.Name] = s
	}
	dir := filepath.Join(t.TempDir(), "quantized")
	at, err := place.Take(dir, place.Directory)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Release()
	w, err := model.Create(at, src, schemes)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for _, mod := range src.Config.Modules() {
		q, err := kernels.NewQTensor(mod.Rows, mod.Cols, s)
		if err != nil {
			t.Fatal(err)
		}
		values := modeltest.Tensor{Rows: mod.Rows, Cols: mod.Cols}
		for i := range q.Scales {
			q.Scales[i] = kernels.F32ToF16(float32(0.25+rng.Float64()/4) / float32(s.MaxCode()))
		}
		for i := range q.Zeros {
			q.Zeros[i] = uint8(s.MidCode() + rng.IntN(3) - 1)
		}
		row := make([]float32, mod.Cols)
		for r := range mod.Rows {
			for c := range mod.Cols {
				q.SetCode(r, c, uint8(s.MinCode()+rng.IntN(s.MaxCode()+1-s.MinCode())))
			}
			q.DequantRow(row, r)
			for _, v := range row {
				values.Data = append(values.Data, float64(v))
			}
		}
		tiny.Tensors[mod.Name+".weight"] = values
		if err := w.PutQ(mod.Name, q); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A quantized model is what its codes stand for: exactly as floats, and as near
// as activations of eight bits allow as it runs.
func TestQuantizedIsAsDefined(t *testing.T) {
	for _, s := range []kernels.Scheme{{Bits: 4, Group: 32, Sym: true}, {Bits: 4, Group: 64}, {Bits: 8, Sym: true}} {
		for _, tied := range []bool{false, true} {
			c := modeltest.Small()
			c.Tied, c.AttentionBias, c.MLPBias = tied, true, true
			tiny := modeltest.New(5, c)
			dir, text := quantized(t, tiny, s), c.Text(40)
			want := tiny.Forward(text).Logits
			ctx := context.Background()
			forward := func(m *Model, err error) []float32 {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				hidden, err := m.NewExactSession(0).Forward(ctx, text)
				if err != nil {
					t.Fatal(err)
				}
				return logits(m, hidden)
			}
			eng, err := kernels.New(kernels.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			ck, err := model.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			near(t, s.String()+" as floats", forward(LoadFloat(ctx, eng, ck)), want, exact)
			near(t, s.String()+" as it runs", forward(Load(ctx, eng, ck)), want, 0.1)
			if err := ck.Close(); err != nil {
				t.Error(err)
			}
			eng.Close()
		}
	}
}
