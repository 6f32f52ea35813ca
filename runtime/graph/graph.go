package graph

import (
	"context"
	"fmt"
	"slices"

	"nibble/kernels"
	"nibble/model/arch"
)

// Graph is a description with its names resolved: what a walk goes through.
type Graph struct {
	Blocks []Block
	Head   Head

	eng        *kernels.Engine
	hidden     int
	embed      embedding
	Norm       *Norm // of the last states; nil for none
	linears    []*Linear
	caches     []shape      // of the steps that keep keys and values
	recurrent  []recurrence // of those that keep a state
	operations int
	longFrom   int
}

// Parts are what a description's names stand for.
type Parts struct {
	Weight func(l *arch.Linear) (Weight, error)
	Bias   func(path string) []float32   // of a matrix; nil for none
	Vector func(tensor string) []float32 // any other tensor
	Ropes  *Ropes                        // tables of rotations that graphs of one description share; nil for new ones
	Units  []float32                     // what brings the rows of the head to length 1, where that is done; nil to compute them
}

// operation is what a branch computes.
type operation interface {
	// forward stores in dst what the operation gives for x. It changes neither x nor the
	// stream, and leaves in its record what backward needs.
	forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) error
	// backward stores in dx the gradient of x for d, that of what forward gave, and adds
	// those of the matrices. It may not change d.
	backward(ctx context.Context, p *Pass, d, dx kernels.Matrix) error
}

// compiler resolves the names of a description.
type compiler struct {
	g      *Graph
	parts  Parts
	caches map[int]*attention // those that keep keys and values, by block
	norms  map[*arch.Norm]*Norm
	uses   []int // caches of the block at hand
	column int   // of what the block at hand gets besides the stream
	err    error
}

func newCompiler(eng *kernels.Engine, parts Parts) *compiler {
	if parts.Ropes == nil {
		parts.Ropes = new(Ropes)
	}
	return &compiler{g: &Graph{eng: eng}, parts: parts, caches: map[int]*attention{}, norms: map[*arch.Norm]*Norm{}}
}

// Compile resolves all names of a model once, so that walks look nothing up.
func Compile(eng *kernels.Engine, d *arch.Model, parts Parts) (*Graph, error) {
	c := newCompiler(eng, parts)
	c.g.hidden = d.Hidden
	c.g.embed = c.embedding(&d.Embed)
	for i := range d.Blocks {
		if d.Embed.PerLayer != nil {
			c.column = i * d.Embed.PerLayer.Width
		}
		c.block(i, &d.Blocks[i])
	}
	c.g.Norm = c.norm(d.Norm)
	c.g.Head = c.head(&d.Head)
	return c.g, c.err
}

// CompileBlock resolves those of a block, which is the only one of its graph. What it
// takes of other blocks enters with its texts.
func CompileBlock(eng *kernels.Engine, d *arch.Block, parts Parts) (*Graph, error) {
	c := newCompiler(eng, parts)
	c.block(0, d)
	return c.g, c.err
}

// LongFrom is how many positions a text has at most that is not rotated as a long one; 0
// for no difference.
func (g *Graph) LongFrom() int { return g.longFrom }

func (c *compiler) norm(n *arch.Norm) *Norm {
	if n == nil {
		return nil
	}
	if c.norms[n] == nil {
		c.norms[n] = newNorm(n, c.parts.Vector)
	}
	return c.norms[n]
}

func (c *compiler) vector(v *arch.Vector) []float32 {
	if v == nil {
		return nil
	}
	return c.parts.Vector(v.Tensor)
}

// number gives an operation its place among the records of a pass.
func (c *compiler) number() int {
	c.g.operations++
	return c.g.operations - 1
}

func (c *compiler) block(i int, d *arch.Block) {
	c.uses = nil
	b := Block{}
	for _, s := range d.Steps {
		next := step{number: c.number(), before: c.norm(s.Before), norm: c.norm(s.Norm), after: c.norm(s.After), scale: s.Scale}
		for _, br := range s.Branches {
			next.branches = append(next.branches, branch{number: c.number(), pre: c.norm(br.Pre), post: c.norm(br.Post), op: c.operation(i, br.Do)})
		}
		if d.Parallel && len(b.steps) > 0 { // a sum of branches, whatever they are called
			b.steps[0].branches = append(b.steps[0].branches, next.branches...)
		} else {
			b.steps = append(b.steps, next)
		}
	}
	if d.Scale != "" {
		b.scale = c.parts.Vector(d.Scale)[0]
	}
	b.Caches = c.uses
	c.g.Blocks = append(c.g.Blocks, b)
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
		return c.perLayerInput(op)
	}
	panic(fmt.Sprintf("graph: no operation for %T", op))
}

// cache adds a cache of keys and values and returns its number.
func (c *compiler) cache(heads, dim int) int {
	c.g.caches = append(c.g.caches, shape{heads, dim})
	c.uses = append(c.uses, len(c.g.caches)-1)
	return len(c.g.caches) - 1
}

// cacheOf returns the cache of another block, which shares it from now on. Where that is
// not in the graph, it is one of the same shape.
func (c *compiler) cacheOf(block int, heads, dim int) int {
	owner := c.caches[block]
	if owner == nil {
		return c.cache(heads, dim)
	}
	owner.lends = true
	if b := &c.g.Blocks[block]; !slices.Contains(b.Shared, owner.cache) {
		b.Shared = append(b.Shared, owner.cache)
	}
	c.uses = append(c.uses, owner.cache)
	return owner.cache
}

// state adds a recurrent state and returns its number.
func (c *compiler) state(r recurrence) int {
	c.g.recurrent = append(c.g.recurrent, r)
	return len(c.g.recurrent) - 1
}
