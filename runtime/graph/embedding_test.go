package graph

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
		"plain":     described["llama"],
		"positions": described["norms between steps"],
		"narrow table": `{"model_type": "opt", "hidden_size": 12, "num_attention_heads": 2, "ffn_dim": 20, "num_hidden_layers": 1, 
			"max_position_embeddings": 64, "word_embed_proj_dim": 14}`,
		"norm":             `{"model_type": "bloom", "hidden_size": 12, "n_head": 2, "n_layer": 1}`,
		"inputs of layers": described["shared keys, inputs of layers, values from keys, experts beside"],
	} {
		t.Run(name, func(t *testing.T) {
			m := describe(t, config)
			r := newRandom(m, 3)
			parts, weights := r.parts(), map[string]Weight{}
			weight := parts.Weight
			parts.Weight = func(l *arch.Linear) (Weight, error) { // a tied head has that of the embedding
				if _, ok := weights[l.Path]; !ok {
					weights[l.Path], _ = weight(l)
				}
				return weights[l.Path], nil
			}
			g, err := Compile(eng, m, parts)
			if err != nil {
				t.Fatal(err)
			}
			tape, table := g.NewTape(4), weights[m.Embed.Path]
			dx, dper := noise(r.source("dx"), 9, m.Hidden, 0, 1), kernels.Matrix{}
			loss := func() (sum float64) {
				x, err := tape.Tokens(ctx, tokens)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range x.Data {
					sum += float64(v) * float64(dx.Data[i])
				}
				for i := range dper.Rows {
					for j, v := range tape.p.perLayer.Row(i) {
						sum += float64(v) * float64(dper.Row(i)[j])
					}
				}
				return sum
			}
			if p := m.Embed.PerLayer; p != nil {
				dper = noise(r.source("dper"), 9, p.Width*len(m.Blocks), 0, 1)
			}
			loss()
			if dper.Data != nil {
				copy(tape.p.dperLayer.Data, dper.Data)
			}
			if err := tape.TokensBackward(ctx, dx); err != nil {
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
