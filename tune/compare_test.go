package tune

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/eval"
	"nibble/model"
	"nibble/quant"
	"nibble/tune/space"
)

var (
	compare = flag.Bool("compare", false, "compare tuned recipes with those made by hand (minutes)")
	schemes = flag.String("schemes", "w4 channel sym, w4 g128 sym, w4 g64 sym, w4 g32 sym, w4 g32 asym", "the schemes of -compare, with commas between")
)

// TestCompare measures, on text that the search has not seen, tuned recipes against
// the best that are made by hand at the same size: uniform ones, with the embedding
// alike, in 8 bits or kept, and those with the first and the last layer in 8 bits;
// both by the same method.
//
//	go test ./tune -run TestCompare/demo/gptq -compare -v -timeout 60m
//	go test ./tune -run TestCompare/demo/autoround$ -compare -schemes "w4 g32 sym" -v -timeout 60m
func TestCompare(t *testing.T) {
	if !*compare {
		t.Skip("takes minutes: -compare runs it")
	}
	stories, tiny := eval.DemoText().Data, []byte(nil)
	if text, err := eval.ReadText("../../shared/data/text/tinystories_197k.txt", nil); err == nil {
		tiny = text.Data
	}
	for _, c := range []struct {
		ref  string
		text []byte // like what the model was trained on
	}{{"demo", stories}, {"../../shared/data/models/medium", stories}, {"../../shared/data/models/stories260K", tiny}} {
		t.Run(filepath.Base(c.ref), func(t *testing.T) {
			if c.ref != "demo" {
				if _, err := os.Stat(c.ref); err != nil || c.text == nil {
					t.Skipf("needs %s and text, which are not part of the project", c.ref)
				}
			}
			half := len(c.text) / 2
			for _, method := range []string{quant.GPTQ, quant.AutoRound} {
				t.Run(method, func(t *testing.T) {
					compareWith(t, c.ref, method, eval.NewText("first half", c.text[:half]), eval.NewText("second half", c.text[half:]))
				})
			}
		})
	}
}

// byHand is a recipe that one would make without measuring.
type byHand struct {
	name   string
	recipe quant.Recipe
	plan   quant.Plan
	eval.Result
}

func compareWith(t *testing.T, ref, method string, seen, held eval.Text) {
	ctx := context.Background()
	o := optionsFor(t, ref, 0)
	o.Eval.Text = seen
	o.CacheDir = t.TempDir()
	var err error
	if o.Specs, err = ParseSpecs(fmt.Sprintf("w4 g32/g64/g128/channel sym/asym gptq/%s, %s, w8 g32/g128/channel sym rtn, keep", method, space.TokenRows)); err != nil {
		t.Fatal(err)
	}
	judge, err := eval.NewReference(ctx, o.Base, eval.Options{Text: held}, nil)
	if err != nil {
		t.Fatal(err)
	}
	measure := func(r quant.Recipe) (quant.Plan, eval.Result) {
		p, err := quant.NewPlan(o.Source, r)
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := quant.Apply(ctx, o.Base, o.Source, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := eval.Run(ctx, m, judge, eval.Options{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p, res
	}
	var hands []byHand
	for _, h := range handmade(t, method, o.Source.Config) {
		h.plan, h.Result = measure(h.recipe)
		hands = append(hands, h)
		t.Logf("%-44s %9d bytes %.3f bpw  KLD %.5f ± %.5f  loss %+.2f %%", h.name, h.plan.SizeBytes, h.plan.BPW, h.KLDMean, h.KLDSE, 100*(h.PPLRatio-1))
	}
	slices.SortFunc(hands, func(a, b byHand) int { return cmp.Compare(a.plan.SizeBytes, b.plan.SizeBytes) })
	best := hands[0]
	for _, h := range hands {
		if h.KLDMean > best.KLDMean {
			continue // another is smaller and better
		}
		best = h
		o.MaxBytes = h.plan.SizeBytes
		res, err := Run(ctx, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, got := measure(res.Best.Recipe)
		if p.SizeBytes > o.MaxBytes {
			t.Errorf("%d bytes asked, %d got", o.MaxBytes, p.SizeBytes)
		}
		less := 1 - got.KLDMean/h.KLDMean
		t.Logf("%9d bytes: tuned KLD %.5f, by hand %.5f (%s): %.0f %% less (%d trials, %.0f s)", o.MaxBytes, got.KLDMean, h.KLDMean, h.name, 100*less, len(res.Trials), res.Seconds)
		if less < 0.2 {
			t.Errorf("%d bytes: only %.0f %% less than %s", o.MaxBytes, 100*less, h.name)
		}
	}
	o.MaxBytes, o.Goal = 0, 0.01
	res, err := Run(ctx, o, logTrials(t))
	if err != nil {
		t.Fatal(err)
	}
	own, err := eval.NewReference(ctx, o.Base, o.Eval, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hands { // by size
		m, _, err := quant.Apply(ctx, o.Base, o.Source, h.recipe, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := eval.Run(ctx, m, own, eval.Options{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.PPLRatio <= 1.01 {
			t.Logf("1 %%: tuned %d bytes, %.3f bpw (%+.2f %%), by hand %d bytes, %.3f bpw (%+.2f %%, %s)", res.Best.SizeBytes, res.Best.BPW, 100*res.Best.Loss(), h.plan.SizeBytes, h.plan.BPW, 100*(r.PPLRatio-1), h.name)
			if !res.Reached || res.Best.SizeBytes >= h.plan.SizeBytes {
				t.Errorf("the goal is reached at %d bytes by hand, at %d by tuning (%v)", h.plan.SizeBytes, res.Best.SizeBytes, res.Reached)
			}
			break
		}
	}
}

func handmade(t *testing.T, method string, c model.Config) []byHand {
	t.Helper()
	var out []byHand
	parse := func(name, s string) {
		r, err := quant.ParseRecipe(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, byHand{name: name, recipe: r})
	}
	head := func(spec string) string {
		s := fmt.Sprintf("; %s %s", c.Embed.Path, spec)
		if !c.Tied {
			s += fmt.Sprintf("; %s %s", c.Head.Path, spec)
		}
		return s
	}
	for scheme := range strings.SplitSeq(*schemes, ",") {
		spec := strings.TrimSpace(scheme) + " " + method
		const eight = "w8 g32 sym rtn"
		parse("uniform "+spec, spec+head(spec))
		parse("uniform "+spec+", embedding 8 bits", spec+head(eight))
		parse("uniform "+spec+", embedding kept", spec)
		parse("first and last 8 bits, "+spec, fmt.Sprintf("%s; model.layers.0.* %s; model.layers.%d.* %s%s", spec, eight, c.Layers()-1, eight, head(eight)))
	}
	return out
}
