package quant

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/modeltest"
	"nibble/runtime/graph"
)

// shortTraining makes training a matter of a moment.
func shortTraining(t *testing.T, iterations int) {
	light, each, whole := lightTraining, autoroundTraining, wholeTraining
	t.Cleanup(func() { lightTraining, autoroundTraining, wholeTraining = light, each, whole })
	trainFor(iterations)
}

func trainFor(iterations int) {
	for _, how := range []*training{&lightTraining, &autoroundTraining, &wholeTraining} {
		how.iterations = iterations
	}
}

// A rounding begins with the codes and scales of the matrix it starts from, even
// where they are not the nearest to the weights.
func TestRoundingStart(t *testing.T) {
	const rows, cols = 24, 172
	eng := engine(t, 2)
	w := kernels.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: weights(rows, cols)}
	rng := rand.New(rand.NewPCG(5, 6))
	for _, s := range specs() {
		q, _, err := Quantize(eng, w.Data, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		for range 500 { // as GPTQ moves codes
			r, c := rng.IntN(rows), rng.IntN(cols)
			if q.Scale(r, c/q.Scheme.GroupWidth(cols)) == 0 {
				continue
			}
			code := int(q.Code(r, c)) + rng.IntN(5) - 2
			q.SetCode(r, c, uint8(max(q.Scheme.MinCode(), min(q.Scheme.MaxCode(), code))))
		}
		r := newRounding(eng, w, q)
		if !slices.Equal(r.q.Codes, q.Codes) || !slices.Equal(r.q.Scales, q.Scales) || !slices.Equal(r.q.Zeros, q.Zeros) {
			t.Errorf("%s: training starts from other codes", s)
		}
		back := make([]float32, cols)
		for i := range rows {
			r.q.DequantRow(back, i)
			if !slices.Equal(back, r.value.Row(i)) {
				t.Errorf("%s: row %d is trained with other values than its codes have", s, i)
			}
		}
	}
}

// A step moves each offset against its gradient, but not where codes are at their
// end, and scales and zero points against theirs.
func TestRoundingStep(t *testing.T) {
	const rate, share = 0.01, 0.5
	eng := engine(t, 1)
	for _, s := range []Spec{{Bits: 4, Group: 32, Sym: true, Method: MSE}, {Bits: 4, Group: 32, Sym: false, Method: MSE}, {Bits: 8, Group: 32, Sym: true, Method: MSE}, {Bits: 8, Group: 32, Sym: false, Method: MSE}} {
		for _, scale := range []float32{0.5, -0.5} {
			if scale < 0 && !s.Sym {
				continue
			}
			q, err := kernels.NewQTensor(1, 32, s.Scheme())
			if err != nil {
				t.Fatal(err)
			}
			q.Scales[0] = kernels.F32ToF16(scale)
			if !s.Sym {
				q.Zeros[0] = uint8(s.Scheme().MidCode())
			}
			zero := int(q.Zero(0, 0))
			w := kernels.NewMatrix(1, 32)
			for i := range 32 {
				w.Data[i] = scale * (float32(i%5-2) + 0.25)
				q.SetCode(0, i, uint8(zero+i%5-2))
			}
			w.Data[31] = scale * 1000 // far beyond the last code
			q.SetCode(0, 31, uint8(s.Scheme().MaxCode()))
			r := newRounding(eng, w, q)
			if r.offset[31] != 0 {
				t.Errorf("%s: a weight beyond the codes has offset %g", s, r.offset[31])
			}
			for i := range r.grad.Data {
				r.grad.Data[i] = float32(i%3-1) * 1e-3
			}
			r.grad.Data[31] = 1 // the value should be less, so the scale, and the zero point more
			was := slices.Clone(r.offset)
			r.step(eng, rate, share)
			for i := range 31 {
				want := -float32(rate) * float32(i%3-1) * sign(scale)
				if got := r.offset[i] - was[i]; math.Abs(float64(got-want)) > 1e-6 {
					t.Errorf("%s, scale %g: offset %d moved by %g, want %g", s, scale, i, got, want)
				}
			}
			if r.offset[31] != 0 {
				t.Errorf("%s: the offset of a clipped weight moved", s)
			}
			if want := scale - sign(scale)*rate*share*float32(math.Abs(float64(scale)))*sign(scale); math.Abs(float64(r.scale[0]-want)) > 1e-6 {
				t.Errorf("%s: scale %g became %g, want %g", s, scale, r.scale[0], want)
			}
			if !s.Sym && math.Abs(float64(r.zero[0])-float64(zero)-rate) > 1e-5 {
				t.Errorf("%s: zero point %d became %g", s, zero, r.zero[0])
			}
			if slices.Max(r.grad.Data) != 0 {
				t.Errorf("%s: the gradient is kept", s)
			}
		}
	}
}

