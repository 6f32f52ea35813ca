package block

import (
	"context"
	"math/rand/v2"
	"testing"

	"nibble/kernels"
	"nibble/model/arch"
)

// What is looked up has the gradient of all that is made of it: scaled, normalized, by
// positions and as inputs of the layers.
func TestEmbeddingGradient(t *testing.T) {
	ctx := context.Background()
	eng := engine(t, 2)
	tokens := [][]int32{{3, 1, 3, 7}, {0}, {1, 9, 15, 3}}
	for name, config := range map[string]string{
		"plain":            described["llama"],
		"positions":        described["norms between steps"],
		"norm":             `{"model_type": "bloom", "hidden_size": 12, "n_head": 2, "n_layer": 1}`,
		"inputs of layers": described["shared keys, inputs of layers, values from keys, experts beside"],
	} {
		t.Run(name, func(t *testing.T) {
			m := describe(t, config)
			r := newRandom(m, 3)
			parts := r.parts(40)
			table, err := parts.Weight(&m.Embed.Linear)
			if err != nil {
				t.Fatal(err)
			}
			others := map[string]kernels.Matrix{m.Embed.Path: table.Value}
			if p := m.Embed.PerLayer; p != nil {
				w, _ := parts.Weight(&p.Table)
				others[p.Table.Path] = w.Value
			}
			parts.Row = func(dst []float32, l *arch.Linear, token int) { copy(dst, others[l.Path].Row(token)) }
			e, err := NewEmbedding(eng, &m.Embed, parts, table.Gradient)
			if err != nil {
				t.Fatal(err)
			}
			dx, dper := noise(r.source("dx"), 9, m.Hidden, 0, 1), kernels.Matrix{}
			loss := func() (sum float64) {
				x, err := e.Forward(ctx, tokens)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range x.Data {
					sum += float64(v) * float64(dx.Data[i])
				}
				for layer := range m.Blocks {
					own := e.PerLayer(layer)
					for i := range own.Rows {
						for j, v := range own.Row(i) {
							sum += float64(v) * float64(dper.Row(i)[layer*own.Cols+j])
						}
					}
				}
				return sum
			}
			if p := m.Embed.PerLayer; p != nil {
				dper = noise(r.source("dper"), 9, p.Width*len(m.Blocks), 0, 1)
			}
			loss()
			back := kernels.NewMatrix(dper.Rows, dper.Cols)
			copy(back.Data, dper.Data)
			if err := e.Backward(ctx, dx, back); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(4, 4))
			for range 40 {
				row, col := int([]int32{3, 1, 7, 0, 9}[rng.IntN(5)]), rng.IntN(m.Hidden)
				at := &table.Value.Row(row)[col]
				was, step := *at, float32(3e-3)
				*at = was + step
				up := loss()
				*at = was - step
				got := (up - loss()) / (2 * float64(step))
				*at = was
				if want := float64(table.Gradient.Row(row)[col]); got-want > 0.01*(1+max(got, -got)) || want-got > 0.01*(1+max(got, -got)) {
					t.Errorf("token %d, element %d: gradient %g, slope %g", row, col, want, got)
				}
			}
		})
	}
}
