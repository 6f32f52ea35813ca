package arch

// DeltaRule is linear attention by the gated delta rule (Yang et al., 2024): each
// head keeps a matrix of KeyDim x ValueDim that decays and learns the value of
// each key. What enters it passes a short causal convolution first.
type DeltaRule struct {
	In      *Linear // queries, keys and values of all heads; where Grouped, with the gates, for each key head its query, key, values and gates
	Z       *Linear // gates of the output; nil where In has them
	A, B    *Linear // decay and rate of each value head; A is nil where B has both, for each key head its rates and decays
	Grouped bool
	Out     *Linear

	Conv   *Vector // channels x Kernel
	Kernel int
	ALog   *Vector // logarithm of the decay's rate, of each value head
	DtBias *Vector
	Norm   *Norm // of each head's output, before the gate

	KeyHeads, ValueHeads int
	KeyDim, ValueDim     int
}

// ShortConv is a gated short convolution (LFM2): In gives b, c and x; y = c *
// conv(b * x), causal and of each channel alone.
type ShortConv struct {
	In, Out *Linear
	Conv    *Vector // channels x Kernel
	Bias    *Vector // of the convolution; nil for none
	Kernel  int
	Width   int
}

// SSM is a selective state space in the form of Mamba-2 (Dao and Gu, 2024).
type SSM struct {
	In       *Linear // gate, x, B, C and time steps
	Out      *Linear
	Conv     *Vector // channels of x, B and C x Kernel
	ConvBias *Vector // nil for none
	Kernel   int
	ALog     *Vector // of each head
	D        *Vector
	DtBias   *Vector
	Norm     *Norm // of y * silu(gate), in groups
	Heads    int
	HeadDim  int
	State    int
	Groups   int     // of B and C
	DtMin    float32 // limits of the time step
	DtMax    float32 // 0 for none
}
