package quant

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/modeltest"
	"nibble/quant/calib"
	"nibble/quant/journal"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/plan"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
	rt "nibble/runtime"
)

// What is evaluated in memory is what is saved: the same logits, bit for bit,
// and the size that the plan said.
func TestSavedEqualsApplied(t *testing.T) {
	ctx := context.Background()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	eng := quanttest.Engine(t, 2)
	base, err := rt.Load(ctx, eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	cal := passtest.Calibration(t, ck)
	for _, short := range []string{"w4 g32 sym rtn", "w4 g128 asym mse; embed_tokens w8 g32 sym rtn; *.down_proj w8 channel asym rtn", "w4 channel asym rtn", "w4 g64 sym rtn; model.layers.0.* keep",
		"w4 channel sym rtn; embed_tokens w4 g32 sym rtn top10%", "w4 g64 sym imatrix; embed_tokens w4 channel sym gptq top1%"} {
		r, err := recipe.Parse(short)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := plan.New(ck, r)
		if err != nil {
			t.Fatal(err)
		}
		var used *calib.Calibration
		if method.Calibrated(r, ck.Config) {
			used = cal
		}
		applied, _, err := ApplyCalibrated(ctx, base, ck, r, used, nil)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		res, err := Run(ctx, Options{Engine: eng, Source: ck, Recipe: r, Out: out, Calibration: used}, nil)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(out, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != plan.SizeBytes || res.SizeBytes != plan.SizeBytes {
			t.Errorf("%s: %d bytes on disk, %d reported, %d planned", short, info.Size(), res.SizeBytes, plan.SizeBytes)
		}
		ck2, err := model.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := rt.Load(ctx, eng, ck2)
		if err != nil {
			t.Fatal(err)
		}
		a, b := logits(t, applied), logits(t, saved)
		for i := range a {
			if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
				t.Fatalf("%s: logit %d is %g in memory, %g from disk", short, i, a[i], b[i])
			}
		}
		ck2.Close()
	}
}

// What a run with the same options made is taken over, byte by byte and without
// quantizing; what another recipe made is not.
func TestMade(t *testing.T) {
	ctx := context.Background()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	cal, err := calib.New(ck, calib.Options{Samples: 3, Length: 32})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(short, name, made string) (weights []byte, report journal.Report, quantized int) {
		r, err := recipe.Parse(short)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, name)
		res, err := Run(ctx, Options{Engine: quanttest.Engine(t, 2), Source: ck, Recipe: r, Out: out, Calibration: cal, Made: made, Evaluation: name}, func(e pass.Event) {
			if _, ok := e.(pass.ModuleDone); ok {
				quantized++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if weights, err = os.ReadFile(filepath.Join(out, "model.safetensors")); err != nil {
			t.Fatal(err)
		}
		return weights, res.Report, quantized
	}
	const recipe = "w4 g32 sym awq; *.3.* keep; down_proj w4 g64 asym gptq" // replaces norms and what is kept
	first, report, n := run(recipe, "first", filepath.Join(dir, "nothing"))
	if n == 0 {
		t.Fatal("nothing was quantized")
	}
	second, again, n := run(recipe, "second", filepath.Join(dir, "first"))
	if n != 0 || !bytes.Equal(first, second) || len(again.Modules) != len(report.Modules) || again.Evaluation != "second" {
		t.Errorf("%d matrices were quantized again; the same bytes: %v; report %v", n, bytes.Equal(first, second), again.Evaluation)
	}
	if third, _, n := run(recipe+"; *.up_proj w4 g32 sym rtn", "third", filepath.Join(dir, "first")); n == 0 || bytes.Equal(first, third) {
		t.Errorf("what another recipe made was taken over: %d matrices were quantized", n)
	}
}

func logits(t *testing.T, m *rt.Model) []float32 {
	t.Helper()
	ids := []int32{312, 351, 398, 258, 381, 11, 393, 279, 258}
	hidden, err := m.NewExactSession(0).Forward(context.Background(), ids)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(ids)*m.Config.Vocab)
	m.Logits(m.Engine.NewActs(), out, hidden, len(ids))
	return out
}

func TestCancelLeavesNothing(t *testing.T) {
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	_, err = Run(ctx, Options{Engine: quanttest.Engine(t, 1), Source: ck, Recipe: recipe.Default(), Out: filepath.Join(dir, "out")}, func(pass.Event) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want context.Canceled", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%v left behind (%v)", left, err)
	}
}

// TestEmbeddingIsQuantizedForWhatItMultiplies checks what is planned for the
// embedding: one that is the output head as well has the head's inputs, one that
// only looks up rows has none.
func TestEmbeddingIsQuantizedForWhatItMultiplies(t *testing.T) {
	small := modeltest.Small()
	untied := quanttest.Llama(t, small)
	small.Tied = true
	tied := quanttest.Llama(t, small)
	for _, c := range []struct {
		config            model.Config
		method, want, say string
	}{
		{tied, method.GPTQ, method.GPTQ, ""},
		{tied, method.IMatrix, method.IMatrix, ""},
		{tied, method.RTN, method.RTN, ""},
		{tied, method.AutoRound, method.GPTQ, "needs a whole layer"},
		{tied, method.AutoRoundBest, method.AutoRoundBest, ""},
		{untied, method.GPTQ, method.MSE, "needs inputs that are multiplied"},
		{untied, method.AutoRound, method.MSE, "needs inputs that are multiplied"},
		{untied, method.AutoRoundBest, method.MSE, "needs inputs that are multiplied"},
		{untied, method.RTN, method.RTN, ""},
	} {
		r := recipe.Recipe{Default: recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.RTN}, Rules: []recipe.Rule{{Match: "embed_tokens", Spec: recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: c.method}}}}
		planned, _ := method.PlanAll(r, c.config)
		got, note := planned[0].Spec, planned[0].Note
		if got.Method != c.want || (c.say == "") != (note == "") || !strings.Contains(note, c.say) {
			t.Errorf("tied %t, %s: %s (%q), want %s (%q)", c.config.Tied, c.method, got.Method, note, c.want, c.say)
		}
		if want := method.Named(c.want).Calibrates(); method.Calibrated(r, c.config) != want {
			t.Errorf("tied %t, %s: calibrated %t, want %t", c.config.Tied, c.method, !want, want)
		}
	}
}

