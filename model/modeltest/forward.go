package modeltest

import (
	"fmt"
	"math"
)

// Pass is what a forward pass over one text computes, position by position.
type Pass struct {
	Logits [][]float64
	Hidden [][]float64            // after the last normalization
	States [][][]float64          // the residual stream: embedded, then after each layer
	Inputs map[string][][]float64 // what enters each matrix, by module
}

// Forward computes the whole text at once.
func (m *Model) Forward(ids []int32) *Pass {
	c := m.Config
	p := &Pass{Inputs: make(map[string][][]float64)}
	apply := func(module string, x [][]float64) [][]float64 {
		p.Inputs[module] = x
		return m.linear(module, x)
	}
	x := make([][]float64, len(ids))
	embed := m.Tensors["model.embed_tokens.weight"]
	for i, id := range ids {
		x[i] = embed.row(int(id))
	}
	p.States = append(p.States, x)
	for l := range c.Layers {
		name := fmt.Sprintf("model.layers.%d.", l)
		in := m.norm(name+"input_layernorm.weight", x)
		q, k, v := apply(name+"self_attn.q_proj", in), apply(name+"self_attn.k_proj", in), apply(name+"self_attn.v_proj", in)
		for i := range x {
			c.rotate(q[i], i)
			c.rotate(k[i], i)
		}
		x = sum(x, apply(name+"self_attn.o_proj", c.attend(q, k, v)))
		in = m.norm(name+"post_attention_layernorm.weight", x)
		gate, up := apply(name+"mlp.gate_proj", in), apply(name+"mlp.up_proj", in)
		for i := range gate {
			for j, g := range gate[i] {
				gate[i][j] = g / (1 + math.Exp(-g)) * up[i][j]
			}
		}
		x = sum(x, apply(name+"mlp.down_proj", gate))
		p.States = append(p.States, x)
	}
	p.Hidden = m.norm("model.norm.weight", x)
	head := "lm_head"
	if c.Tied {
		head = "model.embed_tokens"
	}
	p.Logits = apply(head, p.Hidden)
	return p
}

func (t Tensor) row(i int) []float64 { return t.Data[i*t.Cols : (i+1)*t.Cols] }

// linear is x W^T + b.
func (m *Model) linear(module string, x [][]float64) [][]float64 {
	w, b := m.Tensors[module+".weight"], m.Tensors[module+".bias"]
	out := make([][]float64, len(x))
	for i := range x {
		out[i] = make([]float64, w.Rows)
		copy(out[i], b.Data)
		for r := range out[i] {
			out[i][r] += dot(w.row(r), x[i])
		}
	}
	return out
}

// norm divides each row by its root mean square and multiplies it by weights.
func (m *Model) norm(name string, x [][]float64) [][]float64 {
	w := m.Tensors[name].Data
	out := make([][]float64, len(x))
	for i := range x {
		rms := math.Sqrt(dot(x[i], x[i])/float64(len(x[i])) + m.Config.Eps)
		out[i] = make([]float64, len(w))
		for j, v := range x[i] {
			out[i][j] = v / rms * w[j]
		}
	}
	return out
}

// rotate turns the heads of a row by its position.
func (c Config) rotate(row []float64, position int) {
	half := c.HeadDim / 2
	for h := 0; h < len(row); h += c.HeadDim {
		for i := range half {
			sin, cos := math.Sincos(float64(position) * c.Frequency(i))
			a, b := row[h+i], row[h+i+half]
			row[h+i], row[h+i+half] = a*cos-b*sin, b*cos+a*sin
		}
	}
}

// Frequency is the angle by which a position turns pair i.
func (c Config) Frequency(i int) float64 {
	f, s := 1/math.Pow(c.Theta, float64(2*i)/float64(c.HeadDim)), c.Scaling
	switch s.Type {
	case "linear":
		return f / s.Factor
	case "llama3":
		turns := s.Original * f / (2 * math.Pi) // in the context of the training
		smooth := min(max((turns-s.Low)/(s.High-s.Low), 0), 1)
		return smooth*f + (1-smooth)*f/s.Factor
	}
	return f
}

// attend is causal attention; query heads in a row share a key-value head.
func (c Config) attend(q, k, v [][]float64) [][]float64 {
	d, share := c.HeadDim, c.Heads/c.KVHeads
	out := make([][]float64, len(q))
	for i := range q {
		out[i] = make([]float64, len(q[i]))
		for h := range c.Heads {
			at := h / share * d
			weights, total := make([]float64, i+1), 0.0
			for j := range weights {
				weights[j] = math.Exp(dot(q[i][h*d:(h+1)*d], k[j][at:at+d]) / math.Sqrt(float64(d)))
				total += weights[j]
			}
			for j, w := range weights {
				for e := range d {
					out[i][h*d+e] += w / total * v[j][at+e]
				}
			}
		}
	}
	return out
}

func sum(a, b [][]float64) [][]float64 {
	out := make([][]float64, len(a))
	for i := range a {
		out[i] = make([]float64, len(a[i]))
		for j := range a[i] {
			out[i][j] = a[i][j] + b[i][j]
		}
	}
	return out
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// Text draws ids from the vocabulary.
func (c Config) Text(n int) []int32 {
	ids := make([]int32, n)
	for i, x := 0, 7; i < n; i++ {
		x = (x*1103 + 12345) % 65537
		ids[i] = int32(x % c.Vocab)
	}
	return ids
}

// Distance is the largest difference of two rows, in deviations of want.
func Distance(got []float32, want []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	mean, squares := 0.0, 0.0
	for _, v := range want {
		mean += v / float64(len(want))
	}
	worst := 0.0
	for i, v := range want {
		squares += (v - mean) * (v - mean) / float64(len(want))
		if d := math.Abs(float64(got[i]) - v); d > worst || math.IsNaN(d) {
			worst = d
		}
	}
	return worst / math.Sqrt(squares)
}
