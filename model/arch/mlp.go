package arch

// Activation is the function between the matrices of an MLP.
type Activation string

// The activations.
const (
	SiLU        Activation = "silu"
	GELU        Activation = "gelu"      // exact, by the error function
	GELUTanh    Activation = "gelu_tanh" // its approximation by tanh
	ReLU        Activation = "relu"
	ReLUSquared Activation = "relu2"
)

// MLP is the feed-forward step: Down(act(Gate x) * Up x), or Down(act(Up x))
// without a gate.
type MLP struct {
	Gate, Up *Linear // Gate is nil without one; both are nil where GateUp has them
	GateUp   *Linear // the rows of the gate, then those of up
	Down     *Linear
	Inner    int // width between the matrices
	Act      Activation
	Limit    float32 // gpt-oss: Down((clip(up)+1) * clip(gate)*sigmoid(1.702*clip(gate))) at this limit; 0 for none
}

// MoE is a mixture of experts: the router chooses TopK of them for each token.
type MoE struct {
	Router       *Linear
	RouterNorm   *Norm   // of what enters the step, for the router alone; nil: the router reads what the experts do
	RouterScale  *Vector // multiplies what the router reads; nil for none
	RouterFactor float32 // likewise; 1 for none
	Routing      Routing
	TopK         int
	Experts      []MLP
	Shared       *MLP    // meets every token; nil for none
	SharedGate   *Linear // its sigmoid multiplies the shared expert; nil for none
}

// Routing turns the router's outputs into weights of the chosen experts.
type Routing struct {
	Score       ScoreKind
	Renormalize bool    // weights of the chosen add up to 1
	Factor      float32 // of the weights; 1 for none
	Correction  *Vector // added to scores for choosing, not for weighing; nil for none
	ExpertScale *Vector // multiplies each expert's weight; nil for none
	Groups      int     // experts are chosen from TopGroups of so many groups; 0 or 1 for no groups
	TopGroups   int
	GroupBest   int     // a group is judged by the sum of its best so many scores
	Jitter      float32 // of SparseMixer
}

// ScoreKind is how scores follow from the router's outputs.
type ScoreKind string

// The kinds of scores.
const (
	SoftmaxScore ScoreKind = "softmax"     // over all experts
	SigmoidScore ScoreKind = "sigmoid"     // of each expert
	SparseMixer  ScoreKind = "sparsemixer" // Phi-MoE: the best, then the best of the rest, each over those within Jitter of it
)

// PerLayerInput adds what [PerLayer] has for the block: Out(act(Gate x) * input).
type PerLayerInput struct {
	Gate, Out *Linear
	Act       Activation
	Width     int
}
