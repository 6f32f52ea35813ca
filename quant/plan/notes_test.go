package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/modeltest"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// A model too large to be trained as a whole is so by its shape alone, and the
// plan says it.
func TestWholeModelOfLimitedSize(t *testing.T) {
	small := quanttest.Llama(t, modeltest.Config{Vocab: 1024, Hidden: 128, Layers: 5, Heads: 4, KVHeads: 2, HeadDim: 32, Inner: 384})
	large := quanttest.Llama(t, modeltest.Config{Vocab: 32000, Hidden: 2048, Layers: 22, Heads: 32, KVHeads: 4, HeadDim: 64, Inner: 5632})
	if method.Named(method.AutoRoundBest).Needs.Whole.Bytes(small) > pass.WholeMost || method.Named(method.AutoRoundBest).Needs.Whole.Bytes(large) < pass.WholeMost {
		t.Errorf("%d and %d bytes", method.Named(method.AutoRoundBest).Needs.Whole.Bytes(small), method.Named(method.AutoRoundBest).Needs.Whole.Bytes(large))
	}
	r := passtest.Parse(t, "w4 g32 sym autoround-best")
	if notes := substitutions(r, small); slices.ContainsFunc(notes, aboutWhole) {
		t.Errorf("a small model: %q", notes)
	}
	if notes := substitutions(r, large); !slices.ContainsFunc(notes, aboutWhole) {
		t.Errorf("a large model: %q", notes)
	}
}

func aboutWhole(note string) bool {
	return note == method.Named(method.AutoRoundBest).Needs.Whole.TooLarge
}

func TestSubstitutions(t *testing.T) {
	demo := modeltest.Config{Vocab: 1024, Hidden: 128, Layers: 5, Heads: 4, KVHeads: 2, HeadDim: 32, Inner: 384, Tied: true}
	c := quanttest.Llama(t, demo)
	demo.Tied = false
	untied := quanttest.Llama(t, demo)
	demo.Tied, demo.Inner = true, 172
	ragged := quanttest.Llama(t, demo)
	for _, x := range []struct {
		recipe string
		config model.Config
		want   []string
	}{
		{"w4", c, []string{"model.embed_tokens: kept as stored"}},
		{"w4", untied, []string{"2 matrices (model.embed_tokens, lm_head): kept as stored"}},
		{"w4; embed_tokens keep; lm_head keep", untied, nil},
		{"w4; embed_tokens w8; lm_head w8", c, []string{"lm_head is the same matrix"}},
		{"w4 g64; embed_tokens w8; model.layers.[1-9].* keep", ragged, []string{"172 columns are no multiple of 64: the last group of a row has 44"}},
		{"w4 channel; embed_tokens w8", ragged, nil},
		{"w4 g64; embed_tokens w8", ragged, []string{"5 matrices (model.layers.0.mlp.down_proj, model.layers.1.mlp.down_proj, model.layers.2.mlp.down_proj and 2 more): 172 columns"}},
		{"w4; embed_tokens w4 top10%", c, nil},
		{"w4; * w4 top10%; lm_head w4 top10%", untied, []string{"35 matrices (model.layers.0.self_attn.q_proj, model.layers.0.self_attn.k_proj, model.layers.0.self_attn.v_proj and 32 more): top10% is of rows that are tokens"}},
		{"keep", c, nil},
	} {
		got := substitutions(passtest.Parse(t, x.recipe), x.config)
		if len(got) != len(x.want) || slices.ContainsFunc(x.want, func(w string) bool { return !strings.Contains(strings.Join(got, "\n"), w) }) {
			t.Errorf("%q: %q, want %q", x.recipe, got, x.want)
		}
	}
}

func TestRulesForTheModel(t *testing.T) {
	c := quanttest.Open(t, "demo").Config
	for short, ok := range map[string]bool{"w4; lm_head w8": true, "w4; down_proj w8": true, "w4; nothing w8": false, "w4; model.layers.99.* w8": false} {
		if err := passtest.Parse(t, short).CheckFor(c); (err == nil) != ok || err != nil && !errors.Is(err, recipe.ErrRecipe) {
			t.Errorf("%q: %v", short, err)
		}
	}
}

