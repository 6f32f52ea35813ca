package block

import (
	"context"
	"fmt"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// Parts are what a description's names stand for.
type Parts struct {
	Weight    func(l *arch.Linear) (Weight, error)
	Bias      func(path string) []float32   // of a matrix; nil for none
	Vector    func(tensor string) []float32 // any other tensor
	Rotations func(r *arch.Rope) (cos, sin []float32)
	Row       func(dst []float32, l *arch.Linear, token int) // of a matrix that is looked up
}

// Block is a block of a model with its weights, and what its last forward pass
// computed. It belongs to one goroutine.
type Block struct {
	eng      *kernels.Engine
	steps    []step
	parallel bool
	scale    float32 // of what leaves the block; 0 for none
	linears  map[string]*linear
	most     int // tokens of a text, by the rotations there are

	texts    Texts
	kept     memory // of the forward pass
	room     *room
	stream   kernels.Matrix // what enters the branch at hand,
	dstream  kernels.Matrix // and the gradient of that by other ways than the branch's norm
	perLayer kernels.Matrix // the gradient of Texts.PerLayer
	lender   *attention     // whose keys and values other blocks may use
	lends    bool           // their gradients come from other blocks as well
}

// Texts are what enters a block.
type Texts struct {
	X        kernels.Matrix // texts one after the other, tokens x hidden
	Lengths  []int
	PerLayer kernels.Matrix // the block's own inputs, where it has some (see arch.PerLayerInput)
	Borrowed KeysValues     // of another block, where it has none of its own
}

// KeysValues are the keys and values of a block's attention, which others may use, and
// where their gradients by that use are added; without data they are not computed.
type KeysValues struct {
	Keys, Values, DKeys, DValues kernels.Matrix
}

// compiler resolves the names of a description.
type compiler struct {
	b     *Block
	parts Parts
	err   error
}

// New gives the description of a block its parts. Its backward passes work in the
// rooms.
func New(eng *kernels.Engine, d *arch.Block, p Parts, rooms *Rooms) (*Block, error) {
	b := &Block{eng: eng, parallel: d.Parallel, linears: map[string]*linear{}, most: math.MaxInt, room: rooms.take()}
	c := &compiler{b: b, parts: p}
	for _, s := range d.Steps {
		next := step{norm: c.norm(s.Norm), after: c.norm(s.After), scale: s.Scale}
		for _, br := range s.Branches {
			next.branches = append(next.branches, branch{pre: c.norm(br.Pre), post: c.norm(br.Post), op: c.operation(br.Do)})
		}
		b.steps = append(b.steps, next)
	}
	if d.Scale != "" {
		b.scale = p.Vector(d.Scale)[0]
	}
	return b, c.err
}

func (c *compiler) norm(n *arch.Norm) *rt.Norm { return rt.NewNorm(n, c.parts.Vector) }

func (c *compiler) vector(v *arch.Vector) []float32 {
	if v == nil {
		return nil
	}
	return c.parts.Vector(v.Tensor)
}

// operation is what a branch computes.
type operation interface {
	// forward stores in dst what the operation gives for x, and keeps what backward
	// needs.
	forward(ctx context.Context, b *Block, x, dst kernels.Matrix) error
	// backward stores in dx the gradient of x for d, that of what forward gave, and adds
	// those of the matrices. It may not change d.
	backward(ctx context.Context, b *Block, d, dx kernels.Matrix) error
}

func (c *compiler) operation(op arch.Op) operation {
	switch op := op.(type) {
	case *arch.Attention:
		return c.attention(op)
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
		return &perLayerInput{act: op.Act, gate: c.linear(op.Gate), out: c.linear(op.Out)}
	}
	panic(fmt.Sprintf("block: no operation for %T", op))
}

// Forward runs the block on texts. The result is valid until the next Forward; what
// enters must not change until Backward is done.
func (b *Block) Forward(ctx context.Context, t Texts) (kernels.Matrix, error) {
	n := 0
	for _, length := range t.Lengths {
		if n += length; length < 1 || length > b.most {
			return kernels.Matrix{}, fmt.Errorf("block: a text of %d tokens; 1 to %d fit", length, b.most)
		}
	}
	if n != t.X.Rows {
		panic(fmt.Sprintf("block: texts of %d tokens in %d rows", n, t.X.Rows))
	}
	b.texts, b.kept.next = t, 0
	x := t.X
	for i := range b.steps {
		in := x
		if b.parallel {
			in = t.X
		}
		var err error
		if x, err = b.steps[i].forward(ctx, b, in, x); err != nil {
			return kernels.Matrix{}, err
		}
	}
	if b.scale != 0 {
		b.multiplyBy(x, b.scale)
	}
	return x, nil
}

// Backward takes the gradient of a loss with respect to the last Forward's result,
// adds the matrices' to theirs, and returns the input's, valid until the next
// Backward in the same room. The block must be as it was in Forward.
func (b *Block) Backward(ctx context.Context, dy kernels.Matrix) (kernels.Matrix, error) {
	r := b.room
	r.next, r.turnedOf = 0, nil
	dx, other := r.matrix(dy.Rows, dy.Cols), r.matrix(dy.Rows, dy.Cols)
	if b.scale != 0 {
		scaled := r.matrix(dy.Rows, dy.Cols)
		b.copy(scaled, dy)
		b.multiplyBy(scaled, b.scale)
		dy = scaled
	}
	if b.parallel {
		for i := range b.steps {
			if _, err := b.steps[i].backward(ctx, b, dy, dx, i == 0); err != nil {
				return kernels.Matrix{}, err
			}
		}
		b.add(dx, dy)
		return dx, nil
	}
	for i := len(b.steps) - 1; i >= 0; i-- {
		mark := r.next
		past, err := b.steps[i].backward(ctx, b, dy, dx, true)
		if err != nil {
			return kernels.Matrix{}, err
		}
		b.add(dx, past)
		r.next, dy, dx, other = mark, dx, other, dx
	}
	return dy, nil
}

// Input returns what entered a matrix of the block in the last Forward: of an expert,
// the tokens that chose it.
func (b *Block) Input(path string) kernels.Matrix { return b.linears[path].in }

// Lend makes the block count what others do with its keys and values in the
// gradients: their Backward must come before its own.
func (b *Block) Lend() { b.lends = true }

// Lent returns what the block's attention kept of each token in the last Forward.
func (b *Block) Lent() KeysValues { return b.lender.kept }

// PerLayerGradient returns the gradient of Texts.PerLayer after Backward.
func (b *Block) PerLayerGradient() kernels.Matrix { return b.perLayer }
