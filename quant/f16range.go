package quant

import (
	"fmt"
	"math"

	"nibble/kernels"
	"nibble/model"
)

const (
	keptBeyond = "kept as stored: F16 scales do not reach the size of its weights"
	coarseNote = "of %d rows have weights too small for F16 scales and lose more than others, or all"
)

// beyondShare is the share of a matrix's rows that may be beyond F16 scales: trained
// models have a few rows that nothing uses, such as those of tokens that never
// occur, and a weight that is far too large is damage, which is an error.
const beyondShare = 0.02

// leastScale is the smallest scale that F16 holds with two bits more than the codes
// have; what is smaller spoils the codes.
func leastScale(s kernels.Scheme) float64 { return math.Ldexp(1, s.Bits+1-24) }

// mostScale is what the scale of a looked at part of a row may be at most: the
// rest may need one some times as large, of which F16 holds 65504.
const mostScale = 65504 / 8

// Beyond reports whether too many rows of a matrix are too large or too small for
// the scales. It looks at some of the rows.
func (s Spec) Beyond(ck *model.Checkpoint, m model.Module) (bool, error) {
	if s.Kept() {
		return false, nil
	}
	magnitudes, err := ck.Magnitudes(m)
	if err != nil {
		return false, err
	}
	scheme := s.Scheme()
	steps := float64(scheme.MaxCode())
	if scheme.Sym {
		steps = float64(scheme.MidCode() - scheme.MinCode())
	}
	rows, beyond := 0, 0
	for _, v := range magnitudes {
		switch scale := float64(v) / steps; {
		case v == 0 || math.IsInf(scale, 0): // the former is exact, the latter an error of its own
			continue
		case scale > mostScale || scale < leastScale(scheme):
			beyond++
		}
		rows++
	}
	return float64(beyond) > beyondShare*float64(rows), nil
}

// fitted returns the recipe with a rule for each matrix that it cannot quantize
// because F16 scales do not hold its weights, and the notes that tell.
func (r Recipe) fitted(ck *model.Checkpoint) (Recipe, []string, error) {
	var of notes
	for _, m := range ck.Config.Modules() {
		beyond, err := r.For(m).Beyond(ck, m)
		if err != nil {
			return r, nil, err
		}
		if beyond {
			r.Rules = append(r.Rules[:len(r.Rules):len(r.Rules)], Rule{Match: m.Name, Spec: Keep})
			of.add(m.Name, keptBeyond)
		}
	}
	return r, of.lines(), nil
}

// coarseRows counts the rows of a quantized matrix, not all zeros, whose scales are
// all too small.
func coarseRows(q *kernels.QTensor, row func(buf []float32, r int) []float32) int {
	least, groups, n := kernels.F32ToF16(float32(leastScale(q.Scheme))), q.Groups(), 0
	var buf []float32
	for r := range q.Rows {
		most := uint16(0)
		for _, s := range q.Scales[r*groups : (r+1)*groups] {
			if most = max(most, s&0x7fff); most >= least {
				break
			}
		}
		if most >= least {
			continue
		}
		if buf == nil {
			buf = make([]float32, q.Cols)
		}
		for _, v := range row(buf, r) {
			if v != 0 {
				n++
				break
			}
		}
	}
	return n
}

// coarseNotes tells of such rows of all matrices that were quantized; lines are
// those of ms.
func coarseNotes(ms []PlannedModule, lines []ModuleReport) []string {
	var all notes
	for i, line := range lines {
		if line.Coarse > 0 {
			all.add(line.Module, fmt.Sprintf("%d "+coarseNote, line.Coarse, ms[i].Module.Rows))
		}
	}
	return all.lines()
}