// What has a name gives a large embedding or head 8 bits, and tells; what is spelled
// out means what it says.
func TestFitted(t *testing.T) {
	config := func(vocab int, tied bool) model.Config {
		return quanttest.Llama(t, modeltest.Config{Vocab: vocab, Hidden: 128, Layers: 5, Heads: 4, KVHeads: 2, HeadDim: 32, Inner: 384, Tied: tied}) // as the demo
	}
	const large, small = 1024, 512 // of the demo's vocabulary: 12 and 6 % of the weights
	for _, c := range []struct {
		recipe string
		config model.Config
		want   []string // matrices that are raised
	}{
		{"q4", config(large, true), []string{"model.embed_tokens"}},
		{"q4-best", config(large, true), []string{"model.embed_tokens"}},
		{"q8", config(large, true), []string{"model.embed_tokens"}},
		{"q4", config(large, false), []string{"model.embed_tokens", "lm_head"}},
		{"q4", config(small, true), nil},
		{"q4", config(small, false), nil},
		{"q4-small", config(large, true), nil}, // names it
		{"w4 g32 sym mse", config(large, true), nil},
		{"w4 g32 sym mse; embed_tokens keep", config(large, true), nil},
	} {
		r := passtest.Parse(t, c.recipe)
		before := r.String()
		got := r.Fitted(c.config)
		if !slices.Equal(got.Raised(), c.want) || (got.String() == before) != (c.want == nil) || r.String() != before {
			t.Errorf("%s: %v, %s; want %v", c.recipe, got.Raised(), got, c.want)
		}
		for _, m := range c.config.Modules() {
			if raised := slices.Contains(c.want, m.Name); raised && got.For(m) != recipe.SafeSpec || !raised && got.For(m) != r.For(m) {
				t.Errorf("%s: %s is stored as %s", c.recipe, m.Name, got.For(m))
			}
		}
		notes := strings.Join(substitutions(got, c.config), "; ")
		if strings.Contains(notes, "stored with 8 bits") != (c.want != nil) {
			t.Errorf("%s: notes %q", c.recipe, notes)
		}
		if again := got.Fitted(c.config); again.String() != got.String() {
			t.Errorf("%s: fitted twice: %s", c.recipe, again)
		}
	}
	// Plans, runs and models in memory are of the recipe as fitted.
	ck := quanttest.Open(t, "demo")
	plan, err := New(ck, recipe.Default())
	if err != nil || plan.Modules[0].Spec != recipe.SafeSpec || plan.Quantized != len(plan.Modules) {
		t.Errorf("the plan has %s, %v", plan.Modules[0].Spec, err)
	}
}

// A plan tells where AWQ cannot scale, and why.
func TestAWQNotes(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	for _, c := range []struct {
		recipe string
		notes  []string // parts of the substitutions
	}{
		{"w4 g32 sym awq", nil},
		{"w4 g32 sym awq; up_proj keep", []string{"5 matrices (model.layers.0.mlp.gate_proj, model.layers.1.mlp.gate_proj, model.layers.2.mlp.gate_proj and 2 more): no scales: its layer's up_proj", "5 matrices (model.layers.0.mlp.down_proj,"}},
		{"w4 g32 sym awq; q_proj w8 g32 sym rtn", []string{"10 matrices (model.layers.0.self_attn.k_proj, model.layers.0.self_attn.v_proj, "}},
		{"w4 g32 sym rtn; o_proj w4 g32 sym awq", nil},
		{"w4 g32 sym rtn", nil},
	} {
		plan, err := New(ck, passtest.Parse(t, c.recipe))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, note := range plan.Substitutions {
			if strings.Contains(note, "model.layers.0.") {
				got = append(got, note)
			}
		}
		if len(got) != len(c.notes) {
			t.Errorf("%s: the plan notes %q", c.recipe, got)
		}
		for i, want := range c.notes {
			if i < len(got) && !strings.Contains(got[i], want) {
				t.Errorf("%s: the plan notes %q, not %q", c.recipe, got[i], want)
			}
		}
	}
}

// Biases stand in the way of some scales, and the plan says so.
func TestAWQNotesOfBiases(t *testing.T) {
	_, ck, _, _ := passtest.Biased(t)
	plan, err := New(ck, passtest.Parse(t, "w4 g32 sym awq"))
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
}
