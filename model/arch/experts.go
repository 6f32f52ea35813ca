package arch

import "fmt"

// mostExperts bounds those of a whole model, so that a config of a few bytes does
// not fill the memory.
const mostExperts = 1 << 17

// mixture is a mixture of gated experts whose router scores by softmax. The files
// hold a matrix for each expert, or stacks of all experts' as transformers 5
// writes them for new families.
func (d *decoder) mixture(layer int, router, experts string, inner int) *MoE {
	return d.mixtureOf(layer, router, experts, [3]string{"gate_proj", "up_proj", "down_proj"}, inner)
}

// mixtureOf is mixture with other names of an expert's gate, up and down; without the
// first, experts have no gate.
func (d *decoder) mixtureOf(layer int, router, experts string, names [3]string, inner int) *MoE {
	n := d.c.bounded(maxExperts, "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
	if n*d.layers > mostExperts {
		d.c.fail(fmt.Errorf("%w: %d experts in each of %d layers are too many", ErrConfig, n, d.layers))
		n = 1
	}
	m := &MoE{
		Router:       d.linear(layer, router, RoleRouter, n, d.hidden, false),
		RouterFactor: 1,
		Routing:      Routing{Score: SoftmaxScore, Factor: 1},
		TopK:         min(d.c.bounded(maxExperts, "num_experts_per_tok", "top_k_experts", "moe_topk", "moe_k"), n),
	}
	m.Router.Keep = true
	stacked := d.c.Stored(d.in(layer, experts+".gate_up_proj"))
	for e := range n {
		name := fmt.Sprintf("%s.%d", experts, e)
		if names[0] == "" {
			m.Experts = append(m.Experts, d.with(inner).plain(layer, name+"."+names[1], name+"."+names[2], d.mlpBias).of(e))
			continue
		}
		x := d.gated(layer, name, names[0], names[1], names[2], inner)
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
