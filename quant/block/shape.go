package block

import (
	"errors"
	"fmt"
	"slices"

	"nibble/model/arch"
)

// Shape is the dimensions of a layer, and what its norms add to squares.
type Shape struct {
	Hidden, Heads, KVHeads, HeadDim, Inner int
	Eps                                    float32
	Rope                                   *arch.Rope
	AttnNorm, MLPNorm                      string // tensors of the norms' weights
}

// ErrShape reports a block that is not attention and a gated MLP, each after an
// RMSNorm, as Llama has them.
var ErrShape = errors.New("its gradient is not known")

// ShapeOf returns the shape of a model's block.
func ShapeOf(m *arch.Model, layer int) (Shape, error) {
	b := &m.Blocks[layer]
	fail := func(what string) (Shape, error) {
		return Shape{}, fmt.Errorf("layer %d has %s: %w", layer, what, ErrShape)
	}
	if b.Parallel || b.Scale != "" || len(b.Steps) != 2 {
		return fail("other steps than Llama's")
	}
	for _, s := range b.Steps {
		if len(s.Branches) != 1 || s.Scale != 1 || s.After != nil || !plainNorm(s.Branches[0].Pre) || s.Branches[0].Post != nil {
			return fail("other normalizations than Llama's")
		}
	}
	a, ok := b.Steps[0].Branches[0].Do.(*arch.Attention)
	m2, also := b.Steps[1].Branches[0].Do.(*arch.MLP)
	if !ok || !also {
		return fail("other steps than Llama's")
	}
	if a.Fused != nil || a.Gated || a.QNorm != nil || a.KNorm != nil || a.VNorm != nil || a.ValuesFromKeys || a.Clip != 0 || a.Slopes != nil || a.Temperature != nil ||
		a.SoftCap != 0 || a.Window != 0 || a.Sinks != nil || a.KVFrom >= 0 || !plainRope(a) {
		return fail("another attention than Llama's")
	}
	if m2.Gate == nil || m2.Act != arch.SiLU || m2.Limit != 0 {
		return fail("another MLP than Llama's")
	}
	n := b.Steps[0].Branches[0].Pre
	return Shape{m.Hidden, a.Heads, a.KVHeads, a.HeadDim, m2.Inner, n.Eps, a.Rope, n.Weight.Tensor, b.Steps[1].Branches[0].Pre.Weight.Tensor}, nil
}

func plainNorm(n *arch.Norm) bool {
	return n != nil && n.Kind == arch.RMSNorm && n.Weight != nil && n.Bias == nil && n.Offset == 0
}

// plainRope reports whether all elements of heads turn, half a head apart.
func plainRope(a *arch.Attention) bool {
	r := a.Rope
	root := 1 / float64(a.Scale)
	return r != nil && !r.Adjacent && r.Long == nil && r.Magnitude == 1 && 2*len(r.Frequencies) == a.HeadDim && slices.Max(r.Frequencies) > 0 &&
		root*root > float64(a.HeadDim)*0.999 && root*root < float64(a.HeadDim)*1.001
}
