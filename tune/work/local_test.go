package work

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/model/demo/demotest"
	"nibble/quant"
	rt "nibble/runtime"
)

// local works on the demo's first two layers, with little text.
func local(t *testing.T) *Local {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	if err := demotest.WriteShort(dir, 2); err != nil {
		t.Fatal(err)
	}
	ck, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	eng, err := kernels.New(kernels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close(); ck.Close() })
	base, err := rt.Load(context.Background(), eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	c, err := quant.NewCalibration(ck, quant.CalibrationOptions{Samples: 2, Length: 64})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := eval.NewReference(context.Background(), base, eval.Options{Text: eval.DemoText(), Chunks: 6, Ctx: 64}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ref.Close() })
	return &Local{Source: ck, Base: base, Calibration: c, Reference: ref, Unkept: func(err error) { t.Error(err) }}
}

// Work can be sent as JSON, means the same there, and has the same key; everything that
// its outcome depends on is in the key.
func TestWorkIsData(t *testing.T) {
	r, err := quant.ParseRecipe("w4 g32 sym gptq; model.embed_tokens keep")
	if err != nil {
		t.Fatal(err)
	}
	w := Work{Kind: Trial, Basis: Basis{Methods: 1, Model: "m", Text: "t", Ctx: 64, Calibration: Calibration{Text: "c", Seed: 2, Samples: 3, Length: 4}},
		Matrices: []string{"a"}, Spec: "keep", Recipe: &r, Beyond: 0.01, Keep: true, Windows: []int{0, 1}}
	data, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var again Work
	if err := json.Unmarshal(data, &again); err != nil || again.Key() != w.Key() || again.Recipe.String() != r.String() {
		t.Errorf("%+v, %v", again, err)
	}
	keys := map[string]bool{w.Key(): true}
	v := reflect.ValueOf(&w).Elem()
	for i := range v.NumField() {
		was := reflect.New(v.Field(i).Type()).Elem()
		was.Set(v.Field(i))
		v.Field(i).SetZero()
		if keys[w.Key()] {
			t.Errorf("the key does not depend on %s", v.Type().Field(i).Name)
		}
		v.Field(i).Set(was)
	}
}

// The order in which work comes changes what it costs, not its outcome.
func TestOrderDoesNotMatter(t *testing.T) {
	l := local(t)
	names := func(ms ...string) []string { return ms }
	var all []Work
	for _, m := range l.Source.Config.Modules() {
		if m.Kind == "embed" || m.Kind == "q" || m.Kind == "down" {
			all = append(all, Work{Kind: Error, Matrices: names(m.Name), Spec: "w4 g32 sym gptq"}, Work{Kind: Divergence, Matrices: names(m.Name), Spec: "w4 g32 sym gptq", Windows: []int{1, 4}})
		}
	}
	do := func(w Work) float64 {
		out, err := l.Do(context.Background(), w, Watcher{})
		if err != nil {
			t.Fatal(err)
		}
		return out.Value
	}
	var want []float64
	for _, w := range all {
		want = append(want, do(w))
	}
	for i := len(all) - 1; i >= 0; i-- {
		if got := do(all[i]); got != want[i] || got <= 0 {
			t.Errorf("%s of %s: %g, in the order of the model %g", all[i].Kind, all[i].Matrices[0], got, want[i])
		}
	}
	// Of several matrices the error is the mean, the divergence that of all together.
	q0, down0 := all[2].Matrices[0], all[4].Matrices[0]
	both := do(Work{Kind: Error, Matrices: names(q0, down0), Spec: "w4 g32 sym gptq"})
	if mean := (want[2] + want[4]) / 2; both != mean {
		t.Errorf("the error of two is %g, the mean %g", both, mean)
	}
	if got := do(Work{Kind: Divergence, Matrices: names(q0, down0), Spec: "w4 g32 sym gptq", Windows: []int{1, 4}}); got <= max(want[3], want[5])/2 || got == want[3] || got == want[5] {
		t.Errorf("a divergence of %g together, %g and %g alone", got, want[3], want[5])
	}
}

// A trial says what the evaluation of the quantized model says, and ends when it is
// asked to, or when it is hopeless.
func TestTrial(t *testing.T) {
	ctx := context.Background()
	l := local(t)
	r, err := quant.ParseRecipe("w4 channel sym rtn; embed_tokens w4 channel sym rtn")
	if err != nil {
		t.Fatal(err)
	}
	w := Work{Kind: Trial, Recipe: &r, Windows: []int{0, 1, 2, 3, 4, 5}}
	m, _, err := quant.ApplyCalibrated(ctx, l.Base, l.Source, r, l.Calibration, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := eval.Run(ctx, m, l.Reference, eval.Options{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	quantized, windows := 0, 0
	watch := Watcher{Quantized: func() { quantized++ }, Window: func(_ eval.Result, n int) bool { windows = n; return false }}
	out, err := l.Do(ctx, w, watch)
	if err != nil || out.Stopped || out.Result.PPL != want.PPL || out.Result.KLDMean != want.KLDMean || quantized != 1 || windows != 6 {
		t.Errorf("%+v, %v; want a perplexity of %g", out, err, want.PPL)
	}
	watch.Window = func(_ eval.Result, n int) bool { return n == 2 }
	if out, err := l.Do(ctx, w, watch); err != nil || !out.Stopped || out.Result.Windows != 2 {
		t.Errorf("ended after %d windows, %v", out.Result.Windows, err)
	}
	w.Beyond = -0.9 // which every model loses more than
	if out, err := l.Do(ctx, w, Watcher{}); err != nil || !out.Stopped || out.Result.Windows != leastWindows {
		t.Errorf("a hopeless trial ended after %d windows, %v", out.Result.Windows, err)
	}
	w.Beyond, w.Keep, l.Artifacts.Dir = 0, true, t.TempDir()
	if out, err := l.Do(ctx, w, Watcher{}); err != nil || out.Result.PPL != want.PPL {
		t.Errorf("kept: %+v, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(l.Artifacts.Of(r), "model.safetensors")); err != nil {
		t.Error(err)
	}
	other := quant.Recipe{Default: quant.Keep}
	l.Artifacts.KeepOnly(r)
	if _, err := os.Stat(l.Artifacts.Of(r)); err != nil {
		t.Error(err)
	}
	l.Artifacts.KeepOnly(other)
	if _, err := os.Stat(l.Artifacts.Of(r)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another is the only one, %v", err)
	}
}

// Work that cannot be done is an error that says why.
func TestRefusedWork(t *testing.T) {
	l := local(t)
	for name, w := range map[string]Work{
		"kind":    {Kind: "other"},
		"matrix":  {Kind: Error, Matrices: []string{"no.such"}, Spec: "w4 g32 sym rtn"},
		"none":    {Kind: Divergence, Spec: "w4 g32 sym rtn"},
		"spec":    {Kind: Error, Matrices: []string{"model.embed_tokens"}, Spec: "w5"},
		"recipe":  {Kind: Trial, Windows: []int{0, 1, 2, 3, 4, 5}},
		"windows": {Kind: Trial, Recipe: &quant.Recipe{Default: quant.Keep}, Windows: []int{0}},
	} {
		if _, err := l.Do(context.Background(), w, Watcher{}); err == nil {
			t.Errorf("%s is done", name)
		}
	}
}
