package method

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/quant/cost"
	"nibble/quant/pass"
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
	register(&pass.Method{
		Name: AWQ, Strength: 40, Stronger: GPTQ, StandIn: GPTQ, Error: 0.9,
		Does:      "first scales columns with large inputs up, where that computes the same and loses least",
		Needs:     pass.Needs{Inputs: 2},
		Fits:      fitsInputs,
		Notes:     awqNotes,
		Cost:      pass.Cost{Seconds: awqSeconds, Bytes: awqBytes},
		Transform: awqTransform,
		Matrix:    imatrixMatrix,
	})
}

func awqSeconds(m cost.Matrix) float64 {
	tries, part := 1+2*float64(awqSteps), min(awqRows, float64(m.Rows))*float64(m.Cols)
	return tries * (part/m.Rate + 2*part*min(m.Tokens(), awqTokens)/m.Rates.Float)
}

// awqBytes is the columns' inputs and their outputs, what readers are and become.
func awqBytes(m cost.Matrix) int64 {
	n := int64(m.Cols)
	return m.Session() + 4*(awqTokens*n+awqTokens*awqRows+4*awqRows*n) + 4*m.Layer + m.Floats*int64(m.Rows)*n
}

// fold is a place where AWQ scales columns, and the matrices of the plan there.
type fold struct {
	arch.Fold
	readers []pass.PlannedModule
	source  *pass.PlannedModule // nil where a norm makes the inputs
}

// folds lists the places of a stage where AWQ may scale, and why it may not
// elsewhere, by matrix. All that read a norm must be AWQ's, because the others'
// weights would have to change as well; a matrix that makes inputs must be
// quantized, by whatever method, as its rows change.
func folds(c model.Config, s pass.Stage) (fs []fold, notes map[string]string) {
	notes = map[string]string{}
	by := map[string]*pass.PlannedModule{}
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
				other = pass.InLayer(l)
			}
		}
		switch {
		case len(f.readers) == 0:
			continue
		case place.Source == nil && other != "":
			why = fmt.Sprintf("no scales: its layer's %s, which is not awq's, reads the same norm", other)
		case place.Source == nil:
		case by[place.Source.Path] == nil || by[place.Source.Path].Spec.Kept():
			why = fmt.Sprintf("no scales: its layer's %s, which makes the inputs, is kept", pass.InLayer(place.Source))
		case place.Source.Bias != nil:
			why = fmt.Sprintf("no scales: its layer's %s, which makes the inputs, has a bias", pass.InLayer(place.Source))
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
func awqNotes(c model.Config, s pass.Stage) map[string]string {
	_, notes := folds(c, s)
	return notes
}

// awqTransform scales the columns that see large inputs up, and the inputs down,
// so that rounding hurts them less (AWQ: Lin et al. 2023, arXiv 2306.00978).
func awqTransform(ctx context.Context, p *pass.Pass, s pass.Stage, _ []pass.PlannedModule) error {
	fs, _ := folds(p.Checkpoint.Config, s)
	for _, f := range fs {
		if err := applyFold(ctx, p, f); err != nil {
			return err
		}
	}
	return nil
}

// applyFold finds the scales of a place and applies them.
func applyFold(ctx context.Context, p *pass.Pass, f fold) error {
	t, err := newScaling(ctx, p, f)
	if err != nil {
		return err
	}
	s, err := t.search(ctx)
	if err != nil || s == nil {
		return err
	}
	if f.source == nil {
		err = scaleNorm(p, f.Norm, s)
	} else {
		err = scaleRows(ctx, p, *f.source, f.shared(s))
	}
	if err != nil {
		return err
	}
	for i, m := range f.readers {
		w := t.weights[i]
		scaled := kernels.NewMatrix(w.Rows, w.Cols)
		p.Engine.For(w.Rows, func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				scaleRow(scaled.Row(r), w.Row(r), s)
			}
		})
		if err := p.ReplaceWeight(m, scaled); err != nil {
			return err
		}
	}
	return nil
}

// scaleNorm divides what a norm gives. What it holds is rounded to its type: the
// scales become what it really was divided by.
func scaleNorm(p *pass.Pass, n *arch.Norm, s []float32) error {
	stored, err := p.Checkpoint.Tensor(n.Weight.Tensor)
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
	if err := p.ReplaceVector(n.Weight.Tensor, v); err != nil || n.Bias == nil {
		return err
	}
	if stored, err = p.Checkpoint.Tensor(n.Bias.Tensor); err != nil {
		return err
	}
	b := stored.Floats()
	for i := range b {
		b[i] /= s[i]
	}
	kernels.RoundFloats(b, stored.DType)
	return p.ReplaceVector(n.Bias.Tensor, b)
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
func scaleRows(ctx context.Context, p *pass.Pass, m pass.PlannedModule, s []float32) error {
	w, err := p.Weight(ctx, m.Module)
	if err != nil {
		return err
	}
	scaled := kernels.NewMatrix(w.Rows, w.Cols)
	p.Engine.For(w.Rows, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			for c, v := range w.Row(r) {
				scaled.Row(r)[c] = v / s[r]
			}
		}
	})
	return p.ReplaceWeight(m, scaled)
}

func scaleRow(dst, w, s []float32) {
	for c, v := range w {
		dst[c] = v * s[c]
	}
}
