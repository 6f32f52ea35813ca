package tokenizer

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// mergeNaive is the definition: the rule of lowest rank, at its leftmost place.
func mergeNaive(b *bpe, symbols []int32) []int32 {
	symbols = slices.Clone(symbols)
	for {
		at, best := -1, noMerge
		for i := range len(symbols) - 1 {
			if m := b.find(symbols[i], symbols[i+1]); m != noMerge && (at < 0 || m.rank() < best.rank()) {
				at, best = i, m
			}
		}
		if at < 0 {
			return symbols
		}
		symbols = slices.Replace(symbols, at, at+2, best.id())
	}
}

// Both ways to merge do what the definition says, on rules of any kind.
func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 2000 {
		alphabet := 2 + rng.Int32N(6)
		b := &bpe{merges: make(map[uint64]merge)}
		rank := int32(0)
		for range rng.IntN(30) {
			rank += rng.Int32N(2) // some rules share one
			b.merges[pairKey(rng.Int32N(alphabet), rng.Int32N(alphabet))] = newMerge(rank, rng.Int32N(alphabet))
		}
		symbols := make([]int32, 1+rng.IntN(2*shortWord))
		for i := range symbols {
			symbols[i] = rng.Int32N(alphabet)
		}
		want := mergeNaive(b, symbols)
		if got := b.mergeLong(slices.Clone(symbols)); !slices.Equal(got, want) {
			t.Fatalf("trial %d: the queue makes %v of %v, want %v", trial, got, symbols, want)
		}
		if len(symbols) <= shortWord {
			if got := b.mergeShort(slices.Clone(symbols)); !slices.Equal(got, want) {
				t.Fatalf("trial %d: rescanning makes %v of %v, want %v", trial, got, symbols, want)
			}
		}
	}
}

func TestQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 100 {
		var q queue
		for range n {
			q = append(q, rng.Uint64N(50))
		}
		want := slices.Clone(q)
		q.order()
		for range n {
			key := rng.Uint64N(50)
			want = append(want, key)
			q.push(key)
		}
		slices.Sort(want)
		for i, key := range want {
			if got := q.pop(); got != key {
				t.Fatalf("of %d: number %d is %d, want %d", n, i, got, key)
			}
		}
	}
}
