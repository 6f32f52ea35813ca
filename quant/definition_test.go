package quant

import (
	"context"
	"math"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/modeltest"
	rt "nibble/runtime"
)

// biased is a tiny model of what the demo lacks: biases, an untied head, three
// query heads to a key-value head, heads apart from the stream.
func biased(t *testing.T) (*modeltest.Model, *model.Checkpoint, *rt.Model, *Calibration) {
	t.Helper()
	c := modeltest.Small()
	c.AttentionBias, c.MLPBias = true, true
	tiny := modeltest.New(21, c)
	ck := open(t, tiny.Write(t, nil))
	cal := &Calibration{Name: "random tokens", Length: 40, Samples: 4}
	text := c.Text(cal.Samples * cal.Length)
	for at := 0; at < len(text); at += cal.Length {
		cal.Tokens = append(cal.Tokens, text[at:at+cal.Length])
	}
	return tiny, ck, load(t, 2, ck), cal
}

// dequantized is the tiny model with what quantized matrices stand for.
func dequantized(tiny *modeltest.Model, made map[string]*kernels.QTensor) *modeltest.Model {
	m := &modeltest.Model{Config: tiny.Config, Tensors: map[string]modeltest.Tensor{}}
	for name, w := range tiny.Tensors {
		if q := made[strings.TrimSuffix(name, ".weight")]; q != nil {
			w = modeltest.Tensor{Rows: q.Rows, Cols: q.Cols}
			row := make([]float32, q.Cols)
			for r := range q.Rows {
				q.DequantRow(row, r)
				for _, v := range row {
					w.Data = append(w.Data, float64(v))
				}
			}
		}
		m.Tensors[name] = w
	}
	return m
}

