package method

import (
	"context"
	"fmt"
	"math"
	"slices"

	"nibble/kernels"
	"nibble/quant/calib"
	"nibble/quant/grid"
	"nibble/quant/pass"
)

// scaling is what the search for the scales of a place needs.
type scaling struct {
	p       *pass.Pass
	f       fold
	weights []kernels.Matrix // of the readers
	some    []kernels.Matrix // a part of their rows
	energy  []float64        // of those rows' outputs
	x       kernels.Matrix   // a part of the inputs, tokens x columns
	squares []float64        // sums over all inputs, by column
	input   []float64        // mean of |x|, by column
	weight  []float64        // mean of |w| over the largest of its group, by column
}

func newScaling(ctx context.Context, p *pass.Pass, f fold) (*scaling, error) {
	first := f.readers[0].Module
	n := first.Cols
	t := &scaling{p: p, f: f, squares: make([]float64, n), input: make([]float64, n), weight: make([]float64, n)}
	total := 0
	for _, text := range p.Sequence.Stack.Texts() {
		total += len(text)
	}
	stride := (total + awqTokens - 1) / awqTokens
	t.x = kernels.NewMatrix((total+stride-1)/stride, n)
	at := 0
	if err := p.Sequence.Input(ctx, first, func(x []float32, rows, cols int) error {
		p.Engine.For(cols, func(_, lo, hi int) {
			// Apart from the sums of other threads, which lie on the same cache lines.
			input, squares := slices.Clone(t.input[lo:hi]), slices.Clone(t.squares[lo:hi])
			for r := range rows {
				for c, v := range x[r*cols+lo : r*cols+hi] {
					v := math.Abs(float64(v))
					input[c] += v
					squares[c] += float64(v * v)
				}
			}
			copy(t.input[lo:], input)
			copy(t.squares[lo:], squares)
		})
		for r := range rows {
			if at%stride == 0 {
				copy(t.x.Row(at/stride), x[r*cols:(r+1)*cols])
			}
			at++
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for _, m := range f.readers {
		w, err := p.Weight(ctx, m.Module)
		if err != nil {
			return nil, err
		}
		t.weights = append(t.weights, w)
		n := min(awqRows, w.Rows)
		some := kernels.NewMatrix(n, w.Cols)
		for i := range n {
			copy(some.Row(i), w.Row(i*w.Rows/n))
			t.weigh(some.Row(i), m.Spec.Scheme().GroupWidth(w.Cols))
		}
		e, err := t.outputs(ctx, some)
		if err != nil {
			return nil, err
		}
		t.some, t.energy = append(t.some, some), append(t.energy, e)
	}
	t.share(t.input)
	t.share(t.weight)
	return t, nil
}

// weigh adds up how large weights are in their groups.
func (t *scaling) weigh(row []float32, width int) {
	for from := 0; from < len(row); from += width {
		group := row[from:min(from+width, len(row))]
		most := 0.0
		for _, v := range group {
			most = max(most, math.Abs(float64(v)))
		}
		for c, v := range group {
			if most > 0 {
				t.weight[from+c] += math.Abs(float64(v)) / most
			}
		}
	}
}

// share gives columns that must be scaled alike the same value, their sum, and
// keeps all above a small part of the mean.
func (t *scaling) share(v []float64) {
	if t.f.Repeat > 1 {
		for row := range t.f.source.Module.Rows {
			sum := 0.0
			for k := range t.f.Repeat {
				sum += v[t.f.Column(row, k)]
			}
			for k := range t.f.Repeat {
				v[t.f.Column(row, k)] = sum
			}
		}
	}
	mean := 0.0
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for i := range v {
		v[i] = max(v[i], 1e-4*mean)
	}
}

// search returns the scales that lose least of the outputs, nil for none.
func (t *scaling) search(ctx context.Context) ([]float32, error) {
	var best []float32
	least, err := t.Loss(ctx, nil)
	if err != nil {
		return nil, err
	}
	for i := 1; i <= awqSteps; i++ {
		for _, duo := range []bool{false, true} {
			s := t.scales(float64(i)/awqSteps, duo)
			if s == nil {
				continue
			}
			loss, err := t.Loss(ctx, s)
			if err != nil {
				return nil, err
			}
			if loss < least {
				best, least = s, loss
			}
		}
	}
	return best, nil
}

// scales are |x|^alpha, over |w|^(1-alpha) if duo, around one. They are nil if the
// inputs say nothing.
func (t *scaling) scales(alpha float64, duo bool) []float32 {
	s := make([]float64, len(t.input))
	lo, hi := math.Inf(1), 0.0
	for i := range s {
		s[i] = math.Pow(t.input[i], alpha)
		if duo {
			s[i] /= math.Pow(t.weight[i], 1-alpha)
		}
		lo, hi = min(lo, s[i]), max(hi, s[i])
	}
	middle := math.Sqrt(lo * hi)
	if !(middle > 0) || math.IsInf(middle, 0) {
		return nil
	}
	out := make([]float32, len(s))
	for i := range s {
		out[i] = float32(max(1.0/awqLimit, min(awqLimit, s[i]/middle)))
	}
	return out
}

// Loss is the share of the readers' outputs that is lost with scales, summed over
// them; nil is all ones.
func (t *scaling) Loss(ctx context.Context, s []float32) (float64, error) {
	sums := make([]float64, len(t.squares))
	for i, v := range t.squares {
		sums[i] = v
		if s != nil {
			sums[i] = v / (float64(s[i]) * float64(s[i]))
		}
	}
	h, lost := calib.Importance(sums), 0.0
	for i, m := range t.f.readers {
		w := t.some[i]
		scaled := w
		if s != nil {
			scaled = kernels.NewMatrix(w.Rows, w.Cols)
			for r := range w.Rows {
				scaleRow(scaled.Row(r), w.Row(r), s)
			}
		}
		q, _, err := grid.Quantize(ctx, t.p.Engine, w.Rows, w.Cols, m.Spec.Scheme(), grid.Search{Weights: h}, grid.RowsOf(scaled), nil)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", m.Module.Name, err)
		}
		off := kernels.NewMatrix(w.Rows, w.Cols)
		t.p.Engine.For(w.Rows, func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				row := off.Row(r)
				q.DequantRow(row, r)
				for c := range row {
					if s != nil {
						row[c] /= s[c]
					}
					row[c] -= w.Row(r)[c]
				}
			}
		})
		e, err := t.outputs(ctx, off)
		if err != nil {
			return 0, err
		}
		if t.energy[i] > 0 {
			lost += e / t.energy[i]
		}
	}
	return lost, nil
}

// outputs returns the energy of a matrix's outputs for the inputs.
func (t *scaling) outputs(ctx context.Context, w kernels.Matrix) (float64, error) {
	y := kernels.NewMatrix(w.Rows, t.x.Rows)
	if err := t.p.Engine.MulTransposed(ctx, y, w, t.x); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, v := range y.Data {
		sum += float64(float64(v) * float64(v))
	}
	return sum, nil
}
