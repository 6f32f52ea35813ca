package eval

import (
	"context"
	"slices"
	"sync/atomic"

	"nibble/kernels"
	rt "nibble/runtime"
)

// scorer turns tokens into log-probabilities in batches of bounded memory.
type scorer struct {
	m       *rt.Model
	session *rt.Session
	acts    *kernels.Acts
	logits  []float32
	base    []float32
	lps     []float64
	pairs   []pair

	asked, ran int // tokens of choices, and of them those not shared with a text before
}

// batchLogits bounds the logits held at once, in elements.
const batchLogits = 1 << 22

func newScorer(m *rt.Model) *scorer {
	return &scorer{m: m, session: m.NewExactSession(0), acts: m.Engine.NewActs()}
}

// notes tells what is not as usual of how the model runs.
func (s *scorer) notes() []string {
	if s.session.BeyondF16() {
		return []string{s.m.Name + ": " + rt.BeyondF16Note}
	}
	return nil
}

// batch is how many positions fit in one batch of logits.
func (s *scorer) batch() int {
	return max(1, min(256, batchLogits/s.m.Config.Vocab))
}

// hidden runs a window from an empty context.
func (s *scorer) hidden(ctx context.Context, tokens []int32) ([]float32, error) {
	s.session.Truncate(0)
	s.session.Expect(len(tokens))
	return s.session.Forward(ctx, tokens)
}

// logProb is the log-probability of token under one row of logits.
func logProb(eng *kernels.Engine, logits []float32, token int32) float64 {
	return float64(logits[token]) - eng.LogSumExp(logits)
}

// score computes the log-probabilities of targets from their hidden states. The
// result is valid until the next call.
func (s *scorer) score(hidden []float32, targets []int32) []float64 {
	lps, _ := s.scoreGreedy(hidden, targets)
	return lps
}

// scoreGreedy is score that also says whether every target is the likeliest
// token at its place.
func (s *scorer) scoreGreedy(hidden []float32, targets []int32) (lps []float64, greedy bool) {
	s.lps = slices.Grow(s.lps[:0], len(targets))[:len(targets)]
	var beaten atomic.Bool
	h, v, step := s.m.Config.Hidden, s.m.Config.Vocab, s.batch()
	for at := 0; at < len(targets); at += step {
		n := min(step, len(targets)-at)
		s.logits = growFloats(s.logits, n*v)
		s.m.Logits(s.acts, s.logits, hidden[at*h:(at+n)*h], n)
		s.m.Engine.For(n, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				row, target := s.logits[i*v:(i+1)*v], targets[at+i]
				s.lps[at+i] = logProb(s.m.Engine, row, target)
				if !beaten.Load() && argMax(row) != int(target) {
					beaten.Store(true)
				}
			}
		})
	}
	return s.lps, !beaten.Load()
}

func argMax(x []float32) int {
	top := 0
	for i, v := range x {
		if v > x[top] {
			top = i
		}
	}
	return top
}

// pair is the comparison of two models at one position.
type pair struct {
	logProb, base float64 // of the target
	kld           float64 // sum p_base log(p_base / p)
	same          bool    // both find the same token likeliest
}

// compare computes pairs for targets; base is the reference model and its
// hidden states, whose width may be another. The result is valid until the next
// call.
func (s *scorer) compare(hidden []float32, base *rt.Model, baseHidden []float32, targets []int32) []pair {
	s.pairs = slices.Grow(s.pairs[:0], len(targets))[:len(targets)]
	out := s.pairs
	h, bh, v, step := s.m.Config.Hidden, base.Config.Hidden, s.m.Config.Vocab, s.batch()
	for at := 0; at < len(targets); at += step {
		n := min(step, len(targets)-at)
		s.logits, s.base = growFloats(s.logits, n*v), growFloats(s.base, n*v)
		s.m.Logits(s.acts, s.logits, hidden[at*h:(at+n)*h], n)
		base.Logits(s.acts, s.base, baseHidden[at*bh:(at+n)*bh], n)
		s.m.Engine.For(n, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				out[at+i] = comparePosition(s.m.Engine, s.logits[i*v:(i+1)*v], s.base[i*v:(i+1)*v], targets[at+i])
			}
		})
	}
	return out
}

func comparePosition(eng *kernels.Engine, q, p []float32, target int32) pair {
	zq, zp := eng.LogSumExp(q), eng.LogSumExp(p)
	out := pair{logProb: float64(q[target]) - zq, base: float64(p[target]) - zp}
	topQ, topP := 0, 0
	// sum P log(P/Q) with log P = p - zp and log Q = q - zq: the normalizers come
	// out of the sum, because P sums to one. Its float32 values do so only nearly,
	// which matters when the logits differ by a constant, so their mean is taken.
	var probs [256]float32
	var mass, apart float64
	for at := 0; at < len(p); at += len(probs) {
		n := min(len(probs), len(p)-at)
		eng.Exp(probs[:n], p[at:at+n], float32(zp))
		for j, w := range probs[:n] {
			i := at + j
			mass += float64(w)
			apart += float64(w) * (float64(p[i]) - float64(q[i]))
			if p[i] > p[topP] {
				topP = i
			}
			if q[i] > q[topQ] {
				topQ = i
			}
		}
	}
	out.kld = max(0, zq-zp+apart/mass) // rounding may leave a hair below zero
	out.same = topQ == topP
	return out
}

func growFloats(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