// quantized runs a recipe and returns the matrices and the trainings' last words.
func quantized(t *testing.T, ck *model.Checkpoint, base *rt.Model, cal *Calibration, recipe string) (heldSink, map[int]Trained) {
	t.Helper()
	last, out := map[int]Trained{}, newHeldSink()
	j := job{eng: base.Engine, ck: ck, base: base, recipe: parse(t, recipe), calibration: cal, l: func(e Event) {
		if e, ok := e.(Trained); ok {
			last[e.Layer] = e
		}
	}}
	if err := j.prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.run(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	return out, last
}

// AWQ's scales change norms and matrices, but not what a layer with biases
// computes; where a bias stands in the way, there are none and the plan says so.
func TestAWQWithBiases(t *testing.T) {
	ctx := context.Background()
	tiny, _, _, cal := biased(t)
	tiny.Tensors["model.layers.0.input_layernorm.weight"].Data[3] = 0 // which no scale divides
	ck := open(t, tiny.Write(t, nil))
	base := load(t, 2, ck)
	plan, err := NewPlan(ck, parse(t, "w4 g32 sym awq"))
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(plan.Substitutions, "\n")
	if !strings.Contains(notes, "v_proj, which makes the inputs, has a bias") || !strings.Contains(notes, "up_proj, which makes the inputs, has a bias") {
		t.Errorf("the plan notes %s", notes)
	}
	for _, m := range plan.Modules {
		if stopped := m.Module.Kind == "o" || m.Module.Kind == "down"; stopped != strings.Contains(m.Note, "no scales") {
			t.Errorf("%s is noted: %q", m.Module.Name, m.Note)
		}
	}
	p, err := newPass(ck, plan, base, cal, base.Engine, newHeldSink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := Stages(ck.Config, plan.Modules)[1]
	if err := p.enter(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := awqTransform(ctx, p, s, s.Of(MethodNamed(AWQ))); err != nil {
		t.Fatal(err)
	}
	if len(p.vectors) != 2 || len(p.weights) != 5 { // q, k, v and gate, up after their norms
		t.Fatalf("%d norms and %d matrices were scaled", len(p.vectors), len(p.weights))
	}
	for name, v := range p.vectors {
		moved := 0
		for i, stored := range tiny.Tensors[name].Data {
			if math.Abs(float64(v[i])-stored) > 1e-3 {
				moved++
			}
		}
		if moved < len(v)/2 {
			t.Errorf("%s: %d of %d scales are not 1", name, moved, len(v))
		}
	}
	if err := p.seq.stack.Advance(ctx, p.seq.cur); err != nil {
		t.Fatal(err)
	}
	for i, text := range cal.Tokens {
		for j, want := range tiny.Forward(text).States[1] {
			h := len(want)
			if d := modeltest.Distance(p.seq.stack.States()[i][j*h:(j+1)*h], want); !(d < 1e-4) {
				t.Fatalf("text %d, token %d: off by %.2g deviations", i, j, d)
			}
		}
	}
}

// What training says is lost is what the trained codes lose, computed in float64:
// the squared distance of a layer's outputs, and the divergence of the model's.
func TestTrainedLossIsAsDefined(t *testing.T) {
	shortTraining(t, 3)
	tiny, ck, base, cal := biased(t)
	made, last := quantized(t, ck, base, cal, "w4 g32 sym autoround; *.1.* keep; embed_tokens keep; lm_head keep")
	off := dequantized(tiny, made.matrices)
	sum, n := 0.0, 0.0
	for _, text := range cal.Tokens {
		got, want := off.Forward(text).States[1], tiny.Forward(text).States[1]
		for i := range want {
			for j := range want[i] {
				sum, n = sum+(got[i][j]-want[i][j])*(got[i][j]-want[i][j]), n+1
			}
		}
	}
	if e := last[0]; len(last) != 1 || math.Abs(e.Loss*n/sum-1) > 1e-3 || e.Iteration != 3 {
		t.Errorf("the layer's loss is said to be %g, it is %g", e.Loss, sum/n)
	}

	made, last = quantized(t, ck, base, cal, "w4 g32 sym autoround-best; *.1.mlp.* keep; embed_tokens keep")
	off = dequantized(tiny, made.matrices)
	sum, n = 0.0, 0.0
	for _, text := range cal.Tokens {
		got, want := off.Forward(text).Logits, tiny.Forward(text).Logits
		for i := range want {
			sum, n = sum+divergenceOf(want[i], got[i]), n+1
		}
	}
	if e := last[-1]; math.Abs(e.Loss*n/sum-1) > 1e-3 {
		t.Errorf("the model's loss is said to be %g, it is %g", e.Loss, sum/n)
	}
}

// divergenceOf is the KL divergence of the distributions of logits.
func divergenceOf(p, q []float64) float64 {
	sum := func(x []float64) (s float64) {
		for _, v := range x {
			s += math.Exp(v)
		}
		return s
	}
	zp, zq, kld := math.Log(sum(p)), math.Log(sum(q)), 0.0
	for i := range p {
		kld += math.Exp(p[i]-zp) * (p[i] - zp - q[i] + zq)
	}
	return kld
}

// The inputs that a matrix is quantized for are those of the layers before it,
// quantized, with their biases.
func TestInputsAreAsDefined(t *testing.T) {
	ctx := context.Background()
	tiny, ck, base, cal := biased(t)
	seq, err := newSequence(ck, base, cal)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]*kernels.QTensor{}
	for _, mod := range ck.Config.Modules() {
		if mod.Layer < 0 {
			continue
		}
		if err := seq.enter(ctx, mod.Layer); err != nil {
			t.Fatal(err)
		}
		off, text := dequantized(tiny, made), 0
		if err := seq.input(ctx, mod, func(x []float32, rows, cols int) error {
			for i, want := range off.Forward(cal.Tokens[text]).Inputs[mod.Name] {
				if d := modeltest.Distance(x[i*cols:(i+1)*cols], want); !(d < 1e-4) {
					t.Fatalf("%s, text %d, token %d: off by %.2g deviations", mod.Name, text, i, d)
				}
			}
			text++
			return nil
		}); err != nil || text != len(cal.Tokens) {
			t.Fatalf("%s: %d texts, %v", mod.Name, text, err)
		}
		if mod.Kind != "k" && mod.Kind != "down" {
			continue
		}
		// Quantized matrices are put as floats, as they stand for: activations of eight
		// bits would blur what is compared.
		q, _, err := One(ctx, base.Engine, ck, mod, Spec{Bits: 4, Group: 32, Sym: true, Method: RTN})
		if err != nil {
			t.Fatal(err)
		}
		made[mod.Name] = q
		values := kernels.NewMatrix(mod.Rows, mod.Cols)
		for r := range mod.Rows {
			q.DequantRow(values.Row(r), r)
		}
		l, err := kernels.NewMatrixLinear(values)
		if err != nil {
			t.Fatal(err)
		}
		if err := seq.put(mod, l); err != nil {
			t.Fatal(err)
		}
	}
}

// What AWQ measures of a place to scale, and what it says is lost with scales, is
// what the inputs and the rounded weights give in float64.
func TestScalingIsAsDefined(t *testing.T) {
	ctx := context.Background()
	tiny, ck, base, cal := biased(t)
	plan, err := NewPlan(ck, parse(t, "w4 g32 sym awq; *.v_proj w8 g32 asym awq"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPass(ck, plan, base, cal, base.Engine, newHeldSink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := Stages(ck.Config, plan.Modules)[1]
	if err := p.enter(ctx, s); err != nil {
		t.Fatal(err)
	}
	fs, _ := folds(ck.Config, s)
	for _, f := range fs {
		at, err := newScaling(ctx, p, f)
		if err != nil {
			t.Fatal(err)
		}
		n := f.readers[0].Module.Cols
		var inputs [][]float64
		for _, text := range cal.Tokens {
			inputs = append(inputs, tiny.Forward(text).Inputs[f.readers[0].Module.Name]...)
		}
		for c := range n {
			squares, size := 0.0, 0.0
			for _, x := range inputs {
				squares, size = squares+x[c]*x[c], size+math.Abs(x[c])
			}
			if math.Abs(at.squares[c]/squares-1) > 1e-4 || math.Abs(at.input[c]/size-1) > 1e-4 {
				t.Errorf("column %d: squares of %g and a size of %g, want %g and %g", c, at.squares[c], at.input[c], squares, size)
			}
		}
		scales := make([]float32, n)
		for c := range scales {
			scales[c] = float32(math.Exp(float64(c%5-2) / 2))
		}
		for _, s := range [][]float32{nil, scales} {
			scale := func(c int) float64 {
				if s == nil {
					return 1
				}
				return float64(s[c])
			}
			sums := make([]float64, n)
			for c := range sums {
				sums[c] = at.squares[c] / (scale(c) * scale(c))
			}
			want := 0.0
			for _, m := range f.readers {
				w := tiny.Tensors[m.Module.Name+".weight"]
				scaled := make([]float32, len(w.Data))
				for i, v := range w.Data {
					scaled[i] = float32(v * scale(i%n))
				}
				q, _, err := quantize(ctx, base.Engine, w.Rows, n, m.Spec.Scheme(), Search{Weights: importance(sums)}, func(_ []float32, r int) []float32 { return scaled[r*n : (r+1)*n] }, nil)
				if err != nil {
					t.Fatal(err)
				}
				off, energy, row := 0.0, 0.0, make([]float32, n)
				for r := range w.Rows {
					q.DequantRow(row, r)
					for _, x := range inputs {
						d, y := 0.0, 0.0
						for c, v := range row {
							d += (float64(v)/scale(c) - w.Data[r*n+c]) * x[c]
							y += w.Data[r*n+c] * x[c]
						}
						off, energy = off+d*d, energy+y*y
					}
				}
				want += off / energy
			}
			if got, err := at.loss(ctx, s); err != nil || math.Abs(got/want-1) > 1e-3 {
				t.Errorf("%s, scaled: %v: a loss of %g, want %g, %v", f.readers[0].Module.Name, s != nil, got, want, err)
			}
		}
		// The scales that are taken lose least of those tried, none among them.
		best, err := at.search(ctx)
		if err != nil {
			t.Fatal(err)
		}
		least, err := at.loss(ctx, best)
		if err != nil {
			t.Fatal(err)
		}
		for i := range awqSteps + 1 {
			for _, duo := range []bool{false, true} {
				s := at.scales(float64(i)/awqSteps, duo)
				if i == 0 {
					s = nil
				}
				if lost, err := at.loss(ctx, s); err != nil || lost < least {
					t.Errorf("%s: scales of exponent %d lose %g, those taken %g, %v", f.readers[0].Module.Name, i, lost, least, err)
				}
			}
		}
	}
}
