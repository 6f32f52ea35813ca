package calib

import (
	"slices"
	"testing"

	"nibble/model"
	"nibble/model/arch"
)

func TestMostUsed(t *testing.T) {
	texts := [][]int32{{4, 4, 1}, {4, 6, 6, 1}, {2}}
	for n, want := range [][]int32{nil, {4}, {1, 4}, {1, 4, 6}, {1, 2, 4, 6}, {0, 1, 2, 4, 6}, {0, 1, 2, 3, 4, 6}, {0, 1, 2, 3, 4, 5, 6}} {
		if got := MostUsed(texts, 7, n); !slices.Equal(got, want) {
			t.Errorf("the %d tokens that occur most: %v, want %v", n, got, want)
		}
	}
}

// Rows count by their tokens where they stand for tokens, whatever lies outside of the
// layers.
func TestUsage(t *testing.T) {
	c := &Calibration{Tokens: [][]int32{{1, 1, 300}}}
	for role, tokens := range map[arch.Role]bool{arch.RoleEmbed: true, arch.RoleHead: true, arch.RolePerLayerTable: true, arch.RolePerLayerProjection: false} {
		m := model.Module{Name: "m", Kind: string(role), Layer: -1, Rows: 400, Cols: 32, Linear: &arch.Linear{Role: role, Expert: -1}}
		if !tokens {
			m.Rows = 96 // not even as many as there are tokens
		}
		got := c.Usage(m)
		if (got != nil) != tokens || tokens && (got[1] != 2+rareUse || got[2] != rareUse) {
			t.Errorf("%s: %v", role, got)
		}
	}
}
