package calib

import (
	"slices"
	"testing"
)

func TestMostUsed(t *testing.T) {
	texts := [][]int32{{4, 4, 1}, {4, 6, 6, 1}, {2}}
	for n, want := range [][]int32{nil, {4}, {1, 4}, {1, 4, 6}, {1, 2, 4, 6}, {0, 1, 2, 4, 6}, {0, 1, 2, 3, 4, 6}, {0, 1, 2, 3, 4, 5, 6}} {
		if got := MostUsed(texts, 7, n); !slices.Equal(got, want) {
			t.Errorf("the %d tokens that occur most: %v, want %v", n, got, want)
		}
	}
}
