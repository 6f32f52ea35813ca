package arch

// Model is a decoder-only language model: tokens are embedded, blocks add to the
// stream of hidden states, and the head turns the last states into logits.
type Model struct {
	Family    string // config.json's model_type: "llama"
	Vocab     int    // rows of the embedding
	Hidden    int    // width of the residual stream
	Positions int    // the longest context, in tokens
	Tied      bool   // the head is the embedding matrix

	HeadPath    string // of a head of its own, whether there is one or not
	HeadMissing bool   // the config asks for one, and the files hold the embedding alone

	Embed  Embedding
	Blocks []Block
	Norm   *Norm // of the last hidden states; nil for none
	Head   Head
}

// Embedding turns tokens into hidden states.
type Embedding struct {
	Linear                   // vocabulary x hidden, or narrower with Project
	Scale     float32        // of the rows; 1 for none
	Project   *Linear        // of the rows, to the width of the stream; nil for none
	Positions *PositionTable // learned positions, added; nil for none
	Norm      *Norm          // of the result; nil for none
	PerLayer  *PerLayer      // further inputs of the blocks; nil for none
}

// PositionTable is a learned vector for each position.
type PositionTable struct {
	Tensor string // rows x hidden
	Offset int    // the row of the first position
	Rows   int
}

// PerLayer are inputs that every block gets of each token besides the stream
// (Gemma 3n, Gemma 4): the token's row of Table times Scale, and Projection of the
// embedded token times ProjectionScale, normalized; their sum times SumScale.
type PerLayer struct {
	Table           Linear // vocabulary x blocks*Width
	Projection      Linear // blocks*Width x hidden
	Norm            *Norm
	Width           int
	Scale           float32
	ProjectionScale float32
	SumScale        float32
}

// Block is one layer of the model.
type Block struct {
	Layer    int
	Steps    []Step
	Parallel bool   // every step reads what enters the block; otherwise what the steps before left
	Scale    string // a tensor of one element that multiplies what leaves the block; "" for none
}

// Step adds to the stream: x += Scale * the sum of Post(Do(Pre(x))) over its
// branches, normalized by Norm. Nearly every step has one branch.
type Step struct {
	Before   *Norm // of the stream, to which the step adds (models that go on with what they normalized); nil for none
	Branches []Branch
	Norm     *Norm   // of the sum of several branches; nil for none
	Scale    float32 // 1 for none
	After    *Norm   // of the stream after the addition (models that normalize late); nil for none
}

// Branch is one computation between its normalizations.
type Branch struct {
	Pre, Post *Norm // nil for none
	Do        Op
}

// Op is what a branch computes: [*Attention], [*LatentAttention], [*MLP], [*MoE],
// [*DeltaRule], [*ShortConv], [*SSM] or [*PerLayerInput].
type Op interface {
	// parts calls visit with every matrix and every other tensor it has.
	parts(visit visitor)
}

// Head turns normalized hidden states into logits.
type Head struct {
	Linear            // the embedding's when the model is tied
	Project   *Linear // of what the head reads, from the width of the stream; nil for none
	Scale     float32 // of the logits; 1 for none
	SoftCap   float32 // logits become cap*tanh(logit/cap); 0 for none
	Normalize bool    // rows of the matrix are brought to length 1 (Baichuan 2)
}

// Untie gives the model a head of its own.
func (m *Model) Untie() {
	m.Tied = false
	m.Head.Linear = *matrix(m.HeadPath, RoleHead, -1, m.Vocab, m.Embed.Cols, false)
	m.connect()
}

// one is the step of a single branch.
func one(pre *Norm, do Op, post *Norm) Step {
	return Step{Branches: []Branch{{Pre: pre, Do: do, Post: post}}, Scale: 1}
}
