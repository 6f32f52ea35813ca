package quant

import (
	"context"
	"errors"
	"math/rand/v2"

	"nibble/kernels"
	"nibble/runtime/graph"
)

// training is how long and how fast roundings are trained.
type training struct {
	iterations int
	batch      int     // samples of an iteration
	rate       float64 // of offsets, at first; it falls in a line to 0
	share      float64 // the rate of scales, in their size, over that of offsets
}

// look reports whether all samples are judged after n iterations: now and then,
// and more often the nearer the end, where little moves.
func (t training) look(n int) bool {
	left := t.iterations - n
	return left == 0 || left == t.iterations/16 || left == t.iterations/6 || left == t.iterations/2
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
	loss(ctx context.Context, samples []int, gradient bool) (float64, error)
	samples() int
}

// train trains roundings and leaves in each the codes of the least loss on all
// samples. It goes on from what s kept of it.
func train(ctx context.Context, eng *kernels.Engine, t trainee, rs []*rounding, how training, seed uint64, s saver, tell func(i int, before, loss float64)) error {
	all := make([]int, t.samples())
	for i := range all {
		all[i] = i
	}
	var st trainingState
	keep := func() {
		st.Best = st.Best[:0]
		for _, r := range rs {
			st.Best = append(st.Best, cloneQ(r.q))
		}
	}
	if !s.recall(eng, &st, rs) {
		before, err := t.loss(ctx, all, false)
		if err != nil {
			return err
		}
		st.Before, st.Least, st.Random = before, before, *rand.NewPCG(seed, 1)
		keep()
	}
	rng, n := rand.New(&st.Random), min(how.batch, len(all))
	for i := st.Iteration; i < how.iterations; i++ {
		if len(st.Order) < n {
			st.Order = append(st.Order, rng.Perm(len(all))...)
		}
		if _, err := t.loss(ctx, st.Order[:n], true); err != nil {
			return errors.Join(err, s.save(&st, rs))
		}
		st.Order = st.Order[n:]
		for _, r := range rs {
			r.step(eng, decay(how.rate, i, how.iterations), float32(how.share))
			r.round(eng)
		}
		if how.look(i + 1) {
			now, err := t.loss(ctx, all, false)
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
		if s.due() || i+1 == how.iterations {
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

// part is samples that go through a layer together, one after the other.
type part struct{ samples, lengths []int }

// passTokens is about how many tokens go through a layer together: enough to
// occupy all threads, few enough for what a large model computes to fit in memory.
const passTokens = 1024

// together cuts samples, whose lengths a function gives, into parts that go through a
// layer together, and gives each to f.
func together(length func(sample int) int, samples []int, f func(part) error) error {
	var p part
	tokens := 0
	flush := func() error {
		if len(p.samples) == 0 {
			return nil
		}
		err := f(p)
		p.samples, p.lengths, tokens = p.samples[:0], p.lengths[:0], 0
		return err
	}
	for _, s := range samples {
		n := length(s)
		if tokens > 0 && tokens+n > passTokens {
			if err := flush(); err != nil {
				return err
			}
		}
		p.samples, p.lengths = append(p.samples, s), append(p.lengths, n)
		tokens += n
	}
	return flush()
}

// gather puts in m what samples of a part have of each token, in m's memory if that
// suffices. It has no data if from is nil.
func (p part) gather(m *kernels.Matrix, from [][]float32) kernels.Matrix {
	if from == nil {
		return kernels.Matrix{}
	}
	m.Data, m.Rows = m.Data[:0], 0
	for i, s := range p.samples {
		m.Data = append(m.Data, from[s]...)
		m.Rows += p.lengths[i]
	}
	m.Cols = len(m.Data) / m.Rows
	m.Stride = m.Cols
	return *m
}

// firstSamples returns those that have the tokens which errors of outputs are
// measured on.
func firstSamples(inputs [][]float32, hidden int) []int {
	var out []int
	for s, tokens := 0, 0; s < len(inputs) && tokens < sampleRows; s++ {
		out = append(out, s)
		tokens += len(inputs[s]) / hidden
	}
	return out
}

// layerTrainee is a layer that is to give the float layer's outputs.
type layerTrainee struct {
	eng      *kernels.Engine
	tape     *graph.Tape
	hidden   int
	x, y     [][]float32 // inputs and outputs by sample
	perLayer [][]float32 // further inputs of the layer; nil for none

	keys, values [][]float32 // of another layer; nil for none

	in [4]kernels.Matrix // of a part: x, perLayer, keys, values
	dy []float32
}

func (t *layerTrainee) samples() int { return len(t.x) }

func (t *layerTrainee) loss(ctx context.Context, samples []int, gradient bool) (float64, error) {
	h := t.hidden
	total, tokens := 0.0, 0
	err := together(func(s int) int { return len(t.x[s]) / h }, samples, func(p part) error {
		out, err := t.tape.Forward(ctx, graph.Texts{Lengths: p.lengths, X: p.gather(&t.in[0], t.x), PerLayer: p.gather(&t.in[1], t.perLayer),
			Borrowed: graph.KeysValues{Keys: p.gather(&t.in[2], t.keys), Values: p.gather(&t.in[3], t.values)}})
		if err != nil {
			return err
		}
		if cap(t.dy) < len(out.Data) {
			t.dy = make([]float32, len(out.Data))
		}
		dy := kernels.Matrix{Rows: out.Rows, Cols: h, Stride: h, Data: t.dy[:len(out.Data)]}
		at := 0
		for i, s := range p.samples {
			total += t.distance(dy.Sub(at, at+p.lengths[i], 0, h), out.Sub(at, at+p.lengths[i], 0, h), t.y[s])
			at += p.lengths[i]
		}
		tokens += at
		if gradient {
			_, err = t.tape.Backward(ctx, 0, dy)
		}
		return err
	})
	return total / float64(tokens) / float64(h), err
}

// distance returns the squared distance of outputs from those wanted, and stores
// their difference.
func (t *layerTrainee) distance(diff, out kernels.Matrix, want []float32) float64 {
	sums := make([]float64, out.Rows)
	t.eng.For(out.Rows, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			d := diff.Row(r)
			for i, v := range out.Row(r) {
				d[i] = v - want[r*out.Cols+i]
				sums[r] += float64(d[i]) * float64(d[i])
			}
		}
	})
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total
}

// floats returns the values of a prepared matrix.
func floats(l *kernels.Linear) kernels.Matrix {
	w := kernels.NewMatrix(l.N(), l.K())
	for r := range w.Rows {
		l.Row(w.Row(r), r)
	}
	return w
}

func longest(texts [][]int32) int {
	n := 0
	for _, t := range texts {
		n = max(n, len(t))
	}
	return n
}
