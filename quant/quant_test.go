package quant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/modeltest"
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

func TestParseRecipe(t *testing.T) {
	good := map[string]string{
		"q4":                                 "w4 g32 sym mse",
		"w4":                                 "w4 g32 sym mse",
		"w4 g128 asym rtn":                   "w4 g128 asym rtn",
		"w8 channel":                         "w8 channel sym mse",
		"w4; embed_tokens w4 top5% g64 gptq": "w4 g32 sym mse; embed_tokens w4 g64 sym top5% gptq",
		"w4; lm_head w8 g128":                "w4 g32 sym mse; lm_head w8 g128 sym mse",
		"w4; *.down_proj keep; model.layers.0.* w8": "w4 g32 sym mse; *.down_proj keep; model.layers.0.* w8 g32 sym mse",
	}
	for in, want := range good {
		r, err := ParseRecipe(in)
		if err != nil || r.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, r, err, want)
			continue
		}
		if again, err := ParseRecipe(r.String()); err != nil || again.String() != want {
			t.Errorf("%q does not read back: %q, %v", want, again, err)
		}
	}
	for _, bad := range []string{"", "w3", "w4 g48", "w4 foo", "q5", "w4; lm_head", "w4; [ w8", "missing.json", "w4 g0", "w4 gptqq", "w4 top0%", "w4 top100%", "w4 top", "w4 top%", "w4 top5", "w4 asym top5%", "w8 top5%"} {
		if _, err := ParseRecipe(bad); !errors.Is(err, ErrRecipe) {
			t.Errorf("%q: %v, want ErrRecipe", bad, err)
		}
	}
}

func TestRecipeJSON(t *testing.T) {
	r, err := ParseRecipe("w4 g64 asym rtn; lm_head w8 g32 sym rtn")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "recipe.json")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	back, err := ParseRecipe(file)
	if err != nil || back.String() != r.String() {
		t.Errorf("%q, %v; want %q", back, err, r)
	}
}

// weights with the features that trouble quantizers: outliers, zero groups,
// values below F16's range.
func weights(rows, cols int) []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(rng.NormFloat64()) * 0.05
		switch {
		case rng.IntN(97) == 0 && i/cols > 4:
			w[i] *= 20
		case i/cols == 2:
			w[i] = 0
		case i/cols == 3:
			w[i] *= 1e-9
		case i/cols == 4:
			w[i] = 0.25
		}
	}
	return w
}

func specs() []Spec {
	var all []Spec
	for _, bits := range []int{4, 8} {
		for _, group := range []int{0, 32, 64, 128} {
			for _, sym := range []bool{true, false} {
				all = append(all, Spec{Bits: bits, Group: group, Sym: sym, Method: RTN})
			}
		}
	}
	return all
}

