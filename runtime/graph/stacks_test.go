package graph_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/model/modeltest"
	rt "nibble/runtime"
	"nibble/runtime/graph"
)

func engine(t *testing.T, threads int) *kernels.Engine {
	t.Helper()
	eng, err := kernels.New(kernels.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eng.Close)
	return eng
}

// floats are the parts of a model that is loaded, with matrices as a tape takes them.
func floats(m *rt.Model) graph.Parts {
	parts := m.Parts()
	parts.Weight = func(l *arch.Linear) (graph.Weight, error) {
		w := kernels.NewMatrix(l.Rows, l.Cols)
		for r := range l.Rows {
			m.Linear(l.Path).Row(w.Row(r), r)
		}
		return graph.Weight{Value: w}, nil
	}
	return parts
}

// together puts texts one after the other.
func together(texts [][]float32, width int) kernels.Matrix {
	data := slices.Concat(texts...)
	return kernels.Matrix{Rows: len(data) / width, Cols: width, Stride: width, Data: data}
}

// near compares rows by their deviation.
func near(t *testing.T, what string, got kernels.Matrix, want [][]float64) {
	t.Helper()
	if got.Rows != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, got.Rows, len(want))
	}
	for r, row := range want {
		if d := modeltest.Distance(got.Row(r), row); !(d < 1e-4) {
			t.Fatalf("%s: row %d is off by %.2g deviations", what, r, d)
		}
	}
}

func wide(m kernels.Matrix) (rows [][]float64) {
	for i := range m.Rows {
		row := make([]float64, m.Cols)
		for j, v := range m.Row(i) {
			row[j] = float64(v)
		}
		rows = append(rows, row)
	}
	return rows
}

// follow compares tapes, of a whole model and of its blocks, and what enters their
// matrices, with stacks.
func follow(t *testing.T, eng *kernels.Engine, dir string, lengths ...int) {
	ctx := context.Background()
	ck, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	m, err := rt.LoadFloat(ctx, eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var tokens [][]int32
	for _, n := range lengths {
		var text []int32
		for range n {
			text = append(text, int32(rng.IntN(ck.Config.Vocab)))
		}
		tokens = append(tokens, text)
	}
	stack, err := m.NewStack(tokens)
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.Compile(eng, ck.Config.Model, floats(m))
	if err != nil {
		t.Fatal(err)
	}
	h, tape := ck.Config.Hidden, g.NewTape(slices.Max(lengths))
	x, err := tape.Tokens(ctx, tokens)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "embedding", x, wide(together(stack.States(), h)))
	for i := range ck.Config.Blocks {
		single, err := graph.CompileBlock(eng, &ck.Config.Blocks[i], floats(m))
		if err != nil {
			t.Fatal(err)
		}
		alone, in := single.NewTape(slices.Max(lengths)), graph.Texts{X: together(stack.States(), h), Lengths: lengths}
		inputs, err := stack.LayerInputs(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if inputs != nil {
			in.PerLayer = together(inputs, ck.Config.Embed.PerLayer.Width)
		}
		if keys, values := stack.Borrowed(m); keys != nil {
			width := len(keys[0]) / lengths[0]
			in.Borrowed = graph.KeysValues{Keys: together(keys, width), Values: together(values, width)}
		}
		y, err := alone.Forward(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		if x, err = tape.Block(ctx, i, x); err != nil {
			t.Fatal(err)
		}
		for _, l := range ck.Config.Linears() {
			if l.Layer != i {
				continue
			}
			var rows [][]float32
			if err := stack.Input(ctx, m, l.Input, func(x []float32, _, _ int) error {
				rows = append(rows, slices.Clone(x))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			want := wide(together(rows, l.Cols))
			near(t, "what enters "+l.Path, tape.Input(l.Path), want)
			near(t, "what enters by itself "+l.Path, alone.Input(l.Path), want)
		}
		if err := stack.Advance(ctx, m); err != nil {
			t.Fatal(err)
		}
		want := wide(together(stack.States(), h))
		near(t, fmt.Sprint("layer ", i), x, want)
		near(t, fmt.Sprint("layer by itself ", i), y, want)
	}
}

// Tapes of float matrices compute what sessions do: of the demo, and of tiny models of
// many families.
func TestTapesAndStacks(t *testing.T) {
	const fixtures = "../../../shared/data/arch"
	eng := engine(t, 2)
	t.Run("demo", func(t *testing.T) { follow(t, eng, "demo", 7, 1, 12) })
	configs, _ := filepath.Glob(filepath.Join(fixtures, "*", "config.json"))
	for _, config := range configs {
		if dir := filepath.Dir(config); !strings.HasPrefix(filepath.Base(dir), "int4_") {
			t.Run(filepath.Base(dir), func(t *testing.T) { follow(t, eng, dir, 7, 1, 36) })
		}
	}
	if _, err := os.Stat(fixtures); err != nil {
		t.Skip("no fixtures in " + fixtures)
	}
}
