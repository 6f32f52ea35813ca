package eval

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/export"
	"nibble/quant"
	rt "nibble/runtime"
)

// The same figures from llama.cpp's llama-perplexity, on the same weights and
// text: its perplexity within 0.1 %, its mean KL divergence within 2 %.
//
// What is left between the two: it keeps keys and values in F16, and rounds
// elsewhere. Its base file ends at a log-probability of -16, so that the
// "PPL(base)" it reads from there, and the ratio and the difference with it, are
// wrong for texts that surprise a model more; the run that writes the file prints
// the right one, which is the one compared.
func TestLlamaPerplexity(t *testing.T) {
	program, err := exec.LookPath("llama-perplexity")
	if err != nil {
		t.Skip("needs llama-perplexity in PATH")
	}
	data := filepath.Join("..", "..", "shared", "data")
	stories, wiki := filepath.Join(data, "text/tinystories_197k.txt"), filepath.Join(data, "text/wikitext2_test.raw")
	demoText := "../model/demo/eval_stories.txt"
	for _, c := range []struct {
		model, recipe, text string
		ctx, chunks         int
	}{
		{"demo", "w4 g32 sym mse", demoText, 512, 24},
		{"demo", "w4 g32 sym mse", demoText, 256, 24},
		{"demo", "w4 g128 sym rtn; embed_tokens w8 g32 sym mse", demoText, 128, 48},
		{"demo", "w8 g32 sym rtn", stories, 200, 48},
		{"demo", "w4 g32 sym mse", wiki, 256, 24},
		{filepath.Join(data, "models/stories260K"), "w4 g32 sym mse; *.down_proj keep", stories, 512, 24},
		{filepath.Join(data, "models/stories260K"), "w4 g32 sym mse; *.down_proj keep", wiki, 128, 24},
		{filepath.Join(data, "models/medium"), "w4 g64 sym mse", stories, 512, 12},
		{filepath.Join(data, "models/medium"), "w4 g64 sym mse", wiki, 256, 12},
		// Other norms, and other weights where the recipe keeps some: all of it is exported.
		{"demo", "w4 g32 sym awq; embed_tokens w4 g32 sym gptq", demoText, 512, 24},
		{"demo", "w4 channel sym awq; *.q_proj keep", demoText, 256, 24},
	} {
		t.Run(fmt.Sprintf("%s %s %s %d", filepath.Base(c.model), c.recipe, filepath.Base(c.text), c.ctx), func(t *testing.T) {
			if _, err := os.Stat(c.text); err != nil {
				t.Skip("needs texts that are not part of the project")
			}
			if _, err := os.Stat(c.model); err != nil && c.model != "demo" {
				t.Skip("needs models that are not part of the project")
			}
			text, err := ReadText(c.text, nil)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			base, quantized := writeGGUF(t, c.model, c.recipe, dir)
			run := func(file, last string, more ...string) func(string) float64 {
				args := append([]string{"-m", filepath.Join(dir, file), "-f", c.text, "-c", strconv.Itoa(c.ctx), "-b", strconv.Itoa(c.ctx),
					"--chunks", strconv.Itoa(c.chunks), "--kl-divergence-base", filepath.Join(dir, "base.kld")}, more...)
				var out []byte
				for range 5 { // it may end before it has printed all
					if out, err = exec.Command(program, args...).CombinedOutput(); err != nil {
						t.Fatalf("llama-perplexity: %v\n%s", err, out)
					}
					if strings.Contains(string(out), last) {
						break
					}
				}
				return func(label string) float64 { return printed(t, string(out), label) }
			}
			theirBase, theirs := run("base.gguf", "Final estimate"), run("int4.gguf", "Same top p:", "--kl-divergence")

			ref, err := NewReference(context.Background(), base, Options{Text: text, Ctx: c.ctx, Chunks: c.chunks}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := Run(context.Background(), quantized, ref, Options{}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []struct {
				name      string
				got, want float64
				rel, abs  float64 // either is close enough
			}{
				{"base perplexity", ours.BasePPL, theirBase("Final estimate: PPL"), 1e-3, 0},
				{"perplexity", ours.PPL, theirs("Mean PPL(Q)"), 1e-3, 0},
				{"its error", ours.PPLSE, theirs("Mean PPL(Q) ±"), 2e-2, 0},
				{"mean KL divergence", ours.KLDMean, theirs("Mean    KLD"), 2e-2, 0},
				{"its error", ours.KLDSE, theirs("Mean    KLD ±"), 5e-2, 2e-6},
				{"median KL divergence", ours.KLDMedian, theirs("Median  KLD"), 5e-2, 2e-6},
				{"99 % KL divergence", ours.KLDP99, theirs("99.0%   KLD"), 5e-2, 0},
				{"RMS Δp", 100 * ours.RMSDP, theirs("RMS Δp"), 2e-2, 0},
				{"same top", 100 * ours.SameTop, theirs("Same top p"), 0, 0.5},
				{"mean Δp", 100 * ours.DPMean, theirs("Mean    Δp"), 0, 0.05},
				{"90 % Δp", 100 * ours.DPP90, theirs("90.0%   Δp"), 0, 0.2},
			} {
				t.Logf("%-22s %10.5f, llama-perplexity %10.5f", f.name, f.got, f.want)
				if d := math.Abs(f.got - f.want); d > max(f.abs, f.rel*math.Abs(f.want)) {
					t.Errorf("%s: %g, llama-perplexity has %g", f.name, f.got, f.want)
				}
			}
		})
	}
}

// writeGGUF writes base.gguf and int4.gguf into dir and returns the two models.
func writeGGUF(t *testing.T, ref, recipe, dir string) (base, quantized *rt.Model) {
	t.Helper()
	ctx := context.Background()
	ck, base := load(t, ref)
	r, err := quant.ParseRecipe(recipe)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "int4")
	if _, err := quant.Run(ctx, quant.Options{Engine: base.Engine, Source: ck, Recipe: r, Out: out}, nil); err != nil {
		t.Fatal(err)
	}
	q, quantized := load(t, out)
	for _, f := range []struct {
		ck         *model.Checkpoint
		name, kind string
	}{{ck, "base.gguf", "f32"}, {q, "int4.gguf", export.Auto}} {
		res, err := export.Run(ctx, export.Options{Source: f.ck, Out: filepath.Join(dir, f.name), Type: f.kind}, nil)
		if err != nil || !res.Exact {
			t.Fatalf("%s: %v", f.name, err)
		}
	}
	if !quantized.Quantized() {
		t.Fatal("nothing is quantized")
	}
	return base, quantized
}

// printed finds a number in llama-perplexity's output: what stands after the
// label, or, for a label that ends in ±, behind that sign.
func printed(t *testing.T, out, label string) float64 {
	t.Helper()
	const number = `\s*([-+]?[0-9.]+)`
	pattern := regexp.QuoteMeta(label) + `\s*[:=]` + number
	if name, ok := strings.CutSuffix(label, " ±"); ok {
		pattern = regexp.QuoteMeta(name) + `\s*:\s*[-+0-9.]+ ±` + number
	}
	m := regexp.MustCompile(pattern).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no %q in\n%s", label, out)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
