package tune

import (
	"context"
	"math"
	"time"

	"nibble/kernels"
	rt "nibble/runtime"
)

// Bounds of a factor: what one measurement may teach.
const (
	leastFactor = 0.5
	mostFactor  = 2
)

// inContext measures, once in a run, what the choices of a trial lose where it
// counts, in the quantized model: how much less its divergence is with one class
// float again. Alone or on top of all the others, an error does not weigh the same;
// half of the way between the two is what changing it is expected to change. m may
// be nil: it is made if the measurements are not known.
func (s *search) inContext(ctx context.Context, m *rt.Model, c candidate) error {
	if s.seen {
		return nil
	}
	spec := "in " + fingerprint(c.recipe)[:16]
	factors := make([]float64, len(s.classes))
	known := true
	for i, x := range s.classes {
		factors[i] = s.scores.get(scoreKey{x.modules[0].Name, spec}).KLD
		known = known && !math.IsNaN(factors[i])
	}
	if !known {
		if s.Budget > 0 && s.left() < s.walk() {
			return nil
		}
		if m == nil {
			var err error
			if m, _, err = s.apply(ctx, s.Base, s.Source, c.recipe, s.Calibration, nil); err != nil {
				return err
			}
		}
		if err := s.measureFactors(ctx, m, c, factors); err != nil {
			return err
		}
		for i, x := range s.classes {
			s.scores.add(s.scoresKey, scoreKey{x.modules[0].Name, spec}, nil, &factors[i])
		}
	}
	for i, f := range factors {
		s.classes[i].factor = f
	}
	s.seen = true
	return nil
}

// walk is about what measuring one divergence for every class takes.
func (s *search) walk() time.Duration {
	share := float64(min(screenWindows, s.ref.Windows())) / float64(s.ref.Windows())
	return time.Duration(float64(s.evaluation) * share * float64(len(s.classes)))
}

func (s *search) measureFactors(ctx context.Context, m *rt.Model, c candidate, factors []float64) error {
	windows := spread(screenWindows, s.ref.Windows())
	stack, err := s.ref.Stack(m, windows)
	if err != nil {
		return err
	}
	whole, err := s.ref.Divergence(ctx, m, stack.Clone(), windows)
	if err != nil {
		return err
	}
	for i, j := range c.pick {
		x := s.classes[i]
		factors[i] = 1
		if x.options[j].spec.Kept() || x.options[j].alone <= 0 {
			continue
		}
		over := map[string]*kernels.Linear{}
		for _, mod := range x.modules {
			over[mod.Name] = s.Base.Linear(mod.Name)
		}
		without := m.With(over)
		first := x.modules[0]
		layer := first.Layer
		if first.Kind == "head" {
			layer = s.Source.Config.Layers
		}
		for stack.Layer() < layer {
			if err := stack.Advance(ctx, m); err != nil {
				return err
			}
		}
		from := stack.Clone
		if first.Kind == "embed" {
			embedded, err := s.ref.Stack(without, windows)
			if err != nil {
				return err
			}
			from = func() *rt.Stack { return embedded }
		}
		rest, err := s.ref.Divergence(ctx, without, from(), windows)
		if err != nil {
			return err
		}
		alone := x.options[j].alone
		factors[i] = math.Max(leastFactor, math.Min(mostFactor, ((whole-rest)/alone+1)/2))
	}
	return nil
}
