package block

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
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

// noise returns a matrix of normal deviates around mean.
func noise(rng *rand.Rand, rows, cols int, mean, deviation float64) kernels.Matrix {
	m := kernels.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = float32(mean + deviation*rng.NormFloat64())
	}
	return m
}

// tiny is a layer of odd shapes with biases.
func tiny(rng *rand.Rand, bias bool) Layer {
	const hidden, heads, keys, dim, inner, positions = 12, 4, 2, 6, 20, 16
	l := Layer{Heads: heads, KVHeads: keys, HeadDim: dim, Eps: 0.3, // large enough to show
		AttnNorm: noise(rng, 1, hidden, 1, 0.2).Data, MLPNorm: noise(rng, 1, hidden, 1, 0.2).Data}
	shapes := [Matrices][2]int{{heads * dim, hidden}, {keys * dim, hidden}, {keys * dim, hidden}, {hidden, heads * dim}, {inner, hidden}, {inner, hidden}, {hidden, inner}}
	for i, s := range shapes {
		l.W[i] = noise(rng, s[0], s[1], 0, 0.4)
		if bias {
			l.Bias[i] = noise(rng, 1, s[0], 0, 0.3).Data
		}
	}
	for p := range positions {
		for i := range dim / 2 {
			s, c := math.Sincos(float64(p) / math.Pow(3, float64(i)))
			l.cos, l.sin = append(l.cos, float32(c)), append(l.sin, float32(s))
		}
	}
	return l
}

// The gradients are the slopes of the loss.
func TestGradients(t *testing.T) {
	ctx := context.Background()
	for _, bias := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(1, 2))
		l := tiny(rng, bias)
		lengths := []int{5, 1, 9}
		x, weights := noise(rng, 15, 12, 0, 1), noise(rng, 15, 12, 0, 1)
		run := NewRun(engine(t, 2))
		loss := func() float64 { // linear in the outputs, so that its gradient is weights
			y, err := run.Forward(ctx, &l, x, lengths)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for i, v := range y.Data {
				sum += float64(v) * float64(weights.Data[i])
			}
			return sum
		}
		loss()
		var grads Gradients
		for i, w := range l.W {
			if i != O {
				grads[i] = kernels.NewMatrix(w.Rows, w.Cols)
			}
		}
		dx, err := run.Backward(ctx, weights, &grads)
		if err != nil {
			t.Fatal(err)
		}
		check := func(name string, at *float32, got float32) {
			t.Helper()
			const step = 2e-3
			was := *at
			*at = was + step
			up, high := loss(), *at
			*at = was - step
			down, low := loss(), *at
			*at = was
			if want := (up - down) / float64(high-low); math.Abs(want-float64(got)) > 0.01*(1+math.Abs(want)) {
				t.Errorf("bias %v, %s: gradient %g, slope %g", bias, name, got, want)
			}
		}
		dx.Data = append([]float32{}, dx.Data...)
		for range 40 {
			i := rng.IntN(len(x.Data))
			check(fmt.Sprint("input ", i), &x.Data[i], dx.Data[i])
		}
		for m, w := range l.W {
			for range 20 {
				if i := rng.IntN(len(w.Data)); m != O {
					check(fmt.Sprint(Kinds[m], " ", i), &w.Data[i], grads[m].Data[i])
				}
			}
		}
		// Gradients add up.
		before := grads[Down].Data[0]
		loss()
		if _, err := run.Backward(ctx, weights, &grads); err != nil {
			t.Fatal(err)
		}
		if got := grads[Down].Data[0]; math.Abs(float64(got-2*before)) > 1e-5*math.Abs(float64(got)) {
			t.Errorf("gradient %g twice is %g", before, got)
		}
	}
}

// A normalization's gradient alone is the slope of its output.
func TestNormBackward(t *testing.T) {
	const rows, cols, eps = 3, 7, 0.4
	rng := rand.New(rand.NewPCG(8, 8))
	eng := engine(t, 2)
	x, d, w := noise(rng, rows, cols, 0, 1), noise(rng, rows, cols, 0, 1), noise(rng, 1, cols, 1, 0.3).Data
	loss := func(row, at int, step float64) float64 {
		v, squares, sum := make([]float64, cols), 0.0, 0.0
		for i := range v {
			v[i] = float64(x.Row(row)[i])
		}
		v[at] += step
		for _, e := range v {
			squares += e * e / cols
		}
		for i, e := range v {
			sum += e / math.Sqrt(squares+eps) * float64(w[i]) * float64(d.Row(row)[i])
		}
		return sum
	}
	got := kernels.NewMatrix(rows, cols)
	NormBackward(eng, got, d, x, w, eps)
	for r := range rows {
		for i := range cols {
			if want := (loss(r, i, 1e-5) - loss(r, i, -1e-5)) / 2e-5; math.Abs(float64(got.Row(r)[i])-want) > 1e-4 {
				t.Errorf("row %d, element %d: gradient %g, slope %g", r, i, got.Row(r)[i], want)
			}
		}
	}
}

