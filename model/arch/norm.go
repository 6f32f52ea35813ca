package arch

// Norm normalizes groups of Width elements: y = (x - mean)/deviation * (weight +
// Offset) + bias for LayerNorm (Ba et al., 2016), without the mean for RMSNorm
// (Zhang and Sennrich, 2019).
type Norm struct {
	Kind   NormKind
	Weight *Vector // Width elements, or as many for each group; nil for ones
	Bias   *Vector // nil for none
	Width  int
	Eps    float32
	Offset float32 // added to the weights: 1 for Gemma
}

// NormKind is how a norm measures what it divides by.
type NormKind int

// The kinds of norms.
const (
	RMSNorm   NormKind = iota // the root of the mean of squares
	LayerNorm                 // the standard deviation, after the mean is subtracted
)
