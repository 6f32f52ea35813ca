package graph

import (
	"context"
	"fmt"

	"nibble/kernels"
)

// Tape takes whole texts through a graph, keeps what its steps computed, and goes back.
type Tape struct{ p Pass }

// tape is what a pass has besides as part of a Tape.
type tape struct {
	keeps   bool
	inputs  []kernels.Matrix           // of each matrix, what it read last
	lent    []KeysValues               // of each cache
	room    *room                      // of the block at hand
	rooms   [2]room                    // in turn
	scratch map[shape]*kernels.KVCache // of a text

	source    kernels.Matrix // the stream that the branch at hand reads before its norm,
	dsource   kernels.Matrix // and its gradient by other ways than the norm; no data where there is none
	dperLayer kernels.Matrix
}

// KeysValues are the keys and values of a block's attention, and where their gradients by
// the use of other blocks are added; without data they are not computed.
type KeysValues struct {
	Keys, Values, DKeys, DValues kernels.Matrix
}

// NewTape returns an empty tape for texts of which the longest has so many tokens.
func (g *Graph) NewTape(longest int) *Tape {
	t := &Tape{Pass{g: g, eng: g.eng, Length: longest, kept: make([]any, g.operations)}}
	t.p.tape = tape{keeps: true, inputs: make([]kernels.Matrix, len(g.linears)), lent: make([]KeysValues, len(g.caches)), scratch: map[shape]*kernels.KVCache{}}
	return t
}

// Texts are what enters a block by itself.
type Texts struct {
	X        kernels.Matrix // texts one after the other, tokens x hidden
	Lengths  []int
	PerLayer kernels.Matrix // the block's own inputs, where it has some (see arch.PerLayerInput)
	Borrowed KeysValues     // of another block, where it has none of its own
}

// begin forgets what was and says what texts follow.
func (t *Tape) begin(lengths []int) (rows int) {
	p := &t.p
	p.texts, p.next = p.texts[:0], 0
	for _, n := range lengths {
		p.texts = append(p.texts, text{first: rows, n: n})
		rows += n
	}
	return rows
}

// Forward runs the block of a graph that has one (see [CompileBlock]) on texts. The result
// is valid until the next Forward; what enters must not change until Backward is done.
func (t *Tape) Forward(ctx context.Context, in Texts) (kernels.Matrix, error) {
	if n := t.begin(in.Lengths); n != in.X.Rows {
		panic(fmt.Sprintf("graph: texts of %d tokens in %d rows", n, in.X.Rows))
	}
	t.p.perLayer = in.PerLayer
	if t.p.perLayer.Data != nil {
		t.p.dperLayer = t.p.matrix(in.PerLayer.Rows, in.PerLayer.Cols)
	}
	for i := range t.p.lent {
		t.p.lent[i] = in.Borrowed
	}
	return t.Block(ctx, 0, in.X)
}

// Tokens embeds texts and returns what enters the first block, valid until the next Tokens.
func (t *Tape) Tokens(ctx context.Context, texts [][]int32) (kernels.Matrix, error) {
	var lengths []int
	for _, tokens := range texts {
		lengths = append(lengths, len(tokens))
	}
	n := t.begin(lengths)
	p := &t.p
	if err := p.g.embed.forward(ctx, p, texts, p.matrix(n, p.g.hidden)); err != nil {
		return kernels.Matrix{}, err
	}
	if p.perLayer.Data != nil {
		p.dperLayer = p.matrix(p.perLayer.Rows, p.perLayer.Cols)
	}
	return p.stream, nil
}

// Block takes x, the stream of the texts at hand, through a block. Blocks follow each
// other; what is between them must not change until Backward is done.
func (t *Tape) Block(ctx context.Context, i int, x kernels.Matrix) (kernels.Matrix, error) {
	p := &t.p
	p.stream, p.pending = x, kernels.Matrix{}
	if err := p.Block(ctx, i); err != nil {
		return kernels.Matrix{}, err
	}
	p.settle()
	return p.stream, nil
}

// Backward takes the gradient of a loss with respect to what a block gave, adds the
// matrices' to theirs, and returns that of what entered the block, valid until the second
// Backward after it. The matrices must be as they were.
func (t *Tape) Backward(ctx context.Context, i int, d kernels.Matrix) (kernels.Matrix, error) {
	t.p.enterRoom(i)
	return t.p.g.Blocks[i].backward(ctx, &t.p, d)
}

func (p *Pass) enterRoom(block int) {
	p.room = &p.rooms[(block+2)%2]
	p.room.next, p.room.turnedOf = 0, nil
}

// TokensBackward adds the gradient of the embedding's table for that of what Tokens gave,
// after the Backward of all blocks.
func (t *Tape) TokensBackward(ctx context.Context, d kernels.Matrix) error {
	t.p.enterRoom(-1)
	return t.p.g.embed.backward(ctx, &t.p, d)
}

// Input returns what entered a matrix last: of an expert, the tokens that chose it.
func (t *Tape) Input(path string) kernels.Matrix {
	for _, l := range t.p.g.linears {
		if l.Path == path {
			return t.p.inputs[l.id]
		}
	}
	panic("graph: no matrix " + path)
}

// PerLayerGradient returns the gradient of Texts.PerLayer after Backward.
func (t *Tape) PerLayerGradient() kernels.Matrix { return t.p.dperLayer }

// normGradient returns the gradient of x for that of what normalize gave.
func (p *Pass) normGradient(n *Norm, d, x kernels.Matrix) kernels.Matrix {
	if n == nil {
		return d
	}
	dx := p.room.matrix(x.Rows, x.Cols)
	p.each(x.Rows, func(i int) { n.Gradient(dx.Row(i), d.Row(i), x.Row(i)) })
	return dx
}

// eachGroup runs f for every head of every text, those of a group one after the other:
// they share what they would write to.
func (p *Pass) eachGroup(groups, heads int, f func(h int, t text)) {
	per := heads / groups
	p.each(len(p.texts)*groups, func(i int) {
		for h := i % groups * per; h < (i%groups+1)*per; h++ {
			f(h, p.texts[i/groups])
		}
	})
}
