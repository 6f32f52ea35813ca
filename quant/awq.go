package quant

import (
	"context"
	"fmt"
	"math"
	"slices"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
)

// Bounds of the search for scales: the reference scans 20 exponents; here each of
// awqSteps is tried with and without regard to the weights. Errors are measured
// with some of the outputs and inputs, which suffice to tell scales apart.
const (
	awqSteps  = 10
	awqRows   = 128
	awqTokens = 1024
	awqLimit  = 32 // largest ratio of a scale to their middle: scales of groups are stored as F16
)

// AWQ is imatrix after scaling columns that see large inputs up.
const AWQ = "awq"

func init() {
	register(&Method{
		Name: AWQ, Strength: 40, Stronger: GPTQ, StandIn: GPTQ, Error: 0.9,
		Does:      "first scales columns with large inputs up, where that computes the same and loses least",
		Needs:     Needs{Inputs: 2},
		Fits:      fitsInputs,
		Notes:     awqNotes,
		Cost:      Cost{Seconds: awqSeconds, Bytes: awqBytes},
		Transform: awqTransform,
		Matrix:    imatrixMatrix,
	})
}

func awqSeconds(m MatrixCost) float64 {
	tries, part := 1+2*float64(awqSteps), min(awqRows, float64(m.Rows))*float64(m.Cols)
	return tries * (part/m.Rate + 2*part*min(m.Tokens(), awqTokens)/m.Rates.Float)
}

// awqBytes is the columns' inputs and their outputs, what readers are and become.
func awqBytes(m MatrixCost) int64 {
	n := int64(m.Cols)
	return m.Session() + 4*(awqTokens*n+awqTokens*awqRows+4*awqRows*n) + 4*m.Layer + m.Floats*int64(m.Rows)*n
}

// fold is a place where AWQ scales columns, and the matrices of the plan there.
type fold struct {
	arch.Fold
	readers []PlannedModule
	source  *PlannedModule // nil where a norm makes the inputs
}

// folds lists the places of a stage where AWQ may scale, and why it may not
// elsewhere, by matrix. All that read a norm must be AWQ's, because the others'
// weights would have to change as well; a matrix that makes inputs must be
// quantized, by whatever method, as its rows change.
func folds(c model.Config, s Stage) (fs []fold, notes map[string]string) {
	notes = map[string]string{}
	by := map[string]*PlannedModule{}
	for i := range s.Modules {
		by[s.Modules[i].Module.Name] = &s.Modules[i]
	}
	for _, place := range c.Folds(s.Layer) {
		f := fold{Fold: place}
		other, why := "", ""
		for _, l := range place.Readers {
			if m := by[l.Path]; m != nil && m.Spec.Method == AWQ {
				f.readers = append(f.readers, *m)
			} else {
				other = inLayer(l)
			}
		}
		switch {
		case len(f.readers) == 0:
			continue
		case place.Source == nil && other != "":
			why = fmt.Sprintf("no scales: its layer's %s, which is not awq's, reads the same norm", other)
		case place.Source == nil:
		case by[place.Source.Path] == nil || by[place.Source.Path].Spec.Kept():
			why = fmt.Sprintf("no scales: its layer's %s, which makes the inputs, is kept", inLayer(place.Source))
		case place.Source.Bias != nil:
			why = fmt.Sprintf("no scales: its layer's %s, which makes the inputs, has a bias", inLayer(place.Source))
		default:
			f.source = by[place.Source.Path]
		}
		if why == "" {
			fs = append(fs, f)
		}
		for _, m := range f.readers {
			if why != "" {
				notes[m.Module.Name] = why
			}
		}
	}
	return fs, notes
}

// awqNotes tells of the matrices that AWQ cannot scale.
func awqNotes(c model.Config, s Stage) map[string]string {
	_, notes := folds(c, s)
	return notes
}

