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

	// Root of the error's energy over that of the outputs, on a sample of the
	// calibration, and what it would be with plain rounding; 0 if not measured.
	OutErr    float64 `json:"out_err,omitempty"`
	OutErrRTN float64 `json:"out_err_rtn,omitempty"`
}

// Search says how the scale, and the zero point, of a group are found.
type Search struct {
	Plain   bool      // they span the weights; otherwise they are searched for the least squared error
	Weights []float32 // of the squared error of each column in that search; nil is alike
}

// slabWeights is how many weights are quantized between looks at the context
// and reports of progress.
const slabWeights = 1 << 21

// quantize stores the rows that row returns, which may use the buffer of cols
// weights that it is given. Rows are independent and shared out among the engine's
// threads; step, which may be nil, hears how many more are done.
func quantize(ctx context.Context, eng *kernels.Engine, rows, cols int, scheme kernels.Scheme, how Search, row func(buf []float32, r int) []float32, step func(rows int)) (*kernels.QTensor, Stats, error) {
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
	err, energy, worst float64 // energy is not finite exactly if a weight is not
}

// add takes over what rounding a row summed up.
func (e *rowError) add(s kernels.RoundSums) {
	e.err += s.Err[0] + s.Err[1] + (s.Err[2] + s.Err[3])
	e.energy += s.Energy[0] + s.Energy[1] + (s.Energy[2] + s.Energy[3])
	e.worst = max(e.worst, s.Worst[0], s.Worst[1], s.Worst[2], s.Worst[3])
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

// quantizeRow stores a row group by group and adds up what that does to it.
func quantizeRow(eng *kernels.Engine, q *kernels.QTensor, row []float32, r int, how Search, sums *kernels.RoundSums) {
	width, groups, bits := q.Scheme.GroupWidth(q.Cols), q.Groups(), q.Scheme.Bits
	codes := q.Codes[r*q.RowBytes():][:q.RowBytes()]
	on := kernels.Grid{Low: q.Scheme.MinCode(), High: q.Scheme.MaxCode()}
	for g := range groups {
		from, to := g*width, min((g+1)*width, q.Cols)
		x := row[from:to]
		var best grid
		switch {
		case how.Plain:
			lo, hi := eng.Range(x)
			best = gridOver(float64(lo), float64(hi), q.Scheme)
		case how.Weights == nil:
			best = searchGrid(x, nil, q.Scheme)
		default:
			best = searchGrid(x, how.Weights[from:to], q.Scheme)
		}
		q.Scales[r*groups+g] = best.scale
		if !q.Scheme.Sym {
			q.Zeros[r*groups+g] = uint8(best.zero)
		}
		on.Scale, on.Zero = kernels.F16ToF32(best.scale), best.zero
		eng.RoundGroup(codes[from*bits/8:], x, bits, on, sums)
	}
}
