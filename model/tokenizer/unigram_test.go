package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

// SentencePiece's sums of scores have 32 bits, which decides between ways that are
// nearly as likely, and begin again below -100000.
func TestUnigramSums(t *testing.T) {
	u := &unigram{scores: []float64{-10, -1, -1.0005, -2.0006}, unknown: -1, unknownScore: -30, pieces: newTrie(map[string]int32{"x": 0, "a": 1, "b": 2, "ab": 3})}
	for _, c := range []struct {
		before int
		single bool
		want   []int32
	}{
		{0, false, []int32{1, 2}}, {0, true, []int32{1, 2}}, {5000, false, []int32{1, 2}}, {5000, true, []int32{3}}, {10001, true, []int32{1, 2}}, {15001, true, []int32{3}},
	} {
		u.single = c.single
		if got := u.encode(strings.Repeat("x", c.before) + "ab")[c.before:]; !slices.Equal(got, c.want) {
			t.Errorf("after %d, with 32 bits: %v: %v, want %v", c.before, c.single, got, c.want)
		}
	}
}
