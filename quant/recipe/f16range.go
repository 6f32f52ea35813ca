package recipe

import (
	"math"

	"nibble/model"
	"nibble/quant/grid"
)

// beyondShare is the share of a matrix's rows that may be beyond F16 scales: trained
// models have a few rows that nothing uses, such as those of tokens that never
// occur, and a weight that is far too large is damage, which is an error.
const beyondShare = 0.02

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
	steps := grid.Reach(scheme)
	rows, beyond := 0, 0
	for _, v := range magnitudes {
		switch scale := float64(v) / steps; {
		case v == 0 || math.IsInf(scale, 0): // the former is exact, the latter an error of its own
			continue
		case scale > mostScale || scale < grid.LeastScale(scheme):
			beyond++
		}
		rows++
	}
	return float64(beyond) > beyondShare*float64(rows), nil
}

// WithinF16 returns the recipe with a rule for each matrix that it cannot quantize
// because F16 scales do not hold its weights, and which these are.
func (r Recipe) WithinF16(ck *model.Checkpoint) (within Recipe, kept []string, err error) {
	for _, m := range ck.Config.Modules() {
		beyond, err := r.For(m).Beyond(ck, m)
		if err != nil {
			return r, nil, err
		}
		if beyond {
			r.Rules = append(r.Rules[:len(r.Rules):len(r.Rules)], Rule{Match: m.Name, Spec: Keep})
			kept = append(kept, m.Name)
		}
	}
	return r, kept, nil
}
