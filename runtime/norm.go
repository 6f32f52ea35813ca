package runtime

import (
	"math"

	"nibble/kernels"
	"nibble/model/arch"
)

// norm normalizes rows, group by group.
type norm struct {
	kind   arch.NormKind
	weight []float32 // with what is added to them; of one group or of all
	bias   []float32 // nil for none
	width  int
	eps    float32
}

func (c *compiler) norm(n *arch.Norm) *norm {
	if n == nil {
		return nil
	}
	out := &norm{kind: n.Kind, weight: c.vector(n.Weight), bias: c.vector(n.Bias), width: n.Width, eps: n.Eps}
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

// row normalizes a row; dst may be x.
func (n *norm) row(e *kernels.Engine, dst, x []float32) {
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
func (n *norm) layerNorm(dst, x, weight []float32) {
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
