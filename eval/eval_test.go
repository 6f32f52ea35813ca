package eval

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
)

func load(t *testing.T, ref string) (*model.Checkpoint, *rt.Model) {
	t.Helper()
	ck, err := model.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	eng, err := kernels.New(kernels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close(); ck.Close() })
	m, err := rt.Load(context.Background(), eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	return ck, m
}

// Perplexity and accuracy of the demo model as computed by an independent
// implementation.
func TestDemoExpected(t *testing.T) {
	raw, err := os.ReadFile("../model/demo/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Accuracy map[string]float64 `json:"question_accuracy"`
		PPL      float64            `json:"eval_stories_ppl_ctx512_first20"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	_, m := load(t, "demo")
	task, err := DemoTask()
	if err != nil {
		t.Fatal(err)
	}
	res, err := Run(context.Background(), m, nil, Options{Text: DemoText(), Chunks: 20, Tasks: []TaskSet{task}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(res.PPL/want.PPL-1) > 1e-4 {
		t.Errorf("perplexity %g, want %g", res.PPL, want.PPL)
	}
	for _, r := range res.Tasks {
		name := r.Name
		if name == "demo" {
			name = "all"
		}
		if math.Abs(r.Acc-want.Accuracy[name]) > 0.0006 { // printed with three decimals
			t.Errorf("%s: accuracy %g, want %g", name, r.Acc, want.Accuracy[name])
		}
	}
}

func TestStoriesExpected(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "data")
	raw, err := os.ReadFile(filepath.Join(dir, "models/stories260K/expected.json"))
	if err != nil {
		t.Skip("needs models/stories260K, which is not part of the project")
	}
	var want struct {
		Text   string
		Ctx    int `json:"n_ctx"`
		Chunks int
		Scored int `json:"scored_tokens"`
		PPL    float64
		IDs    []int32 `json:"first_ids"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	text, err := ReadText(filepath.Join(dir, want.Text), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, m := load(t, filepath.Join(dir, "models/stories260K"))
	o := Options{Text: text, Ctx: want.Ctx, Chunks: want.Chunks}
	windows, _, err := o.chunks(m)
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range want.IDs {
		if windows[0][i] != id {
			t.Fatalf("token %d is %d, want %d", i, windows[0][i], id)
		}
	}
	res, err := Run(context.Background(), m, nil, o, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(res.PPL/want.PPL-1) > 1e-4 || res.Tokens != want.Scored {
		t.Errorf("perplexity %g over %d tokens, want %g over %d", res.PPL, res.Tokens, want.PPL, want.Scored)
	}
}

func TestCompareQuantized(t *testing.T) {
	ck, base := load(t, "demo")
	ctx := context.Background()
	ref, err := NewReference(ctx, base, Options{Text: DemoText(), Chunks: 4}, nil)
	if err != nil {
		t.Fatal(err)
	}
	self, err := Run(ctx, base, ref, Options{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if self.Windows != 4 || self.WindowsInText != 78 || ref.Result.Windows != 4 || ref.Result.WindowsInText != 78 {
		t.Errorf("%d of %d windows, the base %d of %d; want 4 of 78", self.Windows, self.WindowsInText, ref.Result.Windows, ref.Result.WindowsInText)
	}
	if self.KLDMean != 0 || self.PPLRatio != 1 || self.SameTop != 1 {
		t.Errorf("a model differs from itself: %+v", *self.Comparison)
	}
	last := 0.0
	for _, recipe := range []string{"w8 g32 sym rtn", "w4 g32 sym mse", "w4 channel sym rtn"} {
		r, err := quant.ParseRecipe(recipe)
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := quant.Apply(ctx, base, ck, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := Run(ctx, m, ref, Options{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-20s ppl %.4f ratio %.4f ± %.4f kld %.5f ± %.5f same top %.3f", recipe, res.PPL, res.PPLRatio, res.PPLRatioSE, res.KLDMean, res.KLDSE, res.SameTop)
		if res.KLDMean <= last {
			t.Errorf("%s: KL divergence %g is not above %g", recipe, res.KLDMean, last)
		}
		last = res.KLDMean
	}
}

// A listener's wish ends a run early; what was measured is as complete as the
// windows allow.
func TestStopEarly(t *testing.T) {
	_, base := load(t, "demo")
	ref, err := NewReference(context.Background(), base, Options{Text: DemoText(), Chunks: 3, Ctx: 64}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var last Progress
	res, err := Run(context.Background(), base, ref, Options{}, func(e Event) { last = e.(Progress) }, func(r Result) bool { return r.Tokens > 40 })
	if !errors.Is(err, ErrStopped) {
		t.Fatalf("%v, want ErrStopped", err)
	}
	if res.Tokens != 2*31 || res.Ctx != 64 || last.Done != 2 || last.Total != 3 || last.Rate <= 0 {
		t.Errorf("%+v after %+v", res, last)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, base, ref, Options{}, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestOptions(t *testing.T) {
	_, m := load(t, "demo")
	text := NewText("short", []byte(strings.Repeat("Once upon a time there was a cat. ", 30)))
	for _, c := range []struct {
		name string
		o    Options
		want error
	}{
		{"no room", Options{Text: text, Ctx: 512}, ErrText},
		{"negative window", Options{Text: text, Ctx: -1}, ErrOptions},
		{"negative count", Options{Text: text, Ctx: 32, Chunks: -1}, ErrOptions},
		{"tiny window", Options{Text: text, Ctx: 3}, ErrText},
	} {
		if _, err := Run(context.Background(), m, nil, c.o, nil, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	res, err := Run(context.Background(), m, nil, Options{Text: text, Ctx: 64, Chunks: 1000}, nil, nil)
	if err != nil || len(res.Notes) != 1 {
		t.Errorf("%v: %v: a text too short for the windows asked for is worth a note", err, res.Notes)
	}
	if res, err = Run(context.Background(), m, nil, Options{Text: DemoText(), Ctx: 4096, Chunks: 1}, nil, nil); err != nil || res.Ctx != m.Config.Positions || len(res.Notes) != 1 {
		t.Errorf("%v: ctx %d, %v: a window beyond the context is cut, with a note", err, res.Ctx, res.Notes)
	}
	if _, err := ReadText(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, ErrText) {
		t.Errorf("%v, want ErrText", err)
	}
}

// Models of different vocabularies must be refused, not compared.
func TestMismatch(t *testing.T) {
	_, base := load(t, "demo")
	ref, err := NewReference(context.Background(), base, Options{Text: DemoText(), Chunks: 1, Ctx: 64}, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := *base
	smaller := *other.Config.Model
	smaller.Vocab--
	other.Config.Model = &smaller
	if _, err := Run(context.Background(), &other, ref, Options{}, nil, nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("another vocabulary: %v, want ErrMismatch", err)
	}
	_, again := load(t, "demo")
	if res, err := Run(context.Background(), again, ref, Options{}, nil, nil); err != nil || res.KLDMean != 0 {
		t.Errorf("the same model, loaded again: KL divergence %v, %v", res.Comparison, err)
	}
	shorter := *again.Config.Model
	shorter.Positions = 32
	again.Config.Model = &shorter
	if _, err := Run(context.Background(), again, ref, Options{}, nil, nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("a shorter context: %v, want ErrMismatch", err)
	}
}
