package train

import (
	"context"
	"errors"
	"math/rand/v2"

	"nibble/kernels"
	"nibble/quant/grid"
)

// Training is how long and how fast roundings are trained.
type Training struct {
	Iterations int
	Batch      int     // samples of an iteration
	Rate       float64 // of offsets, at first; it falls in a line to 0
	Share      float64 // the rate of scales, in their size, over that of offsets
}

// look reports whether all samples are judged after n iterations: now and then,
// and more often the nearer the end, where little moves.
func (t Training) look(n int) bool {
	left := t.Iterations - n
	return left == 0 || left == t.Iterations/16 || left == t.Iterations/6 || left == t.Iterations/2
}

// Trained reports an iteration of training, and what is lost.
type Trained struct {
	Layer      int     `json:"layer"` // -1: all layers together
	Iteration  int     `json:"iteration"`
	Iterations int     `json:"iterations"`
	Before     float64 `json:"before"` // the loss of what training began with, on all samples
	Loss       float64 `json:"loss"`   // the least so far
	Seconds    float64 `json:"seconds"`
	Estimate   float64 `json:"eta_seconds"`
}

// EventName implements Event.
func (Trained) EventName() string { return "quantize_trained" }

// trainee is what training needs of the roundings of a layer or a model.
type trainee interface {
	// loss is that of some samples, per token; with gradient, its derivatives are
	// added to the roundings'.
	Loss(ctx context.Context, samples []int, gradient bool) (float64, error)
	samples() int
}

// Train trains roundings and leaves in each the codes of the least loss on all
// samples. It goes on from what s kept of it.
func Train(ctx context.Context, eng *kernels.Engine, t trainee, rs []*Rounding, how Training, seed uint64, s Saver, tell func(i int, before, loss float64)) error {
	all := make([]int, t.samples())
	for i := range all {
		all[i] = i
	}
	var st trainingState
	keep := func() {
		st.Best = st.Best[:0]
		for _, r := range rs {
			st.Best = append(st.Best, grid.Clone(r.Codes))
		}
	}
	if !s.recall(eng, &st, rs) {
		before, err := t.Loss(ctx, all, false)
		if err != nil {
			return err
		}
		st.Before, st.Least, st.Random = before, before, *rand.NewPCG(seed, 1)
		keep()
	}
	rng, n := rand.New(&st.Random), min(how.Batch, len(all))
	for i := st.Iteration; i < how.Iterations; i++ {
		if len(st.Order) < n {
			st.Order = append(st.Order, rng.Perm(len(all))...)
		}
		if _, err := t.Loss(ctx, st.Order[:n], true); err != nil {
			return errors.Join(err, s.save(&st, rs))
		}
		st.Order = st.Order[n:]
		for _, r := range rs {
			r.Step(eng, decay(how.Rate, i, how.Iterations), float32(how.Share))
			r.Round(eng)
		}
		if how.look(i + 1) {
			now, err := t.Loss(ctx, all, false)
			if err != nil {
				return err
			}
			if now < st.Least {
				st.Least = now
				keep()
			}
		}
		st.Iteration = i + 1
		tell(i+1, st.Before, st.Least)
		if s.due() || i+1 == how.Iterations {
			if err := s.save(&st, rs); err != nil {
				return err
			}
		}
	}
	for i, r := range rs {
		r.settle(eng, st.Best[i])
	}
	return nil
}
