package plan

import (
	"context"
	"fmt"
	"slices"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/quant/cost"
	"nibble/quant/grid"
	"nibble/quant/train"
	"nibble/runtime/graph"
)

// sampleTokens is what layers are measured with, in texts of sampleLength.
const sampleTokens, sampleLength = 1024, 512

// measureValues measures passes through a small layer and a smaller one, less what
// products and attention take, which have been measured. A pass copies what enters
// products, and compares what comes out, besides.
func measureValues(ctx context.Context, eng *kernels.Engine, r *cost.Rates) error {
	var token, values [2]float64 // seconds of a token, and its values
	for i, m := range [2]*arch.Model{sampleModel(128, 4, 2, 32, 384), sampleModel(64, 8, 4, 8, 176)} {
		w := m.Widths()
		pass, weights, err := passSeconds(ctx, eng, m, false)
		if err != nil {
			return err
		}
		rest := pass - 2*weights*sampleTokens/r.Float - r.Attending(sampleTokens, sampleLength, w.Heads, w.HeadDim)
		token[i] = max(rest, 0.2*pass) / sampleTokens
		values[i] = cost.LayerValues(m.Hidden, w) + float64(8*m.Hidden+w.Heads*w.HeadDim+w.Inner)
	}
	r.Values, r.Tokens = apart(token, values)
	return nil
}

// measureTraining measures the gradient of attention, and iterations of training a
// small layer and a smaller one, which differ in what products and values take.
// Attention has been measured.
func measureTraining(ctx context.Context, eng *kernels.Engine, r *cost.Rates) error {
	models := [2]*arch.Model{sampleModel(256, 4, 2, 64, 768), sampleModel(64, 8, 4, 8, 176)}
	var forward, both float64 // seconds of attention
	for _, m := range models {
		w := m.Widths()
		g, err := gradientSeconds(ctx, eng, w)
		if err != nil {
			return err
		}
		f := r.Attending(sampleTokens, sampleLength, w.Heads, w.HeadDim)
		forward, both = forward+f, both+f+g
	}
	r.TrainAttend = 3 * forward / both
	var value, products [2]float64 // seconds of a value, and operations for each
	for i, m := range models {
		w := m.Widths()
		pass, weights, err := passSeconds(ctx, eng, m, true)
		if err != nil {
			return err
		}
		p, v := cost.TrainingWork(m.Hidden, w, weights, sampleTokens)
		rest := pass - 3*r.Attending(sampleTokens, sampleLength, w.Heads, w.HeadDim)/r.TrainAttend
		value[i], products[i] = max(rest, 0.2*pass)/v, p/v
	}
	r.Train, r.TrainValues = apart(value, products)
	return nil
}

// gradientSeconds returns how long the gradient of a layer's attention takes.
func gradientSeconds(ctx context.Context, eng *kernels.Engine, c arch.Widths) (float64, error) {
	of := func(heads int) kernels.Matrix { return kernels.NewMatrix(sampleLength, heads*c.HeadDim) }
	var texts []kernels.AttentionGradient
	for range sampleTokens / sampleLength {
		texts = append(texts, kernels.AttentionGradient{Dim: c.HeadDim, Q: of(c.Heads), K: of(c.KVHeads), V: of(c.KVHeads),
			Out: of(c.Heads), DOut: of(c.Heads), DQ: of(c.Heads), DK: of(c.KVHeads), DV: of(c.KVHeads)})
	}
	rate, err := perSecond(ctx, eng.Threads(), 1, func() error {
		eng.For(len(texts)*c.KVHeads, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				eng.AttentionGradient(texts[i/c.KVHeads], i%c.KVHeads)
			}
		})
		return nil
	})
	return 1 / rate, err
}

// passSeconds returns how long a pass through a model's first layer takes, or an
// iteration of training it, and how many weights it has.
func passSeconds(ctx context.Context, eng *kernels.Engine, m *arch.Model, train bool) (seconds, weights float64, err error) {
	t, rs, err := sampleLayer(ctx, eng, m, sampleLength)
	if err != nil {
		return 0, 0, err
	}
	for _, r := range rs {
		weights += float64(r.Weights.Rows * r.Weights.Cols)
	}
	var all []int
	for i := range sampleTokens / sampleLength {
		x := make([]float32, sampleLength*m.Hidden)
		for j := range x {
			x[j] = float32((i+j*7)%13) / 13
		}
		t.X, t.Y, all = append(t.X, x), append(t.Y, x), append(all, i)
	}
	rate, err := perSecond(ctx, eng.Threads(), 1, func() error {
		_, err := t.Loss(ctx, all, train)
		for _, r := range rs {
			if train {
				r.Step(eng, 1e-6, 0.1)
				r.Round(eng)
			}
		}
		return err
	})
	return 1 / rate, weights, err
}

// sampleModel is a model of one layer to measure.
func sampleModel(hidden, heads, keys, dim, inner int) *arch.Model {
	m, err := arch.Read(fmt.Appendf(nil, `{"model_type": "llama", "hidden_size": %d, "num_attention_heads": %d, "num_key_value_heads": %d, "head_dim": %d,
		"intermediate_size": %d, "num_hidden_layers": 1, "vocab_size": 1}`, hidden, heads, keys, dim, inner), nil)
	if err != nil {
		panic(err) // it is the same on all machines
	}
	return m
}

// sampleLayer is a model's first layer, to be trained on texts of at most some tokens.
func sampleLayer(ctx context.Context, eng *kernels.Engine, m *arch.Model, tokens int) (*train.Layer, []*train.Rounding, error) {
	scheme := kernels.Scheme{Bits: 4, Group: 32, Sym: true}
	var rs []*train.Rounding
	g, err := graph.CompileBlock(eng, &m.Blocks[0], graph.Parts{
		Weight: func(l *arch.Linear) (graph.Weight, error) {
			w := kernels.NewMatrix(l.Rows, l.Cols)
			for j := range w.Data {
				w.Data[j] = float32(j*31%17-8) / 256
			}
			q, _, err := grid.Quantize(ctx, eng, w.Rows, w.Cols, scheme, grid.Search{Plain: true}, grid.RowsOf(w), nil)
			if err != nil {
				return graph.Weight{}, err
			}
			r := train.NewRounding(eng, w, q)
			rs = append(rs, r)
			return graph.Weight{Value: r.Value, Gradient: r.Grad}, nil
		},
		Bias:   func(string) []float32 { return nil },
		Vector: func(string) []float32 { return slices.Repeat([]float32{1}, m.Hidden) },
	})
	if err != nil {
		return nil, nil, err
	}
	return &train.Layer{Engine: eng, Tape: g.NewTape(tokens), Hidden: m.Hidden}, rs, nil
}
