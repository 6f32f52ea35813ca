package quant

import (
	"slices"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/modeltest"
)

// What has a name gives a large embedding or head 8 bits, and tells; what is spelled
// out means what it says.
func TestFitted(t *testing.T) {
	config := func(vocab int, tied bool) model.Config {
		return llama(t, modeltest.Config{Vocab: vocab, Hidden: 128, Layers: 5, Heads: 4, KVHeads: 2, HeadDim: 32, Inner: 384, Tied: tied}) // as the demo
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
		r := parse(t, c.recipe)
		before := r.String()
		got := r.Fitted(c.config)
		if !slices.Equal(got.raised, c.want) || (got.String() == before) != (c.want == nil) || r.String() != before {
			t.Errorf("%s: %v, %s; want %v", c.recipe, got.raised, got, c.want)
		}
		for _, m := range c.config.Modules() {
			if raised := slices.Contains(c.want, m.Name); raised && got.For(m) != safeSpec || !raised && got.For(m) != r.For(m) {
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
	ck := open(t, "demo")
	plan, err := NewPlan(ck, DefaultRecipe())
	if err != nil || plan.Modules[0].Spec != safeSpec || plan.Quantized != len(plan.Modules) {
		t.Errorf("the plan has %s, %v", plan.Modules[0].Spec, err)
	}
}