// What is reported as lost is lost no more: training lessens it, layer by layer
// and for the model as a whole.
func TestTrainingLessensLoss(t *testing.T) {
	shortTraining(t, 20)
	ck := open(t, "demo")
	base := load(t, 2, ck)
	cal := calibration(t, ck)
	r := parse(t, "w4 channel sym autoround-best; *.k_proj keep; *.0.mlp.down_proj w8 g32 asym autoround-best")
	last := map[int]Trained{}
	_, report, err := ApplyCalibrated(context.Background(), base, ck, r, cal, func(e Event) {
		if e, ok := e.(Trained); ok {
			last[e.Layer] = e
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(last) != ck.Config.Layers()+1 {
		t.Errorf("%d trainings were told of", len(last))
	}
	for layer, e := range last {
		if e.Iteration != e.Iterations || !(e.Loss < 0.97*e.Before) {
			t.Errorf("layer %d: %+v", layer, e)
		}
	}
	for _, m := range report.Modules {
		if m.Spec != "keep" && m.MSE == 0 {
			t.Errorf("%s has no error", m.Module)
		}
	}
}

// Where training only spoils what GPTQ gives, as on a first layer, that is kept.
func TestSpoiltTrainingKeepsItsStart(t *testing.T) {
	was := lightTraining
	t.Cleanup(func() { lightTraining = was })
	lightTraining = training{iterations: 3, batch: 2, rate: 3, share: 0.1}
	ck := open(t, "demo")
	base := load(t, 2, ck)
	cal := calibration(t, ck)
	quantized := func(method string) map[string]*kernels.QTensor {
		out := newHeldSink()
		j := job{eng: base.Engine, ck: ck, base: base, recipe: parse(t, "w4 g32 sym "+method), calibration: cal, l: func(e Event) {
			if e, ok := e.(Trained); ok && e.Loss != e.Before {
				t.Errorf("layer %d: a loss of %g after %g", e.Layer, e.Loss, e.Before)
			}
		}}
		if err := j.prepare(); err != nil {
			t.Fatal(err)
		}
		if _, err := j.run(context.Background(), out); err != nil {
			t.Fatal(err)
		}
		return out.matrices
	}
	if !reflect.DeepEqual(quantized(AutoRoundLight), quantized(GPTQ)) {
		t.Error("the codes are not GPTQ's")
	}
}

// Training stops when it is told to.
func TestTrainingIsCancelled(t *testing.T) {
	ck := open(t, "demo")
	base := load(t, 2, ck)
	ctx, cancel := context.WithCancel(context.Background())
	_, _, err := ApplyCalibrated(ctx, base, ck, parse(t, "w4 g32 sym autoround"), calibration(t, ck), func(e Event) {
		if _, ok := e.(Trained); ok {
			if ctx.Err() != nil {
				t.Error("training went on")
			}
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The gradient of the divergence is its slope, from the output head down to the
// first layer and, where the head is the embedding as well, to what it looks up.
func TestDivergenceGradient(t *testing.T) {
	ctx := context.Background()
	ck := open(t, "demo")
	base := load(t, 2, ck)
	cal := calibration(t, ck)
	s := Spec{Bits: 4, Group: 32, Sym: true, Method: AutoRoundBest}
	done := newWholeSink(&memorySink{}, ck.Config.Layers())
	for _, m := range ck.Config.Modules() {
		if m.Kind == "down" || m.Kind == "q" || m.Kind == "embed" {
			q, _, err := One(ctx, base.Engine, ck, m, Spec{Bits: 4, Group: 32, Sym: true, Method: RTN})
			if err != nil {
				t.Fatal(err)
			}
			if err := done.putQ(m, q, ModuleReport{}); err != nil {
				t.Fatal(err)
			}
			done.trained = append(done.trained, PlannedModule{Module: m, Spec: s})
		}
	}
	if err := done.endStage(0, nil); err != nil {
		t.Fatal(err)
	}
	p, err := newPass(ck, Plan{}, base, cal, base.Engine, done, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr, rs, err := p.wholeTrainee(ctx, done)
	if err != nil {
		t.Fatal(err)
	}
	value := rs[0].value
	parts := p.wholeParts(done, map[string]graph.Weight{})
	weight := parts.Weight
	parts.Weight = func(l *arch.Linear) (graph.Weight, error) {
		switch i := slices.IndexFunc(done.trained, func(pm PlannedModule) bool { return pm.Module.Name == l.Path }); {
		case l == &ck.Config.Embed.Linear:
			return graph.Weight{Value: kernels.Matrix{Rows: value.Rows, Cols: value.Cols, Stride: value.Cols, Data: slices.Clone(value.Data)}}, nil
		case i >= 0:
			return graph.Weight{Value: rs[i].value, Gradient: rs[i].grad}, nil
		}
		return weight(l)
	}
	g, err := graph.Compile(base.Engine, ck.Config.Model, parts)
	if err != nil {
		t.Fatal(err)
	}
	tied, apart := tr.tape, g.NewTape(longest(cal.Tokens))
	embed := func(isTied bool) {
		if tr.tape = apart; isTied {
			tr.tape = tied
		}
	}
	samples, tokens := []int{0, 2}, float64(len(cal.Tokens[0])+len(cal.Tokens[2]))
	gradients := func(tied bool) [][]float32 {
		embed(tied)
		for _, r := range rs {
			clear(r.grad.Data)
		}
		if loss, err := tr.loss(ctx, samples, true); err != nil || !(loss > 0) {
			t.Fatalf("a loss of %g, %v", loss, err)
		}
		var out [][]float32
		for _, r := range rs {
			out = append(out, slices.Clone(r.grad.Data))
		}
		return out
	}
	head, all := gradients(false), gradients(true)
	lookups := make([]float32, len(all[0]))
	for i := range lookups {
		lookups[i] = all[0][i] - head[0][i]
	}
	for _, c := range []struct {
		name      string
		tied      bool
		matrix    int
		direction []float32 // one that stands out of the noise of float32
		gradient  []float32
	}{
		{"head alone", false, 0, head[0], head[0]},
		{"head and lookups", true, 0, all[0], all[0]},
		{"lookups", true, 0, lookups, all[0]},
		{"first layer", true, 1, all[1], all[1]},
		{"last layer", true, len(rs) - 1, all[len(rs)-1], all[len(rs)-1]},
	} {
		embed(c.tied)
		want, norm := 0.0, 0.0
		for i, d := range c.direction {
			want += float64(d) * float64(c.gradient[i])
			norm += float64(d) * float64(d)
		}
		step := 0.02 / math.Sqrt(norm)
		move := func(by float64) float64 {
			for i, d := range c.direction {
				rs[c.matrix].value.Data[i] += float32(by * float64(d))
			}
			loss, err := tr.loss(ctx, samples, false)
			if err != nil {
				t.Fatal(err)
			}
			return loss
		}
		up := move(step)
		down := move(-2 * step)
		move(step)
		if got := (up - down) * tokens / (2 * step); norm == 0 || math.Abs(got-want) > 0.05*norm {
			t.Errorf("%s: the slope is %g, the gradient says %g, for a direction whose square is %g", c.name, got, want, norm)
		}
	}
}

// Rows of tokens that the texts do not have stay as they were.
func TestTrainedRows(t *testing.T) {
	eng := load(t, 1, open(t, "demo")).Engine
	w := kernels.Matrix{Rows: 3, Cols: 32, Stride: 32, Data: make([]float32, 96)}
	for i := range w.Data {
		w.Data[i] = float32(i%7) - 3
	}
	q, _, err := Quantize(eng, w.Data, w.Rows, w.Cols, Spec{Bits: 4, Group: 32, Sym: false, Method: RTN})
	if err != nil {
		t.Fatal(err)
	}
	r := newRounding(eng, w, q)
	r.rows = occurring([][]int32{{2}, {0, 2, 2}}, w.Rows)
	for range 300 {
		for i := range r.grad.Data {
			r.grad.Data[i] = 1
		}
		r.step(eng, 0.01, 0.1)
		r.round(eng)
	}
	for row, moves := range []bool{true, false, true} {
		if same := slices.Equal(r.q.Codes[row*q.RowBytes():(row+1)*q.RowBytes()], q.Codes[row*q.RowBytes():(row+1)*q.RowBytes()]); same == moves {
			t.Errorf("row %d: as it was %t, want %t", row, same, !moves)
		}
		if g := r.grad.Row(row); slices.ContainsFunc(g, func(x float32) bool { return x != 0 }) {
			t.Errorf("row %d: its gradient was not cleared", row)
		}
	}
}

// A model too large to be trained as a whole is so by its shape alone, and the
// plan says it.
func TestWholeModelOfLimitedSize(t *testing.T) {
	small := llama(t, modeltest.Config{Vocab: 1024, Hidden: 128, Layers: 5, Heads: 4, KVHeads: 2, HeadDim: 32, Inner: 384})
	large := llama(t, modeltest.Config{Vocab: 32000, Hidden: 2048, Layers: 22, Heads: 32, KVHeads: 4, HeadDim: 64, Inner: 5632})
	if wholeBytes(small) > WholeMost || wholeBytes(large) < WholeMost {
		t.Errorf("%d and %d bytes", wholeBytes(small), wholeBytes(large))
	}
	r := parse(t, "w4 g32 sym autoround-best")
	if notes := substitutions(r, small); slices.ContainsFunc(notes, aboutWhole) {
		t.Errorf("a small model: %q", notes)
	}
	if notes := substitutions(r, large); !slices.ContainsFunc(notes, aboutWhole) {
		t.Errorf("a large model: %q", notes)
	}
}

func aboutWhole(note string) bool { return note == MethodNamed(AutoRoundBest).Needs.Whole.TooLarge }

// A training of the whole model that is cut goes on to the same bytes.
func TestWholeTrainingResumes(t *testing.T) {
	shortTraining(t, 12)
	const recipe = "w4 channel sym autoround-best; *.1.* keep"
	dir := t.TempDir()
	if err := quantizeDemo(filepath.Join(dir, "want"), recipe, 0); err != nil {
		t.Fatal(err)
	}
	ck := open(t, "demo")
	cal, err := NewCalibration(ck, CalibrationOptions{Samples: 3, Length: 32})
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range []int{2, -1} { // while a layer is trained, and all of them
		out := filepath.Join(dir, fmt.Sprint("out", layer))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_, err := Run(ctx, Options{Engine: engine(t, 1), Source: ck, Recipe: parse(t, recipe), Out: out, Calibration: cal}, func(e Event) {
			if e, ok := e.(Trained); ok && e.Layer == layer && e.Iteration == 6 {
				cancel()
			}
		})
		if u := (*Unfinished)(nil); !errors.As(err, &u) {
			t.Fatalf("a cancelled run: %v", err)
		}
		trained, first := map[int]bool{}, 0
		_, err = Run(context.Background(), Options{Engine: engine(t, 2), Source: ck, Recipe: parse(t, recipe), Out: out, Calibration: cal}, func(e Event) {
			if e, ok := e.(Trained); ok {
				trained[e.Layer] = true
				if e.Layer == layer && first == 0 {
					first = e.Iteration
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if trained[0] || !trained[-1] || layer < 0 && first != 7 {
			t.Errorf("cut in layer %d, trained again: %v, from iteration %d on", layer, trained, first)
		}
		same(t, out, filepath.Join(dir, "want"))
	}
}
