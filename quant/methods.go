package quant

import (
	"context"
	"errors"
	"fmt"
	"math"

	"nibble/kernels"
)

// ErrNotFinite reports NaN or infinite weights.
var ErrNotFinite = errors.New("weights are not finite")

// Stats measures what quantization did to a matrix.
type Stats struct {
	MSE    float64 `json:"mse"`     // mean squared error of a weight
	RelErr float64 `json:"rel_err"` // root of the error's energy over the weights'
	MaxErr float64 `json:"max_err"` // largest error of a weight
}

// Quantize stores w, rows x cols row-major, by spec, which may not be Keep.
func Quantize(eng *kernels.Engine, w []float32, rows, cols int, spec Spec) (*kernels.QTensor, Stats, error) {
	if err := checkCalibrated(spec); err != nil {
		return nil, Stats{}, err
	}
	return quantize(context.Background(), eng, rows, cols, spec, nil, func(_ []float32, r int) []float32 { return w[r*cols : (r+1)*cols] }, nil)
}

// slabWeights is how many weights are quantized between looks at the context
// and reports of progress.
const slabWeights = 1 << 21

// quantize stores the rows that row returns, which may use the buffer of cols
// weights that it is given. h weighs the squared error of each column, nil alike.
// Rows are independent and shared out among the engine's threads; step, which may
// be nil, hears how many more are done.
func quantize(ctx context.Context, eng *kernels.Engine, rows, cols int, spec Spec, h []float32, row func(buf []float32, r int) []float32, step func(rows int)) (*kernels.QTensor, Stats, error) {
	if err := spec.Validate(); err != nil || spec.Kept() {
		return nil, Stats{}, fmt.Errorf("%s cannot be applied: %w", spec, errors.Join(err, ErrRecipe))
	}
	q, err := kernels.NewQTensor(rows, cols, spec.Scheme())
	if err != nil {
		return nil, Stats{}, err
	}
	errs := make([]rowError, rows)
	bufs := make([][2][]float32, eng.Threads())
	for i := range bufs {
		bufs[i] = [2][]float32{make([]float32, cols), make([]float32, cols)}
	}
	slab := max(1, slabWeights/cols)
	for at := 0; at < rows; at += slab {
		if err := ctx.Err(); err != nil {
			return nil, Stats{}, err
		}
		n := min(slab, rows-at)
		eng.For(n, func(worker, lo, hi int) {
			buf, back := bufs[worker][0], bufs[worker][1]
			for r := at + lo; r < at+hi; r++ {
				w := row(buf, r)
				if errs[r].bad = firstNotFinite(w); errs[r].bad >= 0 {
					continue
				}
				quantizeRow(q, w, h, r, spec)
				q.DequantRow(back, r)
				errs[r].measure(w, back)
			}
		})
		for r := at; r < at+n; r++ {
			if c := errs[r].bad; c >= 0 {
				return nil, Stats{}, fmt.Errorf("%w: row %d, column %d is %v", ErrNotFinite, r, c, row(bufs[0][0], r)[c])
			}
		}
		if step != nil {
			step(n)
		}
	}
	return q, total(errs, rows*cols), nil
}

// firstNotFinite returns the index of the first NaN or infinity, or -1.
func firstNotFinite(w []float32) int {
	for i, v := range w {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return i
		}
	}
	return -1
}

// rowError holds the sums of one row, added up in order so that the total does
// not depend on threads.
type rowError struct {
	err, energy, worst float64
	bad                int // first column that is not finite, or -1
}

func (e *rowError) measure(w, back []float32) {
	for i, v := range w {
		d := float64(v) - float64(back[i])
		e.err += float64(d * d)
		e.energy += float64(v) * float64(v)
		e.worst = max(e.worst, math.Abs(d))
	}
}

func total(rows []rowError, n int) Stats {
	var t rowError
	for _, e := range rows {
		t.err += e.err
		t.energy += e.energy
		t.worst = max(t.worst, e.worst)
	}
	s := Stats{MSE: t.err / float64(n), MaxErr: t.worst}
	if t.energy > 0 {
		s.RelErr = math.Sqrt(t.err / t.energy)
	}
	return s
}

func quantizeRow(q *kernels.QTensor, row, h []float32, r int, spec Spec) {
	width, groups := q.Scheme.GroupWidth(q.Cols), q.Groups()
	for g := range groups {
		x := row[g*width : min((g+1)*width, q.Cols)]
		var best grid
		switch {
		case spec.Method == RTN:
			best = plainGrid(x, spec)
		case h == nil:
			best = searchGrid(x, nil, spec)
		default:
			best = searchGrid(x, h[g*width:min((g+1)*width, q.Cols)], spec)
		}
		q.Scales[r*groups+g] = best.scale
		if !spec.Sym {
			q.Zeros[r*groups+g] = uint8(best.zero)
		}
		scale := kernels.F16ToF32(best.scale)
		for i, v := range x {
			q.SetCode(r, g*width+i, uint8(code(v, scale, best.zero, q.Scheme)))
		}
	}
}
