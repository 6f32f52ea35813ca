package grid

import (
	"context"
	"errors"
	"fmt"
	"math"

	"nibble/kernels"
)

// ErrNotFinite reports NaN or infinite weights.
var ErrNotFinite = errors.New("weights are not finite")

// Search says how the scale, and the zero point, of a group are found.
type Search struct {
	Plain   bool      // they span the weights; otherwise they are searched for the least squared error
	Weights []float32 // of the squared error of each column in that search; nil is alike
}

// slabWeights is how many weights are quantized between looks at the context
// and reports of progress.
const slabWeights = 1 << 21

// Quantize stores the rows that row returns, which may use the buffer of cols
// weights that it is given. Rows are independent and shared out among the engine's
// threads; step, which may be nil, hears how many more are done.
func Quantize(ctx context.Context, eng *kernels.Engine, rows, cols int, scheme kernels.Scheme, how Search, row func(buf []float32, r int) []float32, step func(rows int)) (*kernels.QTensor, Stats, error) {
	q, err := kernels.NewQTensor(rows, cols, scheme)
	if err != nil {
		return nil, Stats{}, err
	}
	errs := make([]rowError, rows)
	bufs := make([][]float32, eng.Threads())
	for i := range bufs {
		bufs[i] = make([]float32, cols)
	}
	slab := max(1, slabWeights/cols)
	for at := 0; at < rows; at += slab {
		if err := ctx.Err(); err != nil {
			return nil, Stats{}, err
		}
		n := min(slab, rows-at)
		eng.For(n, func(worker, lo, hi int) {
			var sums kernels.RoundSums
			for r := at + lo; r < at+hi; r++ {
				sums = kernels.RoundSums{}
				quantizeRow(eng, q, row(bufs[worker], r), r, how, &sums)
				errs[r].add(sums)
			}
		})
		for r := at; r < at+n; r++ {
			if e := errs[r].energy; math.IsNaN(e) || math.IsInf(e, 0) {
				w := row(bufs[0], r)
				c := firstNotFinite(w)
				return nil, Stats{}, fmt.Errorf("%w: row %d, column %d is %v", ErrNotFinite, r, c, w[c])
			}
		}
		if step != nil {
			step(n)
		}
	}
	return q, total(errs, rows*cols), nil
}

// quantizeRow stores a row group by group and adds up what that does to it.
func quantizeRow(eng *kernels.Engine, q *kernels.QTensor, row []float32, r int, how Search, sums *kernels.RoundSums) {
	width, groups, bits := q.Scheme.GroupWidth(q.Cols), q.Groups(), q.Scheme.Bits
	codes := q.Codes[r*q.RowBytes():][:q.RowBytes()]
	on := kernels.Grid{Low: q.Scheme.MinCode(), High: q.Scheme.MaxCode()}
	for g := range groups {
		from, to := g*width, min((g+1)*width, q.Cols)
		x := row[from:to]
		var best Grid
		switch {
		case how.Plain:
			lo, hi := eng.Range(x)
			best = Span(float64(lo), float64(hi), q.Scheme)
		case how.Weights == nil:
			best = Find(x, nil, q.Scheme)
		default:
			best = Find(x, how.Weights[from:to], q.Scheme)
		}
		q.Scales[r*groups+g] = best.Scale
		if !q.Scheme.Sym {
			q.Zeros[r*groups+g] = uint8(best.Zero)
		}
		if e := tables[q.Scheme.Table]; e != nil {
			e.round(q, r, from, x, kernels.F16ToF32(best.Scale), sums)
			continue
		}
		on.Scale, on.Zero = kernels.F16ToF32(best.Scale), best.Zero
		eng.RoundGroup(codes[from*bits/8:], x, bits, on, sums)
	}
}

// Clone copies what rounding changes of a matrix; the further codes of rows with 8 bits
// are shared.
func Clone(q *kernels.QTensor) *kernels.QTensor {
	c := *q
	c.Codes = append([]byte{}, q.Codes...)
	c.Scales = append([]uint16{}, q.Scales...)
	c.Zeros = append([]uint8(nil), q.Zeros...)
	return &c
}
