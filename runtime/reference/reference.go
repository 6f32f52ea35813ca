package reference

import (
	"fmt"
	"math"

	"nibble/model/arch"
)

// Tensors returns a stored tensor's shape and elements.
type Tensors func(name string) (shape []int, elements []float64, err error)

// rows is one vector for each token.
type rows [][]float64

// Logits returns the logits after each token of a text.
func Logits(m *arch.Model, tensors Tensors, tokens []int) (logits [][]float64, err error) {
	r := &run{m: m, tensors: tensors, tokens: tokens, n: len(tokens)}
	defer func() {
		if e := recover(); e != nil {
			failed, ok := e.(failure)
			if !ok {
				panic(e)
			}
			err = failed.err
		}
	}()
	return r.forward(), nil
}

// failure carries an error out of the depths.
type failure struct{ err error }

func failf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// run is one forward pass.
type run struct {
	m        *arch.Model
	tensors  Tensors
	tokens   []int
	n        int
	perLayer []rows       // by block, with per-layer inputs
	keys     map[int]rows // by block, for those that share them
	values   map[int]rows
	block    int
}

func (r *run) forward() rows {
	r.keys, r.values = map[int]rows{}, map[int]rows{}
	x := r.embed()
	for i := range r.m.Blocks {
		r.block = i
		x = r.step(&r.m.Blocks[i], x)
	}
	x = r.norm(r.m.Norm, x)
	if p := r.m.Head.Project; p != nil {
		x = r.linear(p, x)
	}
	head := r.weight(&r.m.Head.Linear)
	if r.m.Head.Normalize {
		for _, w := range head {
			l := math.Sqrt(dot(w, w))
			for i := range w {
				w[i] /= l
			}
		}
	}
	out := r.multiply(head, r.m.Head.Bias, x)
	for _, y := range out {
		for i := range y {
			y[i] = capped(y[i]*float64(r.m.Head.Scale), r.m.Head.SoftCap)
		}
	}
	return out
}

func capped(v float64, limit float32) float64 {
	if limit == 0 {
		return v
	}
	return float64(limit) * math.Tanh(v/float64(limit))
}

func (r *run) embed() rows {
	e := &r.m.Embed
	table := r.weight(&e.Linear)
	x := make(rows, r.n)
	for t, id := range r.tokens {
		x[t] = scaled(table[id], float64(e.Scale))
	}
	if e.Project != nil {
		x = r.linear(e.Project, x)
	}
	if p := e.Positions; p != nil {
		w := r.vector(&arch.Vector{View: arch.View{Tensor: p.Tensor, Expert: -1}, Len: p.Rows * r.m.Hidden})
		for t := range x {
			at := (t + p.Offset) * r.m.Hidden
			x[t] = sum(x[t], w[at:at+r.m.Hidden])
		}
	}
	x = r.norm(e.Norm, x)
	if p := e.PerLayer; p != nil {
		table, projection := r.weight(&p.Table), r.weight(&p.Projection)
		r.perLayer = make([]rows, len(r.m.Blocks))
		projected := r.multiply(projection, nil, x)
		for i := range r.perLayer {
			part := make(rows, r.n)
			for t := range part {
				part[t] = scaled(projected[t][i*p.Width:(i+1)*p.Width], float64(p.ProjectionScale))
			}
			part = r.norm(p.Norm, part)
			for t, id := range r.tokens {
				part[t] = scaled(sum(part[t], scaled(table[id][i*p.Width:(i+1)*p.Width], float64(p.Scale))), float64(p.SumScale))
			}
			r.perLayer[i] = part
		}
	}
	return x
}

// step is one block.
func (r *run) step(b *arch.Block, x rows) rows {
	entered := x
	for _, s := range b.Steps {
		x = r.norm(s.Before, x)
		in := x
		if b.Parallel {
			in = entered
		}
		var added rows
		for _, branch := range s.Branches {
			y := r.norm(branch.Post, r.do(branch.Do, r.norm(branch.Pre, in), in))
			if added == nil {
				added = y
			} else {
				added = plus(added, y)
			}
		}
		added = r.norm(s.Norm, added)
		next := make(rows, r.n)
		for t := range next {
			next[t] = sum(x[t], scaled(added[t], float64(s.Scale)))
		}
		x = r.norm(s.After, next)
	}
	if b.Scale != "" {
		f := r.vector(&arch.Vector{View: arch.View{Tensor: b.Scale, Expert: -1}, Len: 1})[0]
		for t := range x {
			x[t] = scaled(x[t], f)
		}
	}
	return x
}

// do computes an op of x, what enters the branch being stream.
func (r *run) do(op arch.Op, x, stream rows) rows {
	switch op := op.(type) {
	case *arch.Attention:
		return r.attention(op, x)
	case *arch.LatentAttention:
		return r.latent(op, x)
	case *arch.MLP:
		return r.mlp(op, x)
	case *arch.MoE:
		return r.experts(op, x, stream)
	case *arch.DeltaRule:
		return r.deltaRule(op, x)
	case *arch.ShortConv:
		return r.shortConv(op, x)
	case *arch.SSM:
		return r.ssm(op, x)
	case *arch.PerLayerInput:
		gate := r.linear(op.Gate, x)
		for t, g := range gate {
			for i := range g {
				g[i] = activate(op.Act, g[i]) * r.perLayer[r.block][t][i]
			}
		}
		return r.linear(op.Out, gate)
	}
	failf("no such step: %T", op)
	return nil
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

func sum(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

func plus(a, b rows) rows {
	out := make(rows, len(a))
	for t := range a {
		out[t] = sum(a[t], b[t])
	}
	return out
}

func scaled(a []float64, f float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] * f
	}
	return out
}
