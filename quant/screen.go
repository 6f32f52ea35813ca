package quant

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/recipe"
	rt "nibble/runtime"
)

// Screen quantizes matrices one at a time, each alone in the float model, and
// says how much of what they compute is lost: cheap enough to try every spec for
// every matrix.
type Screen struct {
	p     *pass.Pass
	probe *rt.Stack // a few texts in the float model
	stage int       // layer of the matrices in work

	module  string
	kind    string         // of the inputs in x
	x       kernels.Matrix // inputs of the matrices in work, tokens x columns; none for an embedding
	weights kernels.Matrix
	usage   []float64 // how much each row counts; nil is alike
	energy  float64   // of the outputs for x
}

// probeTokens is how many tokens errors are measured with: the error of a matrix
// adds up over all its outputs, so that a few hundred tell options apart.
const probeTokens = 512

// NewScreen starts before the first layer of base, which must be loaded from ck.
func NewScreen(base *rt.Model, ck *model.Checkpoint, c *calib.Calibration) (*Screen, error) {
	p, err := pass.New(ck, nil, base, c, base.Engine, nil, nil)
	if err != nil {
		return nil, err
	}
	var texts [][]int32
	for left, i := probeTokens, 0; left > 0 && i < len(c.Tokens); i++ {
		n := min(left, len(c.Tokens[i]), probeTokens/4)
		texts, left = append(texts, c.Tokens[i][:n]), left-n
	}
	probe, err := base.NewStack(texts)
	return &Screen{p: p, probe: probe, stage: -2}, err
}

// Quantize stores a matrix by a spec, which may not be Keep. The error is the
// energy of what its outputs lose over the energy of the outputs; for an
// embedding, of the weights. Rows that are tokens count as often as these occur in
// the calibration. Matrices must come in the order of the model.
func (s *Screen) Quantize(ctx context.Context, m model.Module, spec recipe.Spec) (*kernels.QTensor, float64, error) {
	if err := method.CheckStores(spec); err != nil {
		return nil, 0, err
	}
	if err := s.enter(ctx, m); err != nil {
		return nil, 0, err
	}
	planned := method.Planned(spec, m, false)
	if planned.Method.Matrix == nil {
		return nil, 0, fmt.Errorf("%w: %s cannot be applied to a matrix alone", recipe.ErrRecipe, spec.Method)
	}
	done, err := planned.Method.Matrix(ctx, s.p, planned, func(int) {})
	if err != nil {
		return nil, 0, err
	}
	q := done.Q
	if err := s.p.Usable(planned, q); err != nil {
		return nil, 0, err
	}
	lost, err := s.output(ctx, func(dst []float32, r int) {
		q.DequantRow(dst, r)
		for c, w := range s.weights.Row(r) {
			dst[c] -= w
		}
	})
	if s.energy == 0 { // a matrix of zeros, or one that nothing enters, loses nothing
		return q, 0, err
	}
	return q, lost / s.energy, err
}

// enter makes a matrix the one in work.
func (s *Screen) enter(ctx context.Context, m model.Module) error {
	if s.module == m.Name {
		return nil
	}
	layer := pass.LayerOf(s.p.Checkpoint.Config, m)
	if layer != s.stage {
		s.stage, s.kind = layer, ""
		if err := s.p.Enter(ctx, pass.Stage{Layer: layer}); err != nil {
			return err
		}
		for layer >= 0 && s.probe.Layer() < layer {
			if err := s.probe.Advance(ctx, s.p.Sequence.Base); err != nil {
				return err
			}
		}
	}
	if kind := calib.InputOf(m); kind != s.kind {
		s.kind, s.x = kind, kernels.Matrix{}
		if kind != "" {
			err := s.p.Sequence.InputsOf(ctx, s.probe, s.p.Sequence.Base, m, func(x []float32, rows, cols int) error {
				s.x.Data = append(s.x.Data, x[:rows*cols]...)
				s.x.Rows, s.x.Cols, s.x.Stride = s.x.Rows+rows, cols, cols
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	var err error
	if s.weights, err = s.p.Weight(ctx, m); err != nil {
		return err
	}
	s.module, s.usage = m.Name, s.p.Calibration.Usage(m)
	s.energy, err = s.output(ctx, func(dst []float32, r int) { copy(dst, s.weights.Row(r)) })
	return err
}

// output returns the energy of the products of the inputs with a matrix given by
// rows, or of the matrix itself where there are no inputs, or no token of the calibration
// reaches it.
func (s *Screen) output(ctx context.Context, row func(dst []float32, r int)) (float64, error) {
	const band = 256
	rows, cols, eng := s.weights.Rows, s.weights.Cols, s.p.Engine
	w := kernels.NewMatrix(min(band, rows), cols)
	product := kernels.NewMatrix(max(1, s.x.Rows), w.Rows)
	sums := make([]float64, max(s.x.Rows, w.Rows))
	total := 0.0
	for r0 := 0; r0 < rows; r0 += band {
		n := min(band, rows-r0)
		eng.For(n, func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				row(w.Row(r), r0+r)
			}
		})
		part := w.Sub(0, n, 0, cols)
		if s.x.Rows > 0 {
			out := product.Sub(0, s.x.Rows, 0, n)
			if err := eng.MulTransposed(ctx, out, s.x, part); err != nil {
				return 0, err
			}
			part = out
		} else if err := ctx.Err(); err != nil {
			return 0, err
		}
		eng.For(part.Rows, func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				switch x := part.Row(r); {
				case s.usage == nil:
					sums[r] = energy(x)
				case s.x.Rows == 0:
					sums[r] = s.usage[r0+r] * energy(x)
				default:
					sums[r] = energyOf(x, s.usage[r0:])
				}
			}
		})
		for _, v := range sums[:part.Rows] { // in order: the total does not depend on threads
			total += v
		}
	}
	return total, nil
}

// energy is the sum of squares, and energyOf of squares that count as often as usage
// says.
func energy(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

func energyOf(x []float32, usage []float64) float64 {
	sum := 0.0
	for i, v := range x {
		sum += float64(v) * float64(v) * usage[i]
	}
	return sum
}
