package tune

import (
	"context"
	"math"
	"time"

	"nibble/kernels"
	"nibble/quant"
	"nibble/tune/solve"
	"nibble/tune/space"
)

// forecast is how long parts of a run are expected to take, and what is kept of the
// budget for parts that come later.
type forecast struct {
	slowness   float64       // of the machine at present, over what plans reckon with
	saving     time.Duration // the best model, at the end
	trying     time.Duration // the next trial
	evaluation time.Duration // the windows that trials are judged by
	window     time.Duration // one of them

	reserve  time.Duration // kept for refining
	deciding time.Duration // kept for measuring more of the text in the end
}

// left is how much of the budget is left for trials.
func (s *scheduler) left() time.Duration {
	if s.Budget == 0 {
		return math.MaxInt64
	}
	return s.Budget - s.clock.Elapsed() - s.saving - s.reserve - s.deciding
}

// quantizing is how long a plan is expected to take on this machine.
func (s *scheduler) quantizing(p quant.Plan) time.Duration {
	return time.Duration(s.slowness * p.Seconds * float64(time.Second))
}

// guess fills in what is not known before the first trial.
func (s *scheduler) guess(c solve.Candidate) {
	if s.saving != 0 {
		return
	}
	took := s.quantizing(c.Plan)
	s.saving = s.savingOf(c, took)
	s.trying = writing(c.Plan, took) + s.evaluation*3/2
}

// writing is how long writing a model is expected to take after quantizing it in
// memory took so long.
func writing(p quant.Plan, took time.Duration) time.Duration {
	const durable = 150e6 // bytes a second
	return took*5/4 + time.Duration(float64(p.SizeBytes)/durable*float64(time.Second)) + 300*time.Millisecond
}

// savingOf is how long saving a candidate is expected to take: what is kept is copied.
func (s *scheduler) savingOf(c solve.Candidate, took time.Duration) time.Duration {
	if s.keeps(c) {
		took = 0
	}
	return writing(c.Plan, took)
}

// keeps reports whether what quantizing makes of a candidate is kept.
func (s *scheduler) keeps(c solve.Candidate) bool { return c.Refined && s.local.Artifacts.Dir != "" }

// refining is about how long a refined trial takes; 0 if nothing refines.
func (s *scheduler) refining() time.Duration {
	if !s.problem.Offer.Refines() {
		return 0
	}
	p, err := s.problem.Plan(space.Uniform(s.Source.Config, s.problem.Offer.Refiners[0]))
	if err != nil {
		return 0
	}
	return s.quantizing(p) + s.evaluation
}

// measureSlowness says how much slower the machine is at present, with all else
// that runs on it, than plans take it to be, by products of floats.
func measureSlowness(ctx context.Context, eng *kernels.Engine) (float64, error) {
	const (
		planned = 45e9 // operations a second and thread
		size    = 512
		tell    = 60 * time.Millisecond
	)
	a, b := kernels.NewMatrix(size, size), kernels.NewMatrix(size, size)
	work := 0.0
	begun := time.Now()
	for time.Since(begun) < tell {
		if err := eng.MulTransposed(ctx, b, a, a); err != nil {
			return 0, err
		}
		work += 2 * size * size * size
	}
	return max(1, time.Since(begun).Seconds()*planned*float64(eng.Threads())/work), nil
}
