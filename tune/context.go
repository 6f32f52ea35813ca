package tune

import (
	"context"
	"math"

	"nibble/kernels"
	rt "nibble/runtime"
)

// Bounds of a factor: what one measurement may teach.
const (
	leastFactor = 0.5
	mostFactor  = 2
)

// inContext measures what the choices of a trial lose where it counts, in the
// quantized model m: how much less its divergence is with one class float again.
// Alone or on top of all the others, an error does not weigh the same; half of
// the way between the two is what changing it is expected to change.
func (s *search) inContext(ctx context.Context, m *rt.Model, c candidate) error {
	if s.seen || s.left() < s.trying {
		return nil
	}
	windows := spread(screenWindows, s.ref.Windows())
	stack, err := s.ref.Stack(m, windows)
	if err != nil {
		return err
	}
	whole, err := s.ref.Divergence(ctx, m, stack.Clone(), windows)
	if err != nil {
		return err
	}
	factors := make([]float64, len(s.classes))
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
	for i := range s.classes {
		s.classes[i].factor = factors[i]
	}
	s.seen = true
	s.learn()
	return nil
}
