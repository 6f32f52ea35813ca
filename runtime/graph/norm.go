package graph

import (
	"math"

	"nibble/kernels"
	"nibble/model/arch"
)

// Norm normalizes rows, group by group.
type Norm struct {
	kind   arch.NormKind
	weight []float32 // with what is added to them; of one group or of all
	bias   []float32 // nil for none
	width  int
	eps    float32
}

// newNorm gives a description its weights, which vector finds by the names of
// tensors. Without a description there is no norm: it is nil.
func newNorm(n *arch.Norm, vector func(tensor string) []float32) *Norm {
	if n == nil {
		return nil
	}
	out := &Norm{kind: n.Kind, width: n.Width, eps: n.Eps}
	if n.Weight != nil {
		out.weight = vector(n.Weight.Tensor)
	}
	if n.Bias != nil {
		out.bias = vector(n.Bias.Tensor)
	}
	if n.Weight == nil || n.Offset != 0 {
		weight := make([]float32, max(len(out.weight), n.Width))
		for i := range weight {
			if n.Weight == nil {
				weight[i] = 1
			} else {
				weight[i] = out.weight[i] + n.Offset
			}
		}
		out.weight = weight
	}
	return out
}

// Row normalizes a row; dst may be x.
func (n *Norm) Row(e *kernels.Engine, dst, x []float32) {
	for at := 0; at < len(x); at += n.width {
		weight := n.weight[at%len(n.weight):][:n.width]
		if n.kind == arch.RMSNorm {
			e.RMSNorm(dst[at:at+n.width], x[at:at+n.width], weight, n.eps)
		} else {
			n.layerNorm(dst[at:at+n.width], x[at:at+n.width], weight)
		}
		if n.bias != nil {
			e.Add(dst[at:at+n.width], n.bias[at%len(n.bias):][:n.width])
		}
	}
}

// layerNorm subtracts the mean and divides by the standard deviation.
func (n *Norm) layerNorm(dst, x, weight []float32) {
	mean, squares := 0.0, 0.0
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	inverse := 1 / math.Sqrt(squares/float64(len(x))+float64(n.eps))
	for i, v := range x {
		dst[i] = float32((float64(v)-mean)*inverse) * weight[i]
	}
}

// Gradient stores the gradient of a row x for that of what Row makes of it, d.
// dst is neither.
func (n *Norm) Gradient(dst, d, x []float32) {
	for at := 0; at < len(x); at += n.width {
		weight := n.weight[at%len(n.weight):][:n.width]
		if n.kind == arch.RMSNorm {
			n.rmsGradient(dst[at:at+n.width], d[at:at+n.width], x[at:at+n.width], weight)
		} else {
			n.layerGradient(dst[at:at+n.width], d[at:at+n.width], x[at:at+n.width], weight)
		}
	}
}

func (n *Norm) rmsGradient(dst, d, x, w []float32) {
	var squares, dot float64
	for i, v := range x {
		squares += float64(v) * float64(v)
		dot += float64(d[i]*w[i]) * float64(v)
	}
	count := float64(len(x))
	inv := 1 / math.Sqrt(squares/count+float64(n.eps))
	a, b := float32(inv), float32(dot*inv*inv*inv/count)
	for i, v := range x {
		dst[i] = a*d[i]*w[i] - b*v
	}
}

func (n *Norm) layerGradient(dst, d, x, w []float32) {
	count, mean, squares, sum, dot := float64(len(x)), 0.0, 0.0, 0.0, 0.0
	for _, v := range x {
		mean += float64(v)
	}
	mean /= count
	for i, v := range x {
		apart, g := float64(v)-mean, float64(d[i])*float64(w[i])
		squares += apart * apart
		sum += g
		dot += g * apart
	}
	inv := 1 / math.Sqrt(squares/count+float64(n.eps))
	for i, v := range x {
		g := float64(d[i]) * float64(w[i])
		dst[i] = float32(inv * (g - sum/count - (float64(v)-mean)*dot*inv*inv/count))
	}
}
