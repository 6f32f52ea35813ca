package train

import (
	"context"

	"nibble/kernels"
	"nibble/runtime/graph"
)

// Layer is a layer that is to give the float layer's outputs.
type Layer struct {
	Engine   *kernels.Engine
	Tape     *graph.Tape
	Hidden   int
	X, Y     [][]float32 // inputs and outputs by sample
	PerLayer [][]float32 // further inputs of the layer; nil for none

	Keys, Values [][]float32 // of another layer; nil for none

	in [4]kernels.Matrix // of a part: x, perLayer, keys, values
	dy []float32
}

func (t *Layer) samples() int { return len(t.X) }

// Loss is the squared distance of the outputs, per value of a token.
func (t *Layer) Loss(ctx context.Context, samples []int, gradient bool) (float64, error) {
	h := t.Hidden
	total, tokens := 0.0, 0
	err := together(func(s int) int { return len(t.X[s]) / h }, samples, func(p part) error {
		out, err := t.Tape.Forward(ctx, graph.Texts{Lengths: p.lengths, X: p.gather(&t.in[0], t.X), PerLayer: p.gather(&t.in[1], t.PerLayer),
			Borrowed: graph.KeysValues{Keys: p.gather(&t.in[2], t.Keys), Values: p.gather(&t.in[3], t.Values)}})
		if err != nil {
			return err
		}
		if cap(t.dy) < len(out.Data) {
			t.dy = make([]float32, len(out.Data))
		}
		dy := kernels.Matrix{Rows: out.Rows, Cols: h, Stride: h, Data: t.dy[:len(out.Data)]}
		at := 0
		for i, s := range p.samples {
			total += t.distance(dy.Sub(at, at+p.lengths[i], 0, h), out.Sub(at, at+p.lengths[i], 0, h), t.Y[s])
			at += p.lengths[i]
		}
		tokens += at
		if gradient {
			_, err = t.Tape.Backward(ctx, 0, dy)
		}
		return err
	})
	return total / float64(tokens) / float64(h), err
}

// distance returns the squared distance of outputs from those wanted, and stores
// their difference.
func (t *Layer) distance(diff, out kernels.Matrix, want []float32) float64 {
	sums := make([]float64, out.Rows)
	t.Engine.For(out.Rows, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			d := diff.Row(r)
			for i, v := range out.Row(r) {
				d[i] = v - want[r*out.Cols+i]
				sums[r] += float64(d[i]) * float64(d[i])
			}
		}
	})
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total
}
