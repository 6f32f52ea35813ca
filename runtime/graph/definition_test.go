package graph_test

import (
	"context"
	"fmt"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/modeltest"
	rt "nibble/runtime"
	"nibble/runtime/graph"
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
			rows := func(of func(p *modeltest.Pass) [][]float64) [][]float64 {
				return append(append([][]float64{}, of(want[0])...), of(want[1])...)
			}
			for i := range c.Layers {
				g, err := graph.CompileBlock(eng, &ck.Config.Blocks[i], floats(m))
				if err != nil {
					t.Fatal(err)
				}
				b := g.NewTape(len(text))
				y, err := b.Forward(ctx, graph.Texts{X: matrix(rows(func(p *modeltest.Pass) [][]float64 { return p.States[i] })), Lengths: []int{len(text), 7}})
				if err != nil {
					t.Fatal(err)
				}
				near(t, fmt.Sprint("layer ", i), y, rows(func(p *modeltest.Pass) [][]float64 { return p.States[i+1] }))
				for _, mod := range ck.Config.Modules() {
					if mod.Layer == i {
						near(t, "what enters "+mod.Name, b.Input(mod.Name), rows(func(p *modeltest.Pass) [][]float64 { return p.Inputs[mod.Name] }))
					}
				}
			}
		})
	}
}
