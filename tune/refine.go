package tune

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"nibble/quant"
)

// Methods that train a layer as a whole cannot be screened: what they make of a
// matrix depends on the rest of its layer, and it takes too long to try them all.
// The search is made with the method that they start from in their place; its result
// is then refined: quantized once more by them, with the same bits everywhere.

// split sets what is screened and what refines, of the space. Where a stand-in is
// not offered itself, every recipe has to be refined.
func (s *search) split() {
	s.screened, s.refiners, s.always = nil, nil, false
	for _, spec := range s.Space {
		if quant.StandIn(spec) == spec {
			s.screened = append(s.screened, spec)
		} else {
			s.refiners = append(s.refiners, spec)
		}
	}
	for _, spec := range s.refiners {
		if in := quant.StandIn(spec); !slices.Contains(s.screened, in) {
			s.screened, s.always = append(s.screened, in), true
		}
	}
	slices.SortStableFunc(s.refiners, func(a, b quant.Spec) int {
		return quant.MethodNamed(b.Method).Strength - quant.MethodNamed(a.Method).Strength
	})
}

// refined is what refining makes of a spec; several methods are offered from the
// strongest on.
func (s *search) refined(spec quant.Spec) quant.Spec {
	for _, r := range s.refiners {
		if !spec.Kept() && r.Scheme() == spec.Scheme() {
			return r
		}
	}
	return spec
}

// How much of a divergence refining leaves, before it has been measured, and how
// far from that models are, as a logarithm.
const (
	typicalGain = 0.8
	gainSpread  = 0.15
)

// gain is how much of a divergence refining leaves, as the trials have it.
func (s *search) gain() float64 {
	w := 1 / (gainSpread * gainSpread)
	sum, n := w*math.Log(typicalGain), w
	for _, e := range s.evidence {
		if e.refined && e.sum > 0 {
			w := 1 / (fitNoise * fitNoise)
			sum, n = sum+w*math.Log(e.kld/s.predictor.kld(e.sum)), n+w
		}
	}
	return math.Exp(sum / n)
}

// predictorOf is the predictor of recipes that are refined, or are not.
func (s *search) predictorOf(refined bool) predictor {
	p := s.predictor
	if refined && !s.always { // else all that it learned is of refined ones
		p.scale *= s.gain()
	}
	return p
}

// refining is about how long a refined trial takes; 0 if nothing refines.
func (s *search) refining() time.Duration {
	if len(s.refiners) == 0 || s.always {
		return 0
	}
	spec := s.refiners[0]
	p, err := s.plan(uniform(s.Source.Config, spec))
	if err != nil {
		return 0
	}
	return time.Duration(s.slowness*p.Seconds*float64(time.Second)) + s.evaluation
}

// maxRefined is how many refined recipes are tried for a goal: they take long.
const maxRefined = 3

// refine tries refined recipes: for a goal, ever smaller ones; within limits, that
// of the best.
func (s *search) refine(ctx context.Context) error {
	if len(s.refiners) == 0 || s.always {
		return nil
	}
	s.trying = s.refining()
	s.l.send(Phase{"refined", "the same bits by a method that trains whole layers"})
	if s.Goal > 0 {
		return s.reach(ctx, true, maxRefined)
	}
	c, err := s.mostAccurate()
	if errors.Is(err, errLimits) {
		return nil
	} else if err != nil {
		return err
	}
	if c, err = s.build(c.pick, true); err != nil {
		return err
	}
	if _, done := s.tried[c.recipe.String()]; done {
		return nil
	}
	_, err = s.try(ctx, "refined", c)
	return err
}
