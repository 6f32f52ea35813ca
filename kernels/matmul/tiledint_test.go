//go:build (amd64 || arm64) && !noasm

package matmul

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/kerneltest"
	"nibble/kernels/layout"
)

// Tiles of two panels take the pairs there are, tiles of one what is left, each the
// largest that the tokens of a tile of activations still fill; one token is fetched
// ahead, and of parts of a panel each is computed.
func TestTilesTaken(t *testing.T) {
	var calls []string
	rng := rand.New(rand.NewPCG(1, 1))
	w, err := format.Pack(randomQTensor(t, rng, 5*layout.PanelRows, 32, format.Scheme{Bits: 4, Group: 32, Sym: true}), nil)
	kerneltest.Must(t, err)
	pair := w.PanelBytes
	fake := func(rows, tokens, ahead int) tile {
		f := func(_ *float32, _ int, _ *byte, first, apart, fetched int, _ *byte, _, _, _, times int, _, _ *byte, _ int) {
			if fetched != ahead || apart != pair {
				t.Errorf("%dx%d fetches %d ahead, panels are %d apart; want %d, %d", rows, tokens, fetched, apart, ahead, pair)
			}
			calls = append(calls, fmt.Sprintf("%dx%d at %d, %d", rows, tokens, first, times))
		}
		return tile{cpu.AVX2, rows, tokens, [2]mulFunc{f, f}, ahead}
	}
	k := tiledInt(cpu.AVX2, "w4", fake(32, 4, 0), fake(32, 2, 0), fake(16, 4, 0), fake(8, 2, 0), fake(16, 1, 99))
	for _, c := range []struct {
		m    int
		want []string
	}{
		{1, []string{"16x1 at 0, 5"}},
		{2, []string{"32x2 at 0, 2", "8x2 at 0, 1", "8x2 at 8, 1"}},
		{7, []string{"32x4 at 0, 2", "32x2 at 0, 2", "16x1 at 0, 4", "16x4 at 0, 1", "8x2 at 0, 1", "8x2 at 8, 1", "16x1 at 0, 1"}},
	} {
		calls = nil
		a, _ := randomActs(rng, "normal", c.m, 32)
		k.Run(make([]float32, c.m*w.N), w.N, a, 0, c.m, w, 0, w.Panels())
		if !slices.Equal(calls, c.want) {
			t.Errorf("%d tokens: %q, want %q", c.m, calls, c.want)
		}
	}
	calls = nil
	a, _ := randomActs(rng, "normal", actTile+5, 32)
	k.Run(make([]float32, a.M*w.N), w.N, a, 0, a.M, w, 0, 2)
	if want := append(slices.Repeat([]string{"32x4 at 0, 1"}, actTile/4+1), "16x1 at 0, 2"); !slices.Equal(calls, want) {
		t.Errorf("two tiles of activations: %q, want %q", calls, want)
	}
	if k.Cut(actTile+5) != k.Cut(actTile)+k.Cut(5) || k.Cut(7) == k.Cut(6)+k.Cut(2) || len(k.Cut(8)) != 2*len(k.Cut(4)) {
		t.Errorf("tokens are cut into %q", k.Cut(actTile+5))
	}
}

// Panels meet a batch block by block, but all at once where one tile takes all tokens.
func TestBlocksOfProduct(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	w, err := format.Pack(randomQTensor(t, rng, 9*layout.PanelRows, 32, format.Scheme{Bits: 4, Group: 32, Sym: true}), nil)
	kerneltest.Must(t, err)
	var calls [][2]int
	k := Kernel{Tiles: []tileShape{{tokens: 4}, {tokens: 1}}, Run: func(_ []float32, _ int, _ *QuantActs, _, _ int, _ *format.Packed, p0, p1 int) {
		calls = append(calls, [2]int{p0, p1})
	}}
	for m, want := range map[int][][2]int{1: {{1, 9}}, 4: {{1, 9}}, 5: {{1, 4}, {4, 7}, {7, 9}}} {
		calls = nil
		a, _ := randomActs(rng, "normal", m, 32)
		if k.Product(nil, a, 0, m, w, 1, 9, 3); !slices.Equal(calls, want) {
			t.Errorf("%d tokens: panels %v, want %v", m, calls, want)
		}
	}
}
