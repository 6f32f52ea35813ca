package train

import (
	"context"

	"nibble/kernels"
	"nibble/runtime/graph"
)

// Model is a model that is to give the float model's outputs.
type Model struct {
	Tape   *graph.Tape
	Layers int
	Tokens [][]int32 // by sample
	Head   Head
}

func (t *Model) samples() int { return len(t.Tokens) }

// Loss is the KL divergence of the outputs, per token.
func (t *Model) Loss(ctx context.Context, samples []int, gradient bool) (float64, error) {
	total, tokens := 0.0, 0
	t.Head.prepare()
	err := together(func(s int) int { return len(t.Tokens[s]) }, samples, func(p part) error {
		x, err := t.forward(ctx, p)
		if err != nil {
			return err
		}
		sum, dx, err := t.Head.divergence(ctx, x, p, gradient)
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
func (t *Model) forward(ctx context.Context, p part) (kernels.Matrix, error) {
	var texts [][]int32
	for _, s := range p.samples {
		texts = append(texts, t.Tokens[s])
	}
	x, err := t.Tape.Tokens(ctx, texts)
	for i := 0; i < t.Layers && err == nil; i++ {
		x, err = t.Tape.Block(ctx, i, x)
	}
	return x, err
}

// backward takes the gradient of what the last layer gave through all of them.
func (t *Model) backward(ctx context.Context, dx kernels.Matrix) (err error) {
	for i := t.Layers - 1; i >= 0; i-- {
		if dx, err = t.Tape.Backward(ctx, i, dx); err != nil {
			return err
		}
	}
	return t.Tape.TokensBackward(ctx, dx)
}
