package block

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/model/modeltest"
	rt "nibble/runtime"
)

// blocks makes those of a random model, in one pair of rooms or each in its own.
func blocks(t *testing.T, eng *kernels.Engine, r *random, shared bool) []*Block {
	t.Helper()
	rooms := new(Rooms)
	var all []*Block
	for i := range r.m.Blocks {
		if !shared {
			rooms = new(Rooms)
		}
		b, err := New(eng, &r.m.Blocks[i], r.parts(40), rooms)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
		if l := lender(&r.m.Blocks[i]); l >= 0 {
			all[l].Lend()
		}
	}
	return all
}

// lender is the block whose keys and values one uses; -1 for its own.
func lender(b *arch.Block) int {
	for op := range b.Ops() {
		if a, ok := op.(*arch.Attention); ok {
			return a.KVFrom
		}
	}
	return -1
}

// Blocks that share memory, one after the other, give what blocks of their own give,
// also when they are used again; and the bits do not depend on threads.
func TestSharedMemoryAndThreads(t *testing.T) {
	ctx := context.Background()
	for name, config := range described {
		config = strings.NewReplacer(`"num_hidden_layers": 1`, `"num_hidden_layers": 3`, `"layer_types": ["conv"]`, `"layer_types": ["conv", "conv", "conv"]`,
			`"layer_types": ["mamba"]`, `"layer_types": ["mamba", "mamba", "mamba"]`,
			`"layer_types": ["linear_attention"]`, `"layer_types": ["linear_attention", "linear_attention", "linear_attention"]`).Replace(config)
		t.Run(name, func(t *testing.T) {
			m := describe(t, config)
			pass := func(threads int, shared bool) (out [][]float32) {
				r := newRandom(m, 7)
				all := blocks(t, engine(t, threads), r, shared)
				for round := range 2 {
					texts := r.texts(0, 4+round, 33, 6)
					for i, b := range all {
						var err error
						in := r.texts(i, texts.Lengths...)
						if in.X = texts.X; lender(&m.Blocks[i]) >= 0 {
							in.Borrowed = all[lender(&m.Blocks[i])].Lent()
						}
						if texts.X, err = b.Forward(ctx, in); err != nil {
							t.Fatal(i, err)
						}
					}
					d := texts.X
					out = append(out, slices.Clone(d.Data))
					for i := len(all) - 1; i >= 0; i-- {
						var err error
						if d, err = all[i].Backward(ctx, d); err != nil {
							t.Fatal(err)
						}
						out = append(out, slices.Clone(d.Data))
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
					t.Errorf("with shared memory and %d threads there are other bits", threads)
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
	b := blocks(t, engine(t, 2), r, true)[0]
	texts := r.texts(0, 5, 8)
	var once []float32
	g := r.matrices["model.layers.0.mlp.down_proj"].Gradient.Data
	for range 2 {
		y, err := b.Forward(ctx, texts)
		if err == nil {
			_, err = b.Backward(ctx, y)
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

// What cannot be computed is an error.
func TestRefuses(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := newRandom(describe(t, described["llama"]), 5)
	b := blocks(t, engine(t, 2), r, true)[0]
	texts := r.texts(0, 40)
	for _, lengths := range [][]int{{0, 40}, {-1, 41}, {41, -1}} {
		if _, err := b.Forward(ctx, Texts{X: texts.X, Lengths: lengths}); err == nil {
			t.Errorf("texts of %v tokens were accepted", lengths)
		}
	}
	if _, err := b.Forward(ctx, r.texts(0, 41)); err == nil {
		t.Error("a text longer than the rotations was accepted")
	}
	y, err := b.Forward(ctx, texts) // as long as the rotations
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := b.Backward(ctx, y); err == nil {
		t.Error("a gradient was computed though the context had ended")
	}
	if _, err := b.Forward(ctx, texts); err == nil {
		t.Error("a block was computed though the context had ended")
	}
}

// An expert that no token chose has no input, whatever it had before.
func TestInputsOfExperts(t *testing.T) {
	r := newRandom(describe(t, described["sinks, limited experts"]), 5)
	b := blocks(t, engine(t, 1), r, true)[0]
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

// loaded are the parts of a model that is loaded.
func loaded(m *rt.Model, positions int) Parts {
	return Parts{
		Weight: func(l *arch.Linear) (Weight, error) {
			w := kernels.NewMatrix(l.Rows, l.Cols)
			for r := range l.Rows {
				m.Linear(l.Path).Row(w.Row(r), r)
			}
			return Weight{Value: w}, nil
		},
		Bias: m.Bias, Vector: m.Vector,
		Rotations: func(r *arch.Rope) (cos, sin []float32) { return m.Rotations(r, positions) },
		Row:       func(dst []float32, l *arch.Linear, token int) { m.Linear(l.Path).Row(dst, token) },
	}
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

// follow compares the embedding and all blocks of a checkpoint, and what enters their
// matrices, with the runtime.
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
	parts, h := loaded(m, slices.Max(lengths)), ck.Config.Hidden
	embedding, err := NewEmbedding(eng, &ck.Config.Embed, parts, kernels.Matrix{})
	if err != nil {
		t.Fatal(err)
	}
	x, err := embedding.Forward(ctx, tokens)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "embedding", x, wide(together(stack.States(), h)))
	for i := range ck.Config.Blocks {
		b, err := New(eng, &ck.Config.Blocks[i], parts, new(Rooms))
		if err != nil {
			t.Fatal(err)
		}
		in := Texts{X: together(stack.States(), h), Lengths: lengths}
		inputs, err := stack.LayerInputs(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if inputs != nil {
			in.PerLayer = together(inputs, ck.Config.Embed.PerLayer.Width)
			near(t, "inputs of layers", embedding.PerLayer(i), wide(in.PerLayer))
		}
		if keys, values := stack.Borrowed(m); keys != nil {
			width := len(keys[0]) / lengths[0]
			in.Borrowed = KeysValues{Keys: together(keys, width), Values: together(values, width)}
		}
		y, err := b.Forward(ctx, in)
		if err != nil {
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
			near(t, "what enters "+l.Path, b.Input(l.Path), wide(together(rows, l.Cols)))
		}
		if err := stack.Advance(ctx, m); err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprint("layer ", i), y, wide(together(stack.States(), h)))
	}
}

// Blocks compute what the runtime does: of the demo, and of tiny models of many
// families.
func TestAgainstRuntime(t *testing.T) {
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
