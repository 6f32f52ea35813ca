package quant

import (
	"context"

	"nibble/kernels"
	"nibble/quant/block"
)

// wholeTrainee is a model that is to give the float model's outputs.
type wholeTrainee struct {
	eng    *kernels.Engine
	embed  *block.Embedding
	layers []*block.Block
	lender []int     // of each layer, the one whose keys and values it uses; -1 for its own
	tokens [][]int32 // by sample
	head   wholeHead

	dperLayer kernels.Matrix // the gradient of the layers' further inputs, side by side
}

func (t *wholeTrainee) samples() int { return len(t.tokens) }

func (t *wholeTrainee) loss(ctx context.Context, samples []int, gradient bool) (float64, error) {
	total, tokens := 0.0, 0
	t.head.prepare()
	err := together(func(s int) int { return len(t.tokens[s]) }, samples, func(p part) error {
		x, err := t.forward(ctx, p)
		if err != nil {
			return err
		}
		sum, dx, err := t.head.divergence(ctx, x, p, gradient)
		if err != nil {
			return err
		}
		total, tokens = total+sum, tokens+x.Rows
		if gradient {
			err = t.backward(ctx, dx)
		}
		return err
	})
	return total / float64(tokens), err
}

// forward takes a part through all layers.
func (t *wholeTrainee) forward(ctx context.Context, p part) (kernels.Matrix, error) {
	var texts [][]int32
	for _, s := range p.samples {
		texts = append(texts, t.tokens[s])
	}
	x, err := t.embed.Forward(ctx, texts)
	for i := 0; i < len(t.layers) && err == nil; i++ {
		in := block.Texts{X: x, Lengths: p.lengths, PerLayer: t.embed.PerLayer(i)}
		if l := t.lender[i]; l >= 0 {
			in.Borrowed = t.layers[l].Lent()
		}
		x, err = t.layers[i].Forward(ctx, in)
	}
	return x, err
}

// backward takes the gradient of what the last layer gave through all of them.
func (t *wholeTrainee) backward(ctx context.Context, dx kernels.Matrix) (err error) {
	if w := t.embed.PerLayer(0).Cols; w > 0 && t.dperLayer.Rows != dx.Rows {
		t.dperLayer = kernels.NewMatrix(dx.Rows, w*len(t.layers))
	}
	for i := len(t.layers) - 1; i >= 0; i-- {
		if dx, err = t.layers[i].Backward(ctx, dx); err != nil {
			return err
		}
		own := t.layers[i].PerLayerGradient()
		for r := range own.Rows {
			copy(t.dperLayer.Row(r)[i*own.Cols:], own.Row(r))
		}
	}
	return t.embed.Backward(ctx, dx, t.dperLayer)
}
