package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// The trie finds what comparing with every key finds.
func TestTrie(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	word := func(n, alphabet int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.IntN(alphabet) * 255 / max(1, alphabet-1))
		}
		return string(b)
	}
	for _, alphabet := range []int{1, 2, 4, 256} {
		keys := map[string]int32{}
		for i := range 500 {
			keys[word(1+rng.IntN(6), alphabet)] = int32(i)
		}
		tree := newTrie(keys)
		for range 2000 {
			text := word(rng.IntN(9), alphabet)
			want, length := int32(0), 0
			for key, value := range keys {
				if strings.HasPrefix(text, key) && len(key) > length {
					want, length = value, len(key)
				}
			}
			if got, n := tree.longest(text); n != length || n > 0 && got != want {
				t.Fatalf("%d letters: %q begins with %d (%d bytes), want %d (%d bytes)", alphabet, text, got, n, want, length)
			}
		}
	}
	empty := newTrie(nil)
	if _, n := empty.longest("a"); n != 0 {
		t.Errorf("an empty trie finds %d bytes", n)
	}
}
