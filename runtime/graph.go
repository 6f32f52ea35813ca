package runtime

import (
	"context"
	"fmt"
	"slices"

	"nibble/kernels"
	"nibble/model/arch"
)

// graph is a description with its names resolved: what the forward pass walks.
type graph struct {
	embed     embedding
	blocks    []block
	norm      *Norm
	head      linear
	headBias  []float32
	headUnits []float32    // what brings the rows of the head to length 1; nil where that is not done
	caches    []cacheShape // of the steps that keep keys and values
	recurrent []recurrence // of those that keep a state
	longFrom  int          // longer texts have rotations of their own; 0 for none
}

// block is one layer.
type block struct {
	steps    []step
	parallel bool
	scale    float32 // of what leaves it; 0 for none
	caches   []int   // of keys and values that it uses
	shared   []int   // those of them that later blocks use as well
}

// step adds its branches to the stream.
type step struct {
	branches []branch
	norm     *Norm // of several branches' sum
	scale    float32
	after    *Norm
}

// branch is an operation between its normalizations.
type branch struct {
	pre, post *Norm
	op        operation
}

// operation is what a branch computes.
type operation interface {
	// run stores in dst what the operation gives for x; both are n rows as wide as the
	// stream, and may be the same.
	run(ctx context.Context, s *Session, n int, x, dst []float32) error
}

// linear is a matrix with its optional bias.
type linear struct {
	*kernels.Linear
	name  string
	input string // what it reads, see arch.Linear
	bias  []float32
}

// cacheShape is that of a cache of keys and values.
type cacheShape struct{ heads, dim int }

// start returns an empty cache.
func (c cacheShape) start(dt kernels.DType) *kernels.KVCache {
	kv, err := kernels.NewKVCache(c.heads, c.dim, dt)
	if err != nil {
		panic(err) // a description is validated
	}
	return kv
}

// compiler resolves the names of a description.
type compiler struct {
	m      *Model
	g      *graph
	caches map[int]int // of the blocks that have one, by block
	uses   []int       // of the block at hand
}

// compile resolves all names once, so that the forward pass looks nothing up.
func (m *Model) compile() {
	c := &compiler{m: m, g: &graph{}, caches: make(map[int]int)}
	d := m.Config.Model
	c.g.embed = c.embedding(&d.Embed)
	for i := range d.Blocks {
		c.uses = nil
		b := c.block(i, &d.Blocks[i])
		b.caches = c.uses
		c.g.blocks = append(c.g.blocks, b)
	}
	c.g.norm = c.norm(d.Norm)
	c.g.head, c.g.headBias = c.linear(&d.Head.Linear), c.vector(d.Head.Bias)
	if c.g.head.bias != nil {
		c.g.headBias = c.g.head.bias
	}
	if d.Head.Normalize {
		if old := m.graph; old != nil && old.head.Linear == c.g.head.Linear { // of the model that this one was made of
			c.g.headUnits = old.headUnits
		} else {
			c.g.headUnits = unitFactors(m.Engine, c.g.head.Linear)
		}
	}
	m.graph = c.g
}

func (c *compiler) linear(l *arch.Linear) linear {
	if l == nil {
		return linear{}
	}
	return linear{c.m.linears[l.Path], l.Path, l.Input, c.m.shared.biases[l.Path]}
}

func (c *compiler) vector(v *arch.Vector) []float32 {
	if v == nil {
		return nil
	}
	return c.tensor(v.Tensor)
}

// tensor returns one that is no matrix.
func (c *compiler) tensor(name string) []float32 { return c.m.shared.vectors[name] }

func (c *compiler) block(i int, b *arch.Block) block {
	out := block{parallel: b.Parallel}
	for _, s := range b.Steps {
		next := step{norm: c.norm(s.Norm), after: c.norm(s.After), scale: s.Scale}
		for _, br := range s.Branches {
			next.branches = append(next.branches, branch{c.norm(br.Pre), c.norm(br.Post), c.operation(i, br.Do)})
		}
		out.steps = append(out.steps, next)
	}
	if b.Scale != "" {
		out.scale = c.m.shared.vectors[b.Scale][0]
	}
	return out
}

func (c *compiler) operation(block int, op arch.Op) operation {
	switch op := op.(type) {
	case *arch.Attention:
		return c.attention(block, op)
	case *arch.LatentAttention:
		return c.latentAttention(op)
	case *arch.MLP:
		return c.mlp(op)
	case *arch.MoE:
		return c.experts(op)
	case *arch.DeltaRule:
		return c.deltaRule(op)
	case *arch.ShortConv:
		return c.shortConv(op)
	case *arch.SSM:
		return c.ssm(op)
	case *arch.PerLayerInput:
		return &perLayerInput{gate: c.linear(op.Gate), out: c.linear(op.Out), act: op.Act, width: op.Width, block: block}
	}
	panic(fmt.Sprintf("runtime: no operation for %T", op))
}

// ropes returns a rotation and that of long texts, nil where that is the same.
func (c *compiler) ropes(r *arch.Rope) (short, long *rope) {
	short, long = c.m.shared.ropes.of(r)
	if long != nil {
		c.g.longFrom = long.from
	}
	return short, long
}

// cache adds a cache of keys and values and returns its number.
func (c *compiler) cache(heads, dim int) int {
	c.g.caches = append(c.g.caches, cacheShape{heads, dim})
	c.uses = append(c.uses, len(c.g.caches)-1)
	return len(c.g.caches) - 1
}

// cacheOf returns the cache of another block, which shares it from now on.
func (c *compiler) cacheOf(block int) int {
	n, owner := c.caches[block], &c.g.blocks[block]
	if !slices.Contains(owner.shared, n) {
		owner.shared = append(owner.shared, n)
	}
	c.uses = append(c.uses, n)
	return n
}

// state adds a recurrent state and returns its number.
func (c *compiler) state(r recurrence) int {
	c.g.recurrent = append(c.g.recurrent, r)
	return len(c.g.recurrent) - 1
}
