package method

import (
	"context"
	"math"
	"reflect"
	"testing"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/modeltest"
	"nibble/quant/calib"
	"nibble/quant/grid"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
)

// Scales change norms and weights, but not what the layer computes.
func TestAWQComputesTheSame(t *testing.T) {
	ctx := context.Background()
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	planned, _ := PlanAll(passtest.Parse(t, "w4 g32 sym awq"), ck.Config)
	p, err := pass.New(ck, planned, base, passtest.Calibration(t, ck), base.Engine, passtest.NewHeldSink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := pass.Stages(ck.Config, planned)[1]
	if err := p.Enter(ctx, s); err != nil {
		t.Fatal(err)
	}
	// What the layer adds to the stream shows in its outputs.
	outputs := func() [][]float32 {
		stack := p.Sequence.Stack.Clone()
		if err := stack.Advance(ctx, p.Sequence.Cur); err != nil {
			t.Fatal(err)
		}
		return stack.States()
	}
	before := outputs()
	if err := awqTransform(ctx, p, s, s.Of(Named(AWQ))); err != nil {
		t.Fatal(err)
	}
	after := outputs()
	for i := range before {
		for j, v := range before[i] {
			if math.Abs(float64(v-after[i][j])) > 1e-4*(1+math.Abs(float64(v))) {
				t.Fatalf("text %d: %g became %g", i, v, after[i][j])
			}
		}
	}
	if len(p.Vectors) == 0 || len(p.Weights) < 4 {
		t.Fatalf("%d norms and %d matrices were scaled", len(p.Vectors), len(p.Weights))
	}
	for name, v := range p.Vectors {
		stored, err := ck.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		round := append([]float32{}, v...)
		kernels.RoundFloats(round, stored.DType)
		if !reflect.DeepEqual(round, v) {
			t.Errorf("%s cannot be stored as %v", name, stored.DType)
		}
	}
}

// Heads that share a row of the value matrix are scaled alike.
func TestAWQSharedHeads(t *testing.T) {
	c := quanttest.Llama(t, modeltest.Config{Vocab: 9, Hidden: 8, Layers: 1, Heads: 6, KVHeads: 2, HeadDim: 4, Inner: 8})
	f := c.Folds(0)[1]
	if f.Source.Role != arch.RoleV {
		t.Fatalf("the second place is of %s", f.Source.Path)
	}
	seen := map[int]int{}
	for row := range 8 {
		for k := range 3 {
			col := f.Column(row, k)
			seen[col]++
			head, kv := col/4, row/4
			if head/3 != kv || col%4 != row%4 {
				t.Errorf("column %d of head %d is said to read row %d", col, head, row)
			}
		}
	}
	if len(seen) != 24 {
		t.Errorf("%d columns of 24 read a row", len(seen))
	}
}

// Where kept matrices or other methods stand in the way, the plan says so.
func TestAWQPlaces(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	for _, c := range []struct {
		recipe string
		folds  int // of layer 0
	}{
		{"w4 g32 sym awq", 4},
		{"w4 g32 sym awq; up_proj keep", 2},
		{"w4 g32 sym awq; q_proj w8 g32 sym rtn", 3},
		{"w4 g32 sym rtn; o_proj w4 g32 sym awq", 1},
		{"w4 g32 sym rtn", 0},
	} {
		planned, _ := PlanAll(passtest.Parse(t, c.recipe), ck.Config)
		if fs, _ := folds(ck.Config, pass.Stages(ck.Config, planned)[1]); len(fs) != c.folds {
			t.Errorf("%s: %d places to scale, want %d", c.recipe, len(fs), c.folds)
		}
	}
}

// AWQ's scales change norms and matrices, but not what a layer with biases
// computes.
func TestAWQWithBiases(t *testing.T) {
	ctx := context.Background()
	tiny, _, _, cal := passtest.Biased(t)
	tiny.Tensors["model.layers.0.input_layernorm.weight"].Data[3] = 0 // which no scale divides
	ck := quanttest.Open(t, tiny.Write(t, nil))
	base := quanttest.Load(t, 2, ck)
	planned, _ := PlanAll(passtest.Parse(t, "w4 g32 sym awq"), ck.Config)
	p, err := pass.New(ck, planned, base, cal, base.Engine, passtest.NewHeldSink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := pass.Stages(ck.Config, planned)[1]
	if err := p.Enter(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := awqTransform(ctx, p, s, s.Of(Named(AWQ))); err != nil {
		t.Fatal(err)
	}
	if len(p.Vectors) != 2 || len(p.Weights) != 5 { // q, k, v and gate, up after their norms
		t.Fatalf("%d norms and %d matrices were scaled", len(p.Vectors), len(p.Weights))
	}
	for name, v := range p.Vectors {
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
	if err := p.Sequence.Stack.Advance(ctx, p.Sequence.Cur); err != nil {
		t.Fatal(err)
	}
	for i, text := range cal.Tokens {
		for j, want := range tiny.Forward(text).States[1] {
			h := len(want)
			if d := modeltest.Distance(p.Sequence.Stack.States()[i][j*h:(j+1)*h], want); !(d < 1e-4) {
				t.Fatalf("text %d, token %d: off by %.2g deviations", i, j, d)
			}
		}
	}
}

// What AWQ measures of a place to scale, and what it says is lost with scales, is
// what the inputs and the rounded weights give in float64.
func TestScalingIsAsDefined(t *testing.T) {
	ctx := context.Background()
	tiny, ck, base, cal := passtest.Biased(t)
	planned, _ := PlanAll(passtest.Parse(t, "w4 g32 sym awq; *.v_proj w8 g32 asym awq"), ck.Config)
	p, err := pass.New(ck, planned, base, cal, base.Engine, passtest.NewHeldSink(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := pass.Stages(ck.Config, planned)[1]
	if err := p.Enter(ctx, s); err != nil {
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
				q, _, err := grid.Quantize(ctx, base.Engine, w.Rows, n, m.Spec.Scheme(), grid.Search{Weights: calib.Importance(sums)}, func(_ []float32, r int) []float32 { return scaled[r*n : (r+1)*n] }, nil)
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
			if got, err := at.Loss(ctx, s); err != nil || math.Abs(got/want-1) > 1e-3 {
				t.Errorf("%s, scaled: %v: a loss of %g, want %g, %v", f.readers[0].Module.Name, s != nil, got, want, err)
			}
		}
		// The scales that are taken lose least of those tried, none among them.
		best, err := at.search(ctx)
		if err != nil {
			t.Fatal(err)
		}
		least, err := at.Loss(ctx, best)
		if err != nil {
			t.Fatal(err)
		}
		for i := range awqSteps + 1 {
			for _, duo := range []bool{false, true} {
				s := at.scales(float64(i)/awqSteps, duo)
				if i == 0 {
					s = nil
				}
				if lost, err := at.Loss(ctx, s); err != nil || lost < least {
					t.Errorf("%s: scales of exponent %d lose %g, those taken %g, %v", f.readers[0].Module.Name, i, lost, least, err)
				}
			}
		}
	}
}
