package quant

import (
	"context"

	"nibble/kernels"
	"nibble/runtime/graph"
)

// wholeTrainee is a model that is to give the float model's outputs.
type wholeTrainee struct {
	tape   *graph.Tape
	layers int
	tokens [][]int32 // by sample
	head   wholeHead
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
	x, err := t.tape.Tokens(ctx, texts)
	for i := 0; i < t.layers && err == nil; i++ {
		x, err = t.tape.Block(ctx, i, x)
	}
	return x, err
}

// backward takes the gradient of what the last layer gave through all of them.
func (t *wholeTrainee) backward(ctx context.Context, dx kernels.Matrix) (err error) {
	for i := t.layers - 1; i >= 0; i-- {
		if dx, err = t.tape.Backward(ctx, i, dx); err != nil {
			return err
		}
	}
	return t.tape.TokensBackward(ctx, dx)
}
