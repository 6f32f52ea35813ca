package arch

import (
	"iter"
	"slices"
)

// Ops goes through the operations of a block.
func (b *Block) Ops() iter.Seq[Op] {
	return func(yield func(Op) bool) {
		for _, s := range b.Steps {
			for _, br := range s.Branches {
				if !yield(br.Do) {
					return
				}
			}
		}
	}
}

// Norms lists the norms of what enters and leaves the operations of a block.
func (b *Block) Norms() []*Norm {
	var all []*Norm
	for _, s := range b.Steps {
		all = append(all, s.Before)
		for _, br := range s.Branches {
			all = append(all, br.Pre, br.Post)
		}
		all = append(all, s.Norm, s.After)
	}
	return slices.DeleteFunc(all, func(n *Norm) bool { return n == nil })
}

// Widths are the largest dimensions of a block, for estimates of what it takes.
type Widths struct {
	Heads, KVHeads, HeadDim int // of attention; 0 without
	Inner                   int // between the matrices of the feed-forward step, for each token
	Recurrent               int // that enter a recurrent step or a convolution, gates included, for each token; 0 without
}

// Widths returns the largest dimensions of any block.
func (m *Model) Widths() Widths {
	var w Widths
	for i := range m.Blocks {
		for op := range m.Blocks[i].Ops() {
			switch op := op.(type) {
			case *Attention:
				if op.Heads*op.HeadDim > w.Heads*w.HeadDim {
					w.Heads, w.KVHeads, w.HeadDim = op.Heads, op.KVHeads, op.HeadDim
				}
			case *LatentAttention:
				if dim := op.NopeDim + op.RopeDim; op.Heads*dim > w.Heads*w.HeadDim {
					w.Heads, w.KVHeads, w.HeadDim = op.Heads, op.Heads, dim
				}
			case *MLP:
				w.Inner = max(w.Inner, op.Inner)
			case *MoE:
				inner := op.TopK * op.Experts[0].Inner
				if op.Shared != nil {
					inner += op.Shared.Inner
				}
				w.Inner = max(w.Inner, inner)
			case *DeltaRule:
				w.Recurrent = max(w.Recurrent, 2*op.KeyHeads*op.KeyDim+2*op.ValueHeads*op.ValueDim)
			case *ShortConv:
				w.Recurrent = max(w.Recurrent, 3*op.Width)
			case *SSM:
				w.Recurrent = max(w.Recurrent, op.In.Rows)
			}
		}
	}
	return w
}

// CacheBytes is what keys and values of a position take at some bytes for each
// element.
func (m *Model) CacheBytes(size int) int64 {
	n := 0
	for i := range m.Blocks {
		for op := range m.Blocks[i].Ops() {
			switch op := op.(type) {
			case *Attention:
				if op.KVFrom < 0 {
					n += 2 * op.KVHeads * op.HeadDim
				}
			case *LatentAttention:
				n += 2 * op.Heads * max(op.NopeDim+op.RopeDim, op.ValueDim)
			}
		}
	}
	return int64(n) * int64(size)
}

// Census counts the layers of a model by what they have.
type Census struct {
	Attention int // layers that attend to keys and values
	Windowed  int // those of them that see no further than Window
	Window    int // the largest window
	MoE       int // layers with experts
	Experts   int // the most in a layer
	TopK      int // of them for each token
}

// Census counts the layers.
func (m *Model) Census() Census {
	var c Census
	for i := range m.Blocks {
		for op := range m.Blocks[i].Ops() {
			switch op := op.(type) {
			case *Attention:
				c.Attention++
				if op.Window > 0 {
					c.Windowed++
					c.Window = max(c.Window, op.Window)
				}
			case *LatentAttention:
				c.Attention++
			case *MoE:
				c.MoE++
				c.Experts, c.TopK = max(c.Experts, len(op.Experts)), max(c.TopK, op.TopK)
			}
		}
	}
	return c
}
