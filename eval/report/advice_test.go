package report

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/model/demo/demotest"
	"nibble/quant"
	rt "nibble/runtime"
)

// adviserFor quantizes two layers of the demo and measures them.
func adviserFor(t *testing.T, recipe string, goal float64) *adviser {
	t.Helper()
	ctx := context.Background()
	base, err := model.Open(demotest.Short(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	eng, err := kernels.New(kernels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close(); base.Close() })
	float, err := rt.Load(ctx, eng, base)
	if err != nil {
		t.Fatal(err)
	}
	r, err := quant.ParseRecipe(recipe)
	if err != nil {
		t.Fatal(err)
	}
	done, err := quant.Run(ctx, quant.Options{Engine: eng, Source: base, Recipe: r, Out: filepath.Join(t.TempDir(), "q")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ck, err := model.Open(done.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	m, err := rt.Load(ctx, eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := eval.NewReference(ctx, float, eval.Options{Text: eval.DemoText(), Chunks: 16}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ref.Close() })
	o := Options{Subject: SubjectOf(ck), Base: base, Running: m, Reference: ref, Goal: goal, Quantized: &done.Report}
	if o.Result, err = eval.Run(ctx, m, ref, eval.Options{}, nil, nil); err != nil {
		t.Fatal(err)
	}
	windows := ref.DamageWindows()
	damage, err := ref.Damage(ctx, m, windows, nil)
	if err != nil {
		t.Fatal(err)
	}
	known, remark := knownRecipe(o)
	if known == nil {
		t.Fatal(remark)
	}
	return &adviser{o: o, recipe: known, running: m, damage: damage, windows: windows, over: map[string]*kernels.Linear{}}
}

// really measures what quantizing by advice gives.
func really(t *testing.T, a *adviser, adv Advice) float64 {
	t.Helper()
	r, err := quant.ParseRecipe(adv.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	p, err := quant.NewPlan(a.o.Base, r)
	if err != nil || p.SizeBytes != adv.SizeBytes {
		t.Errorf("%s takes %d bytes, advised were %d, %v", adv.Recipe, p.SizeBytes, adv.SizeBytes, err)
	}
	m, _, err := quant.Apply(ctx, a.o.Reference.Model, a.o.Base, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	stack, err := a.o.Reference.Stack(m, a.windows)
	if err != nil {
		t.Fatal(err)
	}
	kld, err := a.o.Reference.Divergence(ctx, m, stack, a.windows)
	if err != nil {
		t.Fatal(err)
	}
	return kld
}

// A weak method is advised against before bits are spent.
func TestAdviseMethod(t *testing.T) {
	a := adviserFor(t, "w4 channel sym rtn; embed_tokens w8 channel sym rtn", 1)
	a.o.Goal = 0.8 * a.loss()
	a.o.Result.PPLRatioSE = 0
	got, err := a.advise(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Recipe != "w4 channel sym gptq; embed_tokens w8 channel sym rtn" || got[0].BPWChange != 0 || !strings.Contains(got[0].Text, "gptq instead of rtn") {
		t.Fatalf("%+v", got)
	}
	if kld := really(t, a, got[0]); math.Abs(kld-got[0].KLD) > 1e-9 || !(kld < 0.8*got[0].KLDBefore) {
		t.Errorf("really %g, advised %g, before %g", kld, got[0].KLD, got[0].KLDBefore)
	}
}

// eights counts the matrices to which advice gives 8 bits.
func eights(t *testing.T, a *adviser, adv Advice) int {
	t.Helper()
	r, err := quant.ParseRecipe(adv.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range a.o.Base.Config.Modules() {
		if r.For(m) == better {
			n++
		}
	}
	return n
}

// As few bits as will do are advised, and they do.
func TestAdviseBits(t *testing.T) {
	a := adviserFor(t, "w4 channel sym gptq; embed_tokens w8 channel sym rtn", 1)
	a.o.Goal = 0.55 * a.loss()
	a.o.Result.PPLRatioSE = 0
	all, err := a.candidates()
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.bits(context.Background(), all, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := eights(t, a, got)
	t.Logf("%d of %d: %s", n, len(all), got.Text)
	if !a.within(got.KLD) || !strings.Contains(got.Text, ": reached") || n == 0 || n == len(all) {
		t.Errorf("%d of %d matrices: %+v", n, len(all), got)
	}
	if kld := really(t, a, got); math.Abs(kld-got.KLD) > 0.1*got.KLD {
		t.Errorf("really %g, advised %g", kld, got.KLD)
	}
	if n > 1 {
		fewer, err := a.try(context.Background(), all[:n-1])
		if err != nil || a.within(fewer.KLD) {
			t.Errorf("one matrix less gives %g, which is within the goal as well, %v", fewer.KLD, err)
		}
	}
	// Where nothing suffices, that is said.
	a.o.Goal = 1e-6
	got, err = a.bits(context.Background(), all, nil)
	if err != nil || eights(t, a, got) != len(all) || !strings.Contains(got.Text, ": missed") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWithMethod(t *testing.T) {
	for recipe, want := range map[string]string{
		"w4 g32 sym rtn; lm_head w8 g32 sym rtn; *.0.* w4 g32 sym gptq": "w4 g32 sym gptq; lm_head w8 g32 sym rtn; *.0.* w4 g32 sym gptq",
		"w4 g32 sym gptq; down_proj w4 g32 sym mse":                     "w4 g32 sym gptq; down_proj w4 g32 sym gptq",
		"w4 g32 sym gptq":           "w4 g32 sym gptaq",
		"nl4 g32 gptaq":             "nl4 g32 autoround",
		"w4 g32 sym autoround":      "w4 g32 sym autoround-best",
		"w4 g32 sym autoround-best": "",
		"w8 g32 sym rtn":            "",
		"keep":                      "",
	} {
		r, err := quant.ParseRecipe(recipe)
		if err != nil {
			t.Fatal(err)
		}
		got, _, _, ok := withMethod(r)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %s %v, want %q", recipe, got, ok, want)
		}
	}
}
