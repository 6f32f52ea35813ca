package reference

import (
	"math"
	"slices"

	"nibble/model/arch"
)

func activate(a arch.Activation, v float64) float64 {
	switch a {
	case arch.SiLU:
		return v * sigmoid(v)
	case arch.GELU:
		return v / 2 * (1 + math.Erf(v/math.Sqrt2))
	case arch.GELUTanh:
		return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	case arch.ReLU:
		return max(v, 0)
	case arch.ReLUSquared:
		return max(v, 0) * max(v, 0)
	}
	failf("no such activation: %s", a)
	return 0
}

func (r *run) mlp(m *arch.MLP, x rows) rows {
	if m.Gate == nil && m.GateUp == nil {
		up := r.linear(m.Up, x)
		for _, row := range up {
			for i, v := range row {
				row[i] = activate(m.Act, v)
			}
		}
		return r.linear(m.Down, up)
	}
	var gate, up rows
	if m.GateUp != nil {
		for _, row := range r.linear(m.GateUp, x) {
			gate, up = append(gate, row[:m.Inner]), append(up, row[m.Inner:])
		}
	} else {
		gate, up = r.linear(m.Gate, x), r.linear(m.Up, x)
	}
	for t, g := range gate {
		for i, v := range g {
			u := up[t][i]
			if limit := float64(m.Limit); limit > 0 {
				v, u = min(v, limit), min(max(u, -limit), limit)
				g[i] = (u + 1) * v * sigmoid(1.702*v)
			} else {
				g[i] = activate(m.Act, v) * u
			}
		}
	}
	return r.linear(m.Down, gate)
}

func (r *run) experts(m *arch.MoE, x, stream rows) rows {
	routed := x
	if m.RouterNorm != nil {
		routed = r.norm(m.RouterNorm, stream)
	}
	if m.RouterScale != nil {
		scale := r.vector(m.RouterScale)
		apart := make(rows, len(routed))
		for t, row := range routed {
			apart[t] = make([]float64, len(row))
			for i, v := range row {
				apart[t][i] = v * scale[i]
			}
		}
		routed = apart
	}
	for t := range routed {
		routed[t] = scaled(routed[t], float64(m.RouterFactor))
	}
	logits := r.linear(m.Router, routed)
	out := zeros(x)
	for t := range out {
		for e, w := range r.route(&m.Routing, m.TopK, logits[t]) {
			if w != 0 {
				y := r.mlp(&m.Experts[e], x[t:t+1])[0]
				out[t] = sum(out[t], scaled(y, w))
			}
		}
	}
	if m.Shared != nil {
		shared := r.mlp(m.Shared, x)
		if m.SharedGate != nil {
			for t, g := range r.linear(m.SharedGate, x) {
				shared[t] = scaled(shared[t], sigmoid(g[0]))
			}
		}
		out = plus(out, shared)
	}
	return out
}

// route returns the weight of each expert.
func (r *run) route(rule *arch.Routing, k int, logits []float64) []float64 {
	if rule.Score == arch.SparseMixer {
		return sparseMixer(logits, float64(rule.Jitter))
	}
	var scores []float64
	if rule.Score == arch.SigmoidScore {
		for _, v := range logits {
			scores = append(scores, sigmoid(v))
		}
	} else {
		scores = softmax(logits)
	}
	choice := slices.Clone(scores)
	if rule.Correction != nil {
		choice = sum(choice, r.vector(rule.Correction))
	}
	if rule.Groups > 1 {
		size := len(choice) / rule.Groups
		best := make([]float64, rule.Groups)
		for g := range best {
			group := slices.Clone(choice[g*size : (g+1)*size])
			slices.Sort(group)
			for i := range rule.GroupBest {
				best[g] += group[size-1-i]
			}
		}
		kept := highest(best, rule.TopGroups)
		for e := range choice {
			if !kept[e/size] {
				choice[e] = math.Inf(-1)
			}
		}
	}
	chosen := highest(choice, k)
	weights, total := make([]float64, len(scores)), 0.0
	for e, s := range scores {
		if chosen[e] {
			weights[e] = s
			total += s
		}
	}
	if rule.Renormalize {
		weights = scaled(weights, 1/total)
	}
	weights = scaled(weights, float64(rule.Factor))
	if rule.ExpertScale != nil {
		for e, s := range r.vector(rule.ExpertScale) {
			weights[e] *= s
		}
	}
	return weights
}

// highest marks the k highest values.
func highest(x []float64, k int) []bool {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if x[a] > x[b] {
			return -1
		} else if x[a] < x[b] {
			return 1
		}
		return 0
	})
	marked := make([]bool, len(x))
	for _, i := range order[:k] {
		marked[i] = true
	}
	return marked
}

// sparseMixer takes the best expert, weighed by a softmax over those near it, and
// then the best of the others in the same way.
func sparseMixer(logits []float64, jitter float64) []float64 {
	weights := make([]float64, len(logits))
	left := slices.Clone(logits)
	for range 2 {
		best := slices.Max(left)
		at := slices.Index(left, best)
		near := make([]float64, len(left))
		for i, v := range left {
			near[i] = v
			if (best-logits[i])/max(math.Abs(logits[i]), best) > 2*jitter {
				near[i] = math.Inf(-1)
			}
		}
		weights[at] = softmax(near)[at]
		left[at] = math.Inf(-1)
	}
	return weights
}