// Runs that share memory, over layers that follow each other, give what runs of
// their own give, also when they are used again.
func TestSharedMemory(t *testing.T) {
	ctx := context.Background()
	eng := engine(t, 2)
	rng := rand.New(rand.NewPCG(5, 6))
	layers := []Layer{tiny(rng, true), tiny(rng, true), tiny(rng, true)}
	x := noise(rng, 11, 12, 0, 1)
	pass := func(runs []*Run) (dx []float32, down [3]Gradients) {
		y := x
		var err error
		for i, r := range runs {
			if y, err = r.Forward(ctx, &layers[i], y, []int{4, 7}); err != nil {
				t.Fatal(err)
			}
		}
		dy := y
		for i := len(runs) - 1; i >= 0; i-- {
			w := layers[i].W[Down]
			down[i][Down] = kernels.NewMatrix(w.Rows, w.Cols) // the first and the only of the pass
			if dy, err = runs[i].Backward(ctx, dy, &down[i]); err != nil {
				t.Fatal(err)
			}
		}
		return append([]float32{}, dy.Data...), down
	}
	shared := NewRuns(eng, len(layers))
	for range 2 {
		wantDX, want := pass([]*Run{NewRun(eng), NewRun(eng), NewRun(eng)})
		dx, got := pass(shared)
		if !reflect.DeepEqual(dx, wantDX) || !reflect.DeepEqual(got, want) {
			t.Fatal("runs that share memory give other gradients")
		}
		for i := range x.Data { // other inputs in the same place
			x.Data[i] = float32(rng.NormFloat64())
		}
	}
}

// What cannot be computed is an error.
func TestRefuses(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	rng := rand.New(rand.NewPCG(1, 2))
	l, x, run := tiny(rng, true), noise(rng, 16, 12, 0, 1), NewRun(engine(t, 2))
	for _, lengths := range [][]int{{0, 16}, {-1, 17}, {17, -1}} {
		if _, err := run.Forward(ctx, &l, x, lengths); err == nil {
			t.Errorf("texts of %v tokens were accepted", lengths)
		}
	}
	if _, err := run.Forward(ctx, &l, noise(rng, 17, 12, 0, 1), []int{17}); err == nil {
		t.Error("a text longer than the rotations was accepted")
	}
	y, err := run.Forward(ctx, &l, x, []int{16}) // as long as the rotations
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := run.Backward(ctx, y, new(Gradients)); err == nil {
		t.Error("a gradient was computed though the context had ended")
	}
	if _, err := run.Forward(ctx, &l, x, []int{16}); err == nil {
		t.Error("a layer was computed though the context had ended")
	}
}

// The bits do not depend on threads.
func TestThreads(t *testing.T) {
	ctx := context.Background()
	var first [2][]float32
	for _, threads := range []int{1, 2, 3} {
		rng := rand.New(rand.NewPCG(3, 4))
		l := tiny(rng, true)
		x := noise(rng, 16, 12, 0, 1)
		run := NewRun(engine(t, threads))
		y, err := run.Forward(ctx, &l, x, []int{16})
		if err != nil {
			t.Fatal(err)
		}
		dx, err := run.Backward(ctx, y, new(Gradients))
		if err != nil {
			t.Fatal(err)
		}
		got := [2][]float32{y.Data, dx.Data}
		if threads == 1 {
			first = got
		} else if !reflect.DeepEqual(got, first) {
			t.Errorf("%d threads give other bits than one", threads)
		}
	}
}

// load returns a layer of a checkpoint.
func load(t *testing.T, m *rt.Model, ck *model.Checkpoint, layer, positions int) Layer {
	t.Helper()
	floats := func(name string) []float32 {
		v, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return v.Floats()
	}
	shape, err := ShapeOf(m.Config.Model, layer)
	if err != nil {
		t.Fatal(err)
	}
	cos, sin := m.Rotations(shape.Rope, positions)
	l := Of(shape, cos, sin)
	p := fmt.Sprintf("model.layers.%d.", layer)
	l.AttnNorm, l.MLPNorm = floats(p+"input_layernorm.weight"), floats(p+"post_attention_layernorm.weight")
	for _, mod := range ck.Config.Modules() {
		for i, kind := range Kinds {
			if mod.Layer == layer && mod.Kind == kind {
				l.W[i] = kernels.Matrix{Rows: mod.Rows, Cols: mod.Cols, Stride: mod.Cols, Data: floats(mod.Name + ".weight")}
			}
		}
	}
	return l
}

// The layer computes what the runtime does.
func TestAgainstRuntime(t *testing.T) {
	ctx := context.Background()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	eng := engine(t, 2)
	m, err := rt.Load(ctx, eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	texts := [][]int32{{1, 2, 3, 4, 5, 6, 7}, {100}, {9, 8, 7, 500, 600, 700, 800, 900, 1000, 1, 1, 1}}
	stack, err := m.NewStack(texts)
	if err != nil {
		t.Fatal(err)
	}
	run := NewRun(eng)
	for i := range ck.Config.Layers() {
		var x []float32
		var lengths []int
		for j, s := range stack.States() {
			x, lengths = append(x, s...), append(lengths, len(texts[j]))
		}
		l := load(t, m, ck, i, 12)
		h := ck.Config.Hidden
		y, err := run.Forward(ctx, &l, kernels.Matrix{Rows: len(x) / h, Cols: h, Stride: h, Data: x}, lengths)
		if err != nil {
			t.Fatal(err)
		}
		if err := stack.Advance(ctx, m); err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, s := range stack.States() {
			for j, want := range s {
				if got := y.Data[at+j]; math.Abs(float64(got-want)) > 1e-4*(1+math.Abs(float64(want))) {
					t.Fatalf("layer %d: %g, the runtime has %g", i, got, want)
				}
			}
			at += len(s)
		}
	}
	l := load(t, m, ck, 0, 4)
	if _, err := run.Forward(ctx, &l, kernels.NewMatrix(400, 128), []int{400}); err == nil {
		t.Error("a text longer than the rotations was accepted")
	}
}
