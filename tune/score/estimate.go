package score

import (
	"cmp"
	"math"
	"slices"

	"nibble/model"
	"nibble/quant"
)

// farFirst orders options so that those measured so far always span the sizes:
// the smallest, the largest, the middle, the middles between those.
func farFirst(bytes []int64) []int {
	rank := make([]int, len(bytes))
	for i := range rank {
		rank[i] = i
	}
	slices.SortStableFunc(rank, func(a, b int) int { return cmp.Compare(bytes[a], bytes[b]) })
	if len(rank) < 2 {
		return rank
	}
	out := []int{rank[0], rank[len(rank)-1]}
	gaps := [][2]int{{0, len(rank) - 1}}
	for len(gaps) > 0 {
		lo, hi := gaps[0][0], gaps[0][1]
		gaps = gaps[1:]
		if mid := (lo + hi) / 2; mid > lo {
			out = append(out, rank[mid])
			gaps = append(gaps, [2]int{lo, mid}, [2]int{mid, hi})
		}
	}
	return out
}

func pick(bytes []int64, at []int) []int64 {
	var out []int64
	for _, i := range at {
		out = append(out, bytes[i])
	}
	return out
}

// survivors lists the options whose divergence is worth measuring: those that no
// other beats clearly in error at no more bytes.
func survivors(bytes []int64, errs []float64) []int {
	const clearly = 0.8
	var out []int
	for i := range bytes {
		beaten := false
		for j := range bytes {
			beaten = beaten || bytes[j] <= bytes[i] && errs[j] < clearly*errs[i]
		}
		if !beaten {
			out = append(out, i)
		}
	}
	return out
}

// complete guesses the errors that were not measured: as typical errors have it,
// scaled by the nearest that was.
func complete(errs []float64, specs []quant.Spec, m model.Module) {
	scale := map[int]float64{} // by bits
	for _, bits := range []int{4, 8} {
		sum, n := 0.0, 0.0
		for i, s := range specs {
			if s.Bits == bits && !math.IsNaN(errs[i]) && errs[i] > 0 {
				sum, n = sum+math.Log(errs[i]/typicalError(s, m)), n+1
			}
		}
		if n > 0 {
			scale[bits] = math.Exp(sum / n)
		}
	}
	for i, s := range specs {
		if !math.IsNaN(errs[i]) {
			continue
		}
		f, ok := scale[s.Bits]
		if !ok {
			f = cmp.Or(scale[4], scale[8], 1)
		}
		errs[i] = f * typicalError(s, m)
	}
}

// typicalError is the relative error of a matrix's outputs, as seen in small
// language models.
func typicalError(s quant.Spec, m model.Module) float64 {
	width := s.Group
	if width == 0 {
		width = m.Cols
	}
	e := 0.009 * math.Pow(1.2, math.Log2(float64(width)/32))
	if s.Bits == 8 {
		e /= 287
	}
	if !s.Sym {
		e *= 0.88
	}
	if s.Table != "" {
		e *= 0.82 // its steps are finer where most weights are
	}
	if s.Top > 0 {
		e *= 1 - math.Pow(float64(s.Top)/100, 0.15) // the text that is not of these tokens
	}
	return e * quant.MethodNamed(s.Method).Error
}

// typicalRatio is the divergence of a model over the relative error of the outputs
// of one matrix, as seen in small language models.
func typicalRatio(kind string) float64 {
	switch kind {
	case "embed", "head":
		return 1
	case "down":
		return 0.3
	case "gate", "up":
		return 0.08
	}
	return 0.03
}

// ratios are the ratios of divergence to error that were measured, by the role of
// the matrix.
type ratios map[string][]float64

// estimate fills in the divergences that were not measured: the ratio of
// divergence to error varies little within a matrix.
func (r ratios) estimate(m model.Module, specs []quant.Spec, errs, klds []float64) {
	type point struct{ err, ratio float64 }
	var known []point
	for i := range specs {
		if !math.IsNaN(klds[i]) && errs[i] > 0 && klds[i] > 0 {
			known = append(known, point{errs[i], klds[i] / errs[i]})
		}
	}
	slices.SortFunc(known, func(a, b point) int { return cmp.Compare(a.err, b.err) })
	for _, p := range known {
		r[m.Kind] = append(r[m.Kind], p.ratio)
	}
	ratio := func(e float64) float64 {
		if len(known) == 0 {
			if of := slices.Sorted(slices.Values(r[m.Kind])); len(of) > 0 {
				return of[len(of)/2]
			}
			return typicalRatio(m.Kind)
		}
		i := slices.IndexFunc(known, func(p point) bool { return p.err >= e })
		switch {
		case i < 0:
			return known[len(known)-1].ratio
		case i == 0:
			return known[0].ratio
		}
		a, b := known[i-1], known[i]
		t := (math.Log(e) - math.Log(a.err)) / max(math.Log(b.err)-math.Log(a.err), 1e-9)
		return math.Exp((1-t)*math.Log(a.ratio) + t*math.Log(b.ratio))
	}
	for i, s := range specs {
		switch {
		case s.Kept():
			klds[i] = 0
		case math.IsNaN(klds[i]):
			klds[i] = errs[i] * ratio(errs[i])
		}
	}
}
