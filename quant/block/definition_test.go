package block

import (
	"context"
	"fmt"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/modeltest"
	rt "nibble/runtime"
)

// matrix is a copy of rows.
func matrix(rows [][]float64) kernels.Matrix {
	m := kernels.NewMatrix(len(rows), len(rows[0]))
	for i, row := range rows {
		for j, v := range row {
			m.Row(i)[j] = float32(v)
		}
	}
	return m
}

// floats is a copy of a tensor.
func floats(t modeltest.Tensor) kernels.Matrix {
	m := kernels.NewMatrix(t.Rows, max(t.Cols, 1))
	for i, v := range t.Data {
		m.Data[i] = float32(v)
	}
	return m
}

// The layer that is trained is the layer as it is defined, and so is what enters
// its matrices, whatever the model has.
func TestLayerIsAsDefined(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(c *modeltest.Config){
		"grouped queries, heads apart from the stream": func(*modeltest.Config) {},
		"biases of the attention":                      func(c *modeltest.Config) { c.AttentionBias = true },
		"biases of the feed-forward layer":             func(c *modeltest.Config) { c.MLPBias = true },
		"another epsilon":                              func(c *modeltest.Config) { c.Eps = 0.05 },
		"another theta":                                func(c *modeltest.Config) { c.Theta = 37 },
		"linear scaling":                               func(c *modeltest.Config) { c.Scaling = modeltest.Scaling{Type: "linear", Factor: 3} },
		"llama3 scaling": func(c *modeltest.Config) {
			c.Scaling = modeltest.Scaling{Type: "llama3", Factor: 8, Low: 1, High: 4, Original: 24}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := modeltest.Small()
			change(&c)
			tiny := modeltest.New(11, c)
			ck, err := model.Open(tiny.Write(t, nil))
			if err != nil {
				t.Fatal(err)
			}
			defer ck.Close()
			eng := engine(t, 2)
			m, err := rt.Load(ctx, eng, ck)
			if err != nil {
				t.Fatal(err)
			}
			text := c.Text(33)
			want := []*modeltest.Pass{tiny.Forward(text), tiny.Forward(text[2:9])}
			run := NewRun(eng)
			for i := range c.Layers {
				prefix := fmt.Sprintf("model.layers.%d.", i)
				shape, err := ShapeOf(ck.Config.Model, i)
				if err != nil {
					t.Fatal(err)
				}
				cos, sin := m.Rotations(shape.Rope, len(text))
				l := Of(shape, cos, sin)
				l.AttnNorm, l.MLPNorm = floats(tiny.Tensors[prefix+"input_layernorm.weight"]).Data, floats(tiny.Tensors[prefix+"post_attention_layernorm.weight"]).Data
				var modules [Matrices]string
				for _, mod := range ck.Config.Modules() {
					for j, kind := range Kinds {
						if mod.Layer == i && mod.Kind == kind {
							modules[j], l.W[j] = mod.Name, floats(tiny.Tensors[mod.Name+".weight"])
							if bias, ok := tiny.Tensors[mod.Name+".bias"]; ok {
								l.Bias[j] = floats(bias).Data
							}
						}
					}
				}
				rows := func(of func(p *modeltest.Pass) [][]float64) [][]float64 {
					return append(append([][]float64{}, of(want[0])...), of(want[1])...)
				}
				y, err := run.Forward(ctx, &l, matrix(rows(func(p *modeltest.Pass) [][]float64 { return p.States[i] })), []int{len(text), 7})
				if err != nil {
					t.Fatal(err)
				}
				near := func(what string, got kernels.Matrix, want [][]float64) {
					t.Helper()
					if got.Rows != len(want) {
						t.Fatalf("%s: %d rows, want %d", what, got.Rows, len(want))
					}
					for r, row := range want {
						if d := modeltest.Distance(got.Row(r), row); !(d < 1e-4) {
							t.Fatalf("%s: row %d is off by %.2g deviations", what, r, d)
						}
					}
				}
				near(prefix, y, rows(func(p *modeltest.Pass) [][]float64 { return p.States[i+1] }))
				for j, module := range modules {
					near("what enters "+module, run.Input(j), rows(func(p *modeltest.Pass) [][]float64 { return p.Inputs[module] }))
				}
			}
		})
	}
}
