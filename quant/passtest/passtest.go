package passtest

import (
	"context"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/modeltest"
	"nibble/model/output"
	"nibble/quant/calib"
	"nibble/quant/grid"
	"nibble/quant/pass"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
	rt "nibble/runtime"
)

// Biased is a tiny model of what the demo lacks: biases, an untied head, three
// query heads to a key-value head, heads apart from the stream.
func Biased(t *testing.T) (*modeltest.Model, *model.Checkpoint, *rt.Model, *calib.Calibration) {
	t.Helper()
	c := modeltest.Small()
	c.AttentionBias, c.MLPBias = true, true
	tiny := modeltest.New(21, c)
	ck := quanttest.Open(t, tiny.Write(t, nil))
	cal := &calib.Calibration{Name: "random tokens", Length: 40, Samples: 4}
	text := c.Text(cal.Samples * cal.Length)
	for at := 0; at < len(text); at += cal.Length {
		cal.Tokens = append(cal.Tokens, text[at:at+cal.Length])
	}
	return tiny, ck, quanttest.Load(t, 2, ck), cal
}

// Dequantized is the tiny model with what quantized matrices stand for.
func Dequantized(tiny *modeltest.Model, made map[string]*kernels.QTensor) *modeltest.Model {
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

func HessianOf(t testing.TB, eng *kernels.Engine, x []float32, tokens, cols int) *calib.Hessian {
	t.Helper()
	h := calib.NewHessian(eng, cols)
	for at := 0; at < tokens; at += 100 { // in pieces, as texts come
		n := min(100, tokens-at)
		if err := h.Add(context.Background(), x[at*cols:], n, cols); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	return h
}

// Take claims a place for as long as the test lasts.
func Take(t testing.TB, path string) *output.Claim {
	t.Helper()
	at, err := output.Take(path, output.Directory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Release)
	return at
}

// HeldSink keeps what a pass finishes.
type HeldSink struct {
	Matrices map[string]*kernels.QTensor
	Values   map[string][]float32
	pass.Fresh
}

func NewHeldSink() HeldSink {
	return HeldSink{Matrices: map[string]*kernels.QTensor{}, Values: map[string][]float32{}}
}

func (s HeldSink) PutQ(m model.Module, q *kernels.QTensor, _ pass.ModuleReport) error {
	s.Matrices[m.Name] = q
	return nil
}

func (s HeldSink) PutFloats(name string, v []float32) error {
	s.Values[name] = v
	return nil
}

// Calibration is a small one of the built-in text.
func Calibration(t *testing.T, ck *model.Checkpoint) *calib.Calibration {
	t.Helper()
	c, err := calib.New(ck, calib.Options{Samples: 3, Length: 64})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func Parse(t *testing.T, short string) recipe.Recipe {
	t.Helper()
	r, err := recipe.Parse(short)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func Specs() []recipe.Spec {
	var all []recipe.Spec
	for _, bits := range []int{4, 8} {
		for _, group := range []int{0, 32, 64, 128} {
			for _, sym := range []bool{true, false} {
				all = append(all, recipe.Spec{Bits: bits, Group: group, Sym: sym, Method: "rtn"})
			}
		}
	}
	return append(all, recipe.Spec{Bits: 4, Group: 32, Sym: true, Table: "nl4", Method: "rtn"})
}

// Quantize stores w, rows x cols row-major, by a spec whose method needs no
// calibration.
func Quantize(eng *kernels.Engine, w []float32, rows, cols int, s recipe.Spec) (*kernels.QTensor, grid.Stats, error) {
	return grid.Quantize(context.Background(), eng, rows, cols, s.Scheme(), grid.Search{Plain: s.Method == "rtn"},
		func(_ []float32, r int) []float32 { return w[r*cols : (r+1)*cols] }, nil)
}