// answers returns the log probabilities of what follows each token.
func answers(t *testing.T, m *rt.Model, ids []int32) []float64 {
	t.Helper()
	hidden, err := m.NewExactSession(0).Forward(context.Background(), ids)
	if err != nil {
		t.Fatal(err)
	}
	n := m.Config.Vocab
	x := make([]float32, len(ids)*n)
	m.Logits(m.Engine.NewActs(), x, hidden, len(ids))
	out := make([]float64, len(x))
	for at := 0; at < len(x); at += n {
		sum := 0.0
		for _, v := range x[at : at+n] {
			sum += math.Exp(float64(v))
		}
		for i, v := range x[at : at+n] {
			out[at+i] = float64(v) - math.Log(sum)
		}
	}
	return out
}

// TestTiedEmbeddingLosesLessByGPTQ compares the divergence that the embedding
// alone causes when its inputs as the output head count and when they do not.
func TestTiedEmbeddingLosesLessByGPTQ(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	base, cal := quanttest.Load(t, 0, ck), passtest.Calibration(t, ck)
	lost := func(method string) float64 {
		m, _, err := ApplyCalibrated(context.Background(), base, ck, passtest.Parse(t, "keep; embed_tokens w4 g32 sym "+method), cal, nil)
		if err != nil {
			t.Fatal(err)
		}
		ids := cal.Tokens[len(cal.Tokens)-1]
		sum, got := 0.0, answers(t, m, ids)
		for i, v := range answers(t, base, ids) {
			sum += math.Exp(v) * (v - got[i])
		}
		return sum / float64(len(ids))
	}
	mse, gptq := lost(method.MSE), lost(method.GPTQ)
	t.Logf("KL divergence by gptq %.5f, by the search for scales %.5f", gptq, mse)
	if gptq > 0.85*mse {
		t.Errorf("gptq loses %g, the search for scales %g", gptq, mse)
	}
}