// awqTransform scales the columns that see large inputs up, and the inputs down,
// so that rounding hurts them less (AWQ: Lin et al. 2023, arXiv 2306.00978).
func awqTransform(ctx context.Context, p *pass, s Stage, _ []PlannedModule) error {
	fs, _ := folds(p.ck.Config, s)
	for _, f := range fs {
		if err := p.fold(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// fold finds the scales of a place and applies them.
func (p *pass) fold(ctx context.Context, f fold) error {
	t, err := newScaling(ctx, p, f)
	if err != nil {
		return err
	}
	s, err := t.search(ctx)
	if err != nil || s == nil {
		return err
	}
	if f.source == nil {
		err = p.scaleNorm(f.Norm, s)
	} else {
		err = p.scaleRows(ctx, *f.source, f.shared(s))
	}
	if err != nil {
		return err
	}
	for i, m := range f.readers {
		w := t.weights[i]
		scaled := kernels.NewMatrix(w.Rows, w.Cols)
		p.eng.For(w.Rows, func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				scaleRow(scaled.Row(r), w.Row(r), s)
			}
		})
		if err := p.replaceWeight(m, scaled); err != nil {
			return err
		}
	}
	return nil
}

// scaleNorm divides what a norm gives. What it holds is rounded to its type: the
// scales become what it really was divided by.
func (p *pass) scaleNorm(n *arch.Norm, s []float32) error {
	stored, err := p.ck.Tensor(n.Weight.Tensor)
	if err != nil {
		return err
	}
	old := stored.Floats()
	v := make([]float32, len(old))
	for i := range v {
		v[i] = (old[i]+n.Offset)/s[i] - n.Offset
	}
	kernels.RoundFloats(v, stored.DType)
	for i := range v {
		if s[i] = (old[i] + n.Offset) / (v[i] + n.Offset); !(s[i] > 1.0/(2*awqLimit) && s[i] < 2*awqLimit) {
			s[i], v[i] = 1, old[i] // a zero, or too small for the type
		}
	}
	if err := p.replaceVector(n.Weight.Tensor, v); err != nil || n.Bias == nil {
		return err
	}
	if stored, err = p.ck.Tensor(n.Bias.Tensor); err != nil {
		return err
	}
	b := stored.Floats()
	for i := range b {
		b[i] /= s[i]
	}
	kernels.RoundFloats(b, stored.DType)
	return p.replaceVector(n.Bias.Tensor, b)
}

// shared takes the scales of the source's rows from those of the columns that
// read them, which are alike for all heads that share a row.
func (f fold) shared(s []float32) []float32 {
	if f.Repeat == 1 {
		return s
	}
	rows := make([]float32, f.source.Module.Rows)
	for i := range rows {
		rows[i] = s[f.Column(i, 0)]
	}
	return rows
}

// scaleRows divides the rows of a matrix.
func (p *pass) scaleRows(ctx context.Context, m PlannedModule, s []float32) error {
	w, err := p.weight(ctx, m.Module)
	if err != nil {
		return err
	}
	scaled := kernels.NewMatrix(w.Rows, w.Cols)
	p.eng.For(w.Rows, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			for c, v := range w.Row(r) {
				scaled.Row(r)[c] = v / s[r]
			}
		}
	})
	return p.replaceWeight(m, scaled)
}

func scaleRow(dst, w, s []float32) {
	for c, v := range w {
		dst[c] = v * s[c]
	}
}

// scaling is what the search for the scales of a place needs.
type scaling struct {
	p       *pass
	f       fold
	weights []kernels.Matrix // of the readers
	some    []kernels.Matrix // a part of their rows
	energy  []float64        // of those rows' outputs
	x       kernels.Matrix   // a part of the inputs, tokens x columns
	squares []float64        // sums over all inputs, by column
	input   []float64        // mean of |x|, by column
	weight  []float64        // mean of |w| over the largest of its group, by column
}

func newScaling(ctx context.Context, p *pass, f fold) (*scaling, error) {
	first := f.readers[0].Module
	n := first.Cols
	t := &scaling{p: p, f: f, squares: make([]float64, n), input: make([]float64, n), weight: make([]float64, n)}
	total := 0
	for _, text := range p.seq.stack.Texts() {
		total += len(text)
	}
	stride := (total + awqTokens - 1) / awqTokens
	t.x = kernels.NewMatrix((total+stride-1)/stride, n)
	at := 0
	if err := p.seq.input(ctx, first, func(x []float32, rows, cols int) error {
		p.eng.For(cols, func(_, lo, hi int) {
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
		w, err := p.weight(ctx, m.Module)
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
	least, err := t.loss(ctx, nil)
	if err != nil {
		return nil, err
	}
	for i := 1; i <= awqSteps; i++ {
		for _, duo := range []bool{false, true} {
			s := t.scales(float64(i)/awqSteps, duo)
			if s == nil {
				continue
			}
			loss, err := t.loss(ctx, s)
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

// loss is the share of the readers' outputs that is lost with scales, summed over
// them; nil is all ones.
func (t *scaling) loss(ctx context.Context, s []float32) (float64, error) {
	sums := make([]float64, len(t.squares))
	for i, v := range t.squares {
		sums[i] = v
		if s != nil {
			sums[i] = v / (float64(s[i]) * float64(s[i]))
		}
	}
	h, lost := importance(sums), 0.0
	for i, m := range t.f.readers {
		w := t.some[i]
		scaled := w
		if s != nil {
			scaled = kernels.NewMatrix(w.Rows, w.Cols)
			for r := range w.Rows {
				scaleRow(scaled.Row(r), w.Row(r), s)
			}
		}
		q, _, err := quantize(ctx, t.p.eng, w.Rows, w.Cols, m.Spec.Scheme(), Search{Weights: h}, rowsOf(scaled), nil)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", m.Module.Name, err)
		}
		off := kernels.NewMatrix(w.Rows, w.Cols)
		t.p.eng.For(w.Rows, func(_, lo, hi int) {
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
	if err := t.p.eng.MulTransposed(ctx, y, w, t.x); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, v := range y.Data {
		sum += float64(float64(v) * float64(v))
	}
	return sum, nil
}
