package arch

import "math"

// alibiSlopes returns the slope of each head: powers of 2^(-most/n) for the
// largest power of two n that is not above heads, then the odd ones of twice as
// many (Press et al., 2021; their code gives what the paper leaves open).
func alibiSlopes(heads int, most float64) []float32 {
	n := 1
	for 2*n <= heads {
		n *= 2
	}
	slopes := make([]float32, heads)
	for i := range slopes {
		if i < n {
			slopes[i] = float32(math.Exp2(-most * float64(i+1) / float64(n)))
		} else {
			slopes[i] = float32(math.Exp2(-most * float64(2*(i-n)+1) / float64(2*n)))
		}
	}
	return slopes
}