func TestSearchIsNeverWorse(t *testing.T) {
	const rows, cols = 24, 172
	w := weights(rows, cols)
	eng := engine(t, 2)
	for _, s := range specs() {
		_, rtn, err := Quantize(eng, w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		s.Method = MSE
		_, mse, err := Quantize(eng, w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		if mse.MSE > rtn.MSE {
			t.Errorf("%s: searched error %g, plain %g", s, mse.MSE, rtn.MSE)
		}
	}
}

func TestSearchGains(t *testing.T) {
	const rows, cols = 32, 256
	rng := rand.New(rand.NewPCG(3, 4))
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	for _, s := range []Spec{{Bits: 4, Group: 32, Sym: true, Method: RTN}, {Bits: 4, Group: 128, Sym: true, Method: RTN}, {Bits: 4, Group: 128, Sym: false, Method: RTN}} {
		_, rtn, err := Quantize(engine(t, 2), w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		s.Method = MSE
		_, mse, err := Quantize(engine(t, 2), w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.4f of the plain error", s, mse.MSE/rtn.MSE)
		if mse.MSE > 0.95*rtn.MSE {
			t.Errorf("%s: the search gains nothing: %g against %g", s, mse.MSE, rtn.MSE)
		}
	}
}

// Rounding to nearest is at most half a step away unless it is clipped.
func TestRTNError(t *testing.T) {
	const rows, cols = 24, 172
	w := weights(rows, cols)
	for _, s := range specs() {
		q, _, err := Quantize(engine(t, 1), w, rows, cols, s)
		if err != nil {
			t.Fatal(err)
		}
		back := make([]float32, cols)
		for r := range rows {
			q.DequantRow(back, r)
			for c, v := range w[r*cols : (r+1)*cols] {
				step := math.Abs(float64(q.Scale(r, c/s.Scheme().GroupWidth(cols))))
				code := int(q.Code(r, c))
				clipped := code == 0 || code == s.Scheme().MaxCode()
				limit := step/2*1.001 + 1e-7
				if clipped {
					limit = step*1.01 + 1e-7
				}
				if d := math.Abs(float64(v - back[c])); d > limit {
					t.Fatalf("%s row %d column %d: %g became %g, step %g", s, r, c, v, back[c], step)
				}
			}
		}
	}
}

func TestThreadsDoNotMatter(t *testing.T) {
	const rows, cols = 65, 96
	w := weights(rows, cols)
	s := Spec{Bits: 4, Group: 32, Sym: false, Method: MSE}
	one, s1, err := Quantize(engine(t, 1), w, rows, cols, s)
	if err != nil {
		t.Fatal(err)
	}
	four, s4, err := Quantize(engine(t, 4), w, rows, cols, s)
	if err != nil {
		t.Fatal(err)
	}
	if string(one.Codes) != string(four.Codes) || s1 != s4 {
		t.Error("four threads give another result than one")
	}
}

func TestNotFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		w := weights(2, 32)
		w[40] = bad
		if _, _, err := Quantize(engine(t, 1), w, 2, 32, Spec{Bits: 4, Group: 32, Sym: true, Method: RTN}); !errors.Is(err, ErrNotFinite) {
			t.Errorf("%v: %v, want ErrNotFinite", bad, err)
		}
	}
}

// What is evaluated in memory is what is saved: the same logits, bit for bit,
// and the size that the plan said.
func TestSavedEqualsApplied(t *testing.T) {
	ctx := context.Background()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	eng := engine(t, 2)
	base, err := rt.Load(ctx, eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	cal := calibration(t, ck)
	for _, short := range []string{"w4 g32 sym rtn", "w4 g128 asym mse; embed_tokens w8 g32 sym rtn; *.down_proj w8 channel asym rtn", "w4 channel asym rtn", "w4 g64 sym rtn; model.layers.0.* keep",
		"w4 channel sym rtn; embed_tokens w4 g32 sym rtn top10%", "w4 g64 sym imatrix; embed_tokens w4 channel sym gptq top1%"} {
		r, err := ParseRecipe(short)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := NewPlan(ck, r)
		if err != nil {
			t.Fatal(err)
		}
		var used *Calibration
		if Calibrated(r, ck.Config) {
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
	cal, err := NewCalibration(ck, CalibrationOptions{Samples: 3, Length: 32})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(recipe, name, made string) (weights []byte, report Report, quantized int) {
		r, err := ParseRecipe(recipe)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, name)
		res, err := Run(ctx, Options{Engine: engine(t, 2), Source: ck, Recipe: r, Out: out, Calibration: cal, Made: made, Evaluation: name}, func(e Event) {
			if _, ok := e.(ModuleDone); ok {
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
	_, err = Run(ctx, Options{Engine: engine(t, 1), Source: ck, Recipe: DefaultRecipe(), Out: filepath.Join(dir, "out")}, func(Event) { cancel() })
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
	untied := llama(t, small)
	small.Tied = true
	tied := llama(t, small)
	for _, c := range []struct {
		config            model.Config
		method, want, say string
	}{
		{tied, GPTQ, GPTQ, ""},
		{tied, IMatrix, IMatrix, ""},
		{tied, RTN, RTN, ""},
		{tied, AutoRound, GPTQ, "needs a whole layer"},
		{tied, AutoRoundBest, AutoRoundBest, ""},
		{untied, GPTQ, MSE, "needs inputs that are multiplied"},
		{untied, AutoRound, MSE, "needs inputs that are multiplied"},
		{untied, AutoRoundBest, MSE, "needs inputs that are multiplied"},
		{untied, RTN, RTN, ""},
	} {
		r := Recipe{Default: Spec{Bits: 4, Group: 32, Sym: true, Method: RTN}, Rules: []Rule{{"embed_tokens", Spec{Bits: 4, Group: 32, Sym: true, Method: c.method}}}}
		planned := PlannedFor(r, c.config.Modules()[0], takesWhole(r, c.config) != nil)
		got, note := planned.Spec, planned.Note
		if got.Method != c.want || (c.say == "") != (note == "") || !strings.Contains(note, c.say) {
			t.Errorf("tied %t, %s: %s (%q), want %s (%q)", c.config.Tied, c.method, got.Method, note, c.want, c.say)
		}
		if want := MethodNamed(c.want).Calibrates(); Calibrated(r, c.config) != want {
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
	ck := open(t, "demo")
	base, cal := load(t, 0, ck), calibration(t, ck)
	lost := func(method string) float64 {
		m, _, err := ApplyCalibrated(context.Background(), base, ck, parse(t, "keep; embed_tokens w4 g32 sym "+method), cal, nil)
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
	mse, gptq := lost(MSE), lost(GPTQ)
	t.Logf("KL divergence by gptq %.5f, by the search for scales %.5f", gptq, mse)
	if gptq > 0.85*mse {
		t.Errorf("gptq loses %g, the search for scales %g", gptq, mse)
	}
}
