package calib

import (
	"cmp"
	"slices"

	"nibble/model"
)

// TokenCounts returns how often each token of a vocabulary occurs in texts.
func TokenCounts(texts [][]int32, vocabulary int) []int {
	counts := make([]int, vocabulary)
	for _, text := range texts {
		for _, token := range text {
			counts[token]++
		}
	}
	return counts
}

// MostUsed returns the n tokens that occur most in texts, ascending. Of those that
// occur alike, which most do not at all, it takes the first: tokenizers number what
// they merged early, because it was frequent, before the rest.
func MostUsed(texts [][]int32, vocabulary, n int) []int32 {
	counts := TokenCounts(texts, vocabulary)
	tokens := make([]int32, vocabulary)
	for i := range tokens {
		tokens[i] = int32(i)
	}
	slices.SortStableFunc(tokens, func(a, b int32) int { return cmp.Compare(counts[b], counts[a]) })
	return slices.Sorted(slices.Values(tokens[:n]))
}

// Usage returns how much the error of each row of a matrix counts for what the model
// computes: the more the more often its token occurs; nil where all count alike.
func (c *Calibration) Usage(m model.Module) []float64 {
	if !m.TokenRows() {
		return nil
	}
	var out []float64
	for _, n := range TokenCounts(c.Tokens, m.Rows) {
		out = append(out, float64(n)+rareUse)
	}
	return out
}

// rareUse is how often a token is thought to occur that a calibration does not have.
const rareUse = 0.5
