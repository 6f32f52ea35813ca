package tune

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"nibble/kernels"
	"nibble/quant"
	"nibble/tune/space"
)

// patience is how many seconds a quantization by a method that trains may take that
// nobody asked for.
const patience = 600

// afford leaves out specs that take too long for the budget: a trial and the saving,
// each a quantization, must fit what screening leaves, with some to spare. Of the
// methods that are offered for a scheme the fastest stays.
func (s *scheduler) afford(ctx context.Context) error {
	var err error
	if s.Budget > 0 {
		if s.slowness, err = measureSlowness(ctx, s.Base.Engine); err != nil {
			return err
		}
	}
	allowed := func(spec quant.Spec) float64 {
		switch {
		case s.Budget > 0:
			return (1 - screenShare) * s.Budget.Seconds() / 3
		case !s.specsChosen && quant.StandIn(spec) != spec:
			return patience
		}
		return math.Inf(1)
	}
	seconds := make([]float64, len(s.Specs))
	fastest := map[kernels.Scheme]float64{} // whatever rows have eight bits
	scheme := func(spec quant.Spec) kernels.Scheme {
		spec.Top = 0
		return spec.Scheme()
	}
	for i, spec := range s.Specs {
		p, err := s.problem.Plan(space.Uniform(s.Source.Config, spec))
		if err != nil {
			return err
		}
		seconds[i] = s.slowness * p.Seconds
		if t, ok := fastest[scheme(spec)]; !ok || seconds[i] < t {
			fastest[scheme(spec)] = seconds[i]
		}
	}
	var fit []quant.Spec
	out := map[string]float64{} // seconds, by method
	for i, spec := range s.Specs {
		if spec.Kept() || seconds[i] <= allowed(spec) || seconds[i] == fastest[scheme(spec)] {
			fit = append(fit, spec)
		} else {
			out[spec.Method] = max(out[spec.Method], seconds[i])
		}
	}
	for _, m := range slices.Sorted(maps.Keys(out)) {
		note := fmt.Sprintf("%s is left out: a quantization, which takes up to %.0f s, does not fit the budget", m, out[m])
		if s.Budget == 0 {
			note = fmt.Sprintf("%s is left out: a quantization would take about %.0f s; offer it by name, or allow so much time, to have it tried", m, out[m])
		}
		s.note(note)
	}
	if len(fit) == len(s.Specs) {
		return nil
	}
	s.Specs = fit
	return s.pose(fit)
}
