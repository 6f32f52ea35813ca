package runtime

import (
	"math"
	"slices"

	"nibble/model/arch"
)

// routing turns a router's outputs into the experts of a token and their weights.
type routing struct {
	arch.Routing
	topK        int
	correction  []float32 // nil for none
	expertScale []float32 // nil for none
}

// choose calls give with each chosen expert, in order.
func (r *routing) choose(logits []float32, give func(expert int, weight float32)) {
	if r.Score == arch.SparseMixer {
		r.sparseMixer(logits, give)
		return
	}
	scores := r.scores(logits)
	ranked := slices.Clone(scores)
	for i, c := range r.correction {
		ranked[i] += float64(c)
	}
	r.limitGroups(ranked)
	chosen := highest(ranked, r.topK)
	total := 0.0
	for _, e := range chosen {
		total += scores[e]
	}
	slices.Sort(chosen)
	for _, e := range chosen {
		w := scores[e] * float64(r.Factor)
		if r.Renormalize {
			w /= total
		}
		if r.expertScale != nil {
			w *= float64(r.expertScale[e])
		}
		give(e, float32(w))
	}
}

// scores are the experts' by themselves.
func (r *routing) scores(logits []float32) []float64 {
	scores := make([]float64, len(logits))
	for i, v := range logits {
		scores[i] = float64(v)
	}
	if r.Score == arch.SigmoidScore {
		for i, v := range scores {
			scores[i] = 1 / (1 + math.Exp(-v))
		}
		return scores
	}
	return softmax(scores)
}

func softmax(x []float64) []float64 {
	most, total := slices.Max(x), 0.0
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = math.Exp(v - most)
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// limitGroups rules out all experts but those of the best groups.
func (r *routing) limitGroups(ranked []float64) {
	if r.Groups <= 1 {
		return
	}
	size := len(ranked) / r.Groups
	best := make([]float64, r.Groups)
	for g := range best {
		group := slices.Clone(ranked[g*size : (g+1)*size])
		slices.Sort(group)
		for _, v := range group[max(0, size-r.GroupBest):] {
			best[g] += v
		}
	}
	kept := highest(best, r.TopGroups)
	for e := range ranked {
		if !slices.Contains(kept, e/size) {
			ranked[e] = math.Inf(-1)
		}
	}
}

// highest returns the places of the k highest values, the first of equals.
func highest(x []float64, k int) []int {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case x[a] > x[b]:
			return -1
		case x[a] < x[b]:
			return 1
		}
		return 0
	})
	return order[:min(k, len(order))]
}

// sparseMixer chooses the best expert, weighed by a softmax over those near it, and
// then the best of the others in the same way (Phi-3.5-MoE).
func (r *routing) sparseMixer(logits []float32, give func(expert int, weight float32)) {
	left := make([]float64, len(logits))
	for i, v := range logits {
		left[i] = float64(v)
	}
	weights := map[int]float64{}
	for range 2 {
		best := slices.Max(left)
		at := slices.Index(left, best)
		near := make([]float64, len(left))
		for i, v := range left {
			own := float64(logits[i])
			if near[i] = v; (best-own)/max(math.Abs(own), best) > 2*float64(r.Jitter) {
				near[i] = math.Inf(-1)
			}
		}
		weights[at] = softmax(near)[at]
		left[at] = math.Inf(-1)
	}
	for e := range logits {
		if w, ok := weights[e]; ok {
			give(e, float32(w))
		}
	}
}
