package arch

import "fmt"

// visitor receives the tensors of a step: its matrices, whose biases come with
// them, with a name of what they
// read that is the same for those that read the same ("" is what enters the
// step), and its other tensors.
type visitor struct {
	linear func(l *Linear, input string)
	vector func(v *Vector)
}

// matrices visits those that are not nil.
func (v visitor) matrices(input string, ls ...*Linear) {
	for _, l := range ls {
		if l != nil {
			v.linear(l, input)
		}
	}
}

// vectors visits those that are not nil.
func (v visitor) vectors(xs ...*Vector) {
	for _, x := range xs {
		if x != nil {
			v.vector(x)
		}
	}
}

// norms visits the tensors of those that are not nil.
func (v visitor) norms(ns ...*Norm) {
	for _, n := range ns {
		if n != nil {
			v.vectors(n.Weight, n.Bias)
		}
	}
}

func (a *Attention) parts(v visitor) {
	v.matrices("", a.Q, a.K, a.V, a.Fused)
	v.norms(a.QNorm, a.KNorm, a.VNorm)
	v.vectors(a.Sinks)
	v.matrices("attention", a.O)
}

func (a *LatentAttention) parts(v visitor) {
	v.matrices("", a.Q, a.QA, a.KVA)
	v.norms(a.QANorm, a.KVANorm)
	v.matrices("queries", a.QB)
	v.matrices("latent", a.KVB)
	v.matrices("attention", a.O)
}

func (m *MLP) parts(v visitor) { m.named(v, "") }

func (m *MLP) named(v visitor, name string) {
	v.matrices("", m.Gate, m.Up, m.GateUp)
	v.matrices(name+"inner", m.Down)
}

func (m *MoE) parts(v visitor) {
	v.norms(m.RouterNorm)
	v.vectors(m.RouterScale, m.Routing.Correction, m.Routing.ExpertScale)
	if m.RouterNorm != nil || m.RouterScale != nil {
		v.matrices("router", m.Router)
	} else {
		v.matrices("", m.Router)
	}
	for i := range m.Experts {
		e := &m.Experts[i]
		// An expert reads only the tokens that chose it.
		name := fmt.Sprintf("expert%d.", i)
		v.matrices(name+"in", e.Gate, e.Up, e.GateUp)
		v.matrices(name+"inner", e.Down)
	}
	if m.Shared != nil {
		m.Shared.named(v, "shared.")
	}
	v.matrices("", m.SharedGate)
}

func (d *DeltaRule) parts(v visitor) {
	v.matrices("", d.In, d.Z, d.B, d.A)
	v.vectors(d.Conv, d.ALog, d.DtBias)
	v.norms(d.Norm)
	v.matrices("gated", d.Out)
}

func (s *ShortConv) parts(v visitor) {
	v.matrices("", s.In)
	v.vectors(s.Conv, s.Bias)
	v.matrices("gated", s.Out)
}

func (s *SSM) parts(v visitor) {
	v.matrices("", s.In)
	v.vectors(s.Conv, s.ConvBias, s.ALog, s.D, s.DtBias)
	v.norms(s.Norm)
	v.matrices("gated", s.Out)
}

func (p *PerLayerInput) parts(v visitor) {
	v.matrices("", p.Gate)
	v.matrices("inner", p.Out)
}

// walk visits every tensor in the order of the forward pass. Inputs are unique
// to the model.
func (m *Model) walk(v visitor) {
	v.matrices("tokens", &m.Embed.Linear)
	v.matrices("rows", m.Embed.Project)
	if p := m.Embed.Positions; p != nil {
		v.vector(table(p.Tensor, p.Rows, m.Hidden))
	}
	v.norms(m.Embed.Norm)
	if p := m.Embed.PerLayer; p != nil {
		v.matrices("tokens", &p.Table)
		v.matrices("embedded", &p.Projection)
		v.norms(p.Norm)
	}
	for i := range m.Blocks {
		b := &m.Blocks[i]
		for s := range b.Steps {
			step := &b.Steps[s]
			v.norms(step.Before)
			for j, branch := range step.Branches {
				in := fmt.Sprintf("%d.%d.%d", i, s, j)
				if b.Parallel && branch.Pre != nil && s > 0 && branch.Pre == b.Steps[0].Branches[0].Pre {
					in = fmt.Sprintf("%d.0.0", i) // steps that share a norm read the same
				}
				own := fmt.Sprintf("%d.%d.%d.", i, s, j)
				v.norms(branch.Pre)
				branch.Do.parts(visitor{
					linear: func(l *Linear, input string) {
						if input == "" {
							v.linear(l, in)
						} else {
							v.linear(l, own+input)
						}
					},
					vector: v.vector,
				})
				v.norms(branch.Post)
			}
			v.norms(step.Norm, step.After)
		}
		if b.Scale != "" {
			v.vector(vector(b.Scale, 1))
		}
	}
	v.norms(m.Norm)
	v.matrices("last", m.Head.Project)
	if !m.Tied {
		v.matrices("head", &m.Head.Linear)
	} else if m.Head.Bias != nil {
		v.vector(m.Head.Bias)
	}
}

// connect says of every matrix what it reads.
func (m *Model) connect() {
	m.walk(visitor{
		linear: func(l *Linear, input string) { l.Input = input },
		vector: func(*Vector) {},
	})
}

// Linears lists the matrices in the order of the forward pass, a tied embedding
// once, as the embedding.
func (m *Model) Linears() []*Linear {
	var all []*Linear
	m.walk(visitor{
		linear: func(l *Linear, _ string) { all = append(all, l) },
		vector: func(*Vector) {},
	})
	return all
}

// Vectors lists all other tensors but the biases of matrices, in the order of the
// forward pass. A norm that two steps share is listed for each.
func (m *Model) Vectors() []*Vector {
	var all []*Vector
	m.walk(visitor{
		linear: func(*Linear, string) {},
		vector: func(v *Vector) { all = append(all, v) },
	})
	return all
}

// validate finds mistakes of a family's page: what no config may cause.
func (m *Model) validate() error {
	seen := make(map[string]bool)
	for _, l := range m.Linears() {
		switch {
		case seen[l.Path]:
			return fmt.Errorf("%w: %s is described twice", ErrConfig, l.Path)
		case l.Rows < 1 || l.Cols < 1 || l.Rows > maxVocab || l.Cols > maxVocab:
			return fmt.Errorf("%w: %s would be %d x %d", ErrConfig, l.Path, l.Rows, l.Cols)
		}
		seen[l.Path] = true
	}
	return nil
}
