package graph

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
)

// block is a tape of a random model's first block.
func block(t *testing.T, eng *kernels.Engine, r *random) *Tape {
	t.Helper()
	g, err := CompileBlock(eng, &r.m.Blocks[0], r.parts())
	if err != nil {
		t.Fatal(err)
	}
	return g.NewTape(40)
}

// A tape that is used again gives what a new one gives, and the bits do not depend on
// threads.
func TestTapesAgainAndThreads(t *testing.T) {
	ctx := context.Background()
	for name, config := range described {
		config = strings.NewReplacer(`"num_hidden_layers": 1`, `"num_hidden_layers": 3`, `"layer_types": ["conv"]`, `"layer_types": ["conv", "conv", "conv"]`,
			`"layer_types": ["mamba"]`, `"layer_types": ["mamba", "mamba", "mamba"]`,
			`"layer_types": ["linear_attention"]`, `"layer_types": ["linear_attention", "linear_attention", "linear_attention"]`).Replace(config)
		t.Run(name, func(t *testing.T) {
			m := describe(t, config)
			pass := func(threads int, again bool) (out [][]float32) {
				r := newRandom(m, 7)
				g, err := Compile(engine(t, threads), m, r.parts())
				if err != nil {
					t.Fatal(err)
				}
				tape := g.NewTape(33)
				for round := range 2 {
					if !again {
						tape = g.NewTape(33)
					}
					x, err := tape.Tokens(ctx, [][]int32{make([]int32, 4+round), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 1, 2, 3, 5, 8, 13, 4, 1, 5, 6, 1, 7, 8, 9, 2, 5}, {6, 9, 6, 9}})
					for i := 0; i < len(m.Blocks) && err == nil; i++ {
						x, err = tape.Block(ctx, i, x)
					}
					out = append(out, slices.Clone(x.Data))
					for i := len(m.Blocks) - 1; i >= 0 && err == nil; i-- {
						x, err = tape.Backward(ctx, i, x)
						out = append(out, slices.Clone(x.Data))
					}
					if err == nil {
						err = tape.TokensBackward(ctx, x)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				for _, l := range m.Linears() {
					out = append(out, r.matrices[l.Path].Gradient.Data)
				}
				return out
			}
			want := pass(1, false)
			for _, threads := range []int{1, 3} {
				if !reflect.DeepEqual(pass(threads, true), want) {
					t.Errorf("a tape that is used again, with %d threads, gives other bits", threads)
				}
			}
		})
	}
}

// Gradients of matrices add up.
func TestGradientsAddUp(t *testing.T) {
	ctx := context.Background()
	m := describe(t, described["llama"])
	r := newRandom(m, 5)
	b := block(t, engine(t, 2), r)
	texts := r.texts(0, 5, 8)
	var once []float32
	g := r.matrices["model.layers.0.mlp.down_proj"].Gradient.Data
	for range 2 {
		y, err := b.Forward(ctx, texts)
		if err == nil {
			_, err = b.Backward(ctx, 0, y)
		}
		if err != nil {
			t.Fatal(err)
		}
		if once == nil {
			once = slices.Clone(g)
		}
	}
	for i, v := range once {
		if d := g[i] - 2*v; d > 1e-4 || d < -1e-4 {
			t.Fatalf("gradient %g twice is %g", v, g[i])
		}
	}
}

// Both ways end with their context.
func TestTapesEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := newRandom(describe(t, described["llama"]), 5)
	b := block(t, engine(t, 2), r)
	texts := r.texts(0, 40)
	y, err := b.Forward(ctx, texts)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := b.Backward(ctx, 0, y); err == nil {
		t.Error("a gradient was computed though the context had ended")
	}
	if _, err := b.Forward(ctx, texts); err == nil {
		t.Error("a block was computed though the context had ended")
	}
}

// An expert that no token chose has no input, whatever it had before.
func TestInputsOfExperts(t *testing.T) {
	r := newRandom(describe(t, described["sinks, limited experts"]), 5)
	b := block(t, engine(t, 1), r)
	tokens := func(lengths ...int) (n int) {
		if _, err := b.Forward(context.Background(), r.texts(0, lengths...)); err != nil {
			t.Fatal(err)
		}
		for e := range 4 {
			down, gate := b.Input(fmt.Sprintf("model.layers.0.mlp.experts.%d.down_proj", e)), b.Input(fmt.Sprintf("model.layers.0.mlp.experts.%d.gate_proj", e))
			if down.Rows != gate.Rows || down.Cols != 8 || gate.Cols != 12 {
				t.Errorf("expert %d: inputs of %d x %d and %d x %d", e, gate.Rows, gate.Cols, down.Rows, down.Cols)
			}
			n += down.Rows
		}
		return n
	}
	for _, lengths := range [][]int{{30, 7}, {1}} {
		want := 0
		for _, l := range lengths {
			want += 2 * l
		}
		if got := tokens(lengths...); got != want {
			t.Errorf("texts of %v tokens: experts have %d inputs, want %d", lengths, got, want)
		}
	}
}
