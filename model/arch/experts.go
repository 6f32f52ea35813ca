package arch

import "fmt"

// mixture is a mixture of gated experts whose router scores by softmax. The files
// hold a matrix for each expert, or stacks of all experts' as transformers 5
// writes them for new families.
func (d *decoder) mixture(layer int, router, experts string, inner int) *MoE {
	n := d.c.bounded(maxExperts, "num_experts", "num_local_experts", "n_routed_experts")
	m := &MoE{
		Router:       d.linear(layer, router, RoleRouter, n, d.hidden, false),
		RouterFactor: 1,
		Routing:      Routing{Score: SoftmaxScore, Factor: 1},
		TopK:         d.c.bounded(n, "num_experts_per_tok", "top_k_experts"),
	}
	m.Router.Keep = true
	stacked := d.c.Stored(d.in(layer, experts+".gate_up_proj"))
	for e := range n {
		x := d.mlp(layer, fmt.Sprintf("%s.%d", experts, e), inner)
		if stacked {
			gateUp, down := d.in(layer, experts+".gate_up_proj"), d.in(layer, experts+".down_proj")
			x.Gate.View = View{Tensor: gateUp, Expert: e}
			x.Up.View = View{Tensor: gateUp, Expert: e, First: inner}
			x.Down.View = View{Tensor: down, Expert: e}
		}
		m.Experts = append(m.Experts, x.of(e))
	}
	return m
}

// of says which expert an MLP is.
func (m *MLP) of(expert int) MLP {
	for _, l := range []*Linear{m.Gate, m.Up, m.GateUp, m.Down} {
		if l != nil {
			l.Expert = expert
		}
	}
	return *m
}
