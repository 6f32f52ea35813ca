package recipe_test

import (
	"errors"
	"testing"

	"nibble/model"
	"nibble/model/modeltest"
	"nibble/quant/method"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// A recipe says of every matrix what it was made from, however it is shortened.
func TestCompact(t *testing.T) {
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	space := []recipe.Spec{{Bits: 4, Group: 32, Sym: true, Method: method.GPTQ}, {Bits: 8, Group: 32, Sym: true, Method: method.RTN}, recipe.Keep}
	for seed := range 200 {
		specs := map[string]recipe.Spec{}
		for i, m := range ck.Config.Modules() {
			specs[m.Name] = space[(i*i*(seed+1)+seed/7)%len(space)]
			if seed%3 == 0 {
				specs[m.Name] = space[len(m.Kind)%len(space)]
			}
		}
		r := recipe.Compact(ck.Config, specs)
		if err := errors.Join(r.Validate(), r.CheckFor(ck.Config)); err != nil {
			t.Fatal(err)
		}
		for _, m := range ck.Config.Modules() {
			if r.For(m) != specs[m.Name] {
				t.Errorf("%s: %s says %s, want %s", m.Name, r, r.For(m), specs[m.Name])
			}
		}
		if seed%3 == 0 && len(r.Rules) > 8 {
			t.Errorf("%d rules where kinds are alike", len(r.Rules))
		}
	}
}

// Layers of which a kind is stored alike share a rule, also where their numbers
// have two digits.
func TestCompactLayers(t *testing.T) {
	c := quanttest.Llama(t, modeltest.Config{Vocab: 64, Hidden: 64, Layers: 24, Heads: 2, KVHeads: 2, HeadDim: 32, Inner: 64})
	space := []recipe.Spec{{Bits: 4, Group: 32, Sym: true, Method: method.GPTQ}, {Bits: 8, Group: 32, Sym: true, Method: method.RTN}, recipe.Keep}
	specs := map[string]recipe.Spec{}
	for _, m := range c.Modules() {
		specs[m.Name] = space[0]
		switch {
		case m.Layer < 0:
			specs[m.Name] = space[2]
		case m.Kind == "down" && (m.Layer == 1 || m.Layer == 3 || m.Layer >= 11 && m.Layer <= 14 || m.Layer == 20):
			specs[m.Name] = space[1]
		}
	}
	r := recipe.Compact(c, specs)
	const want = "w4 g32 sym gptq; *.[13].*.down_proj w8 g32 sym rtn; *.1[1-4].*.down_proj w8 g32 sym rtn; *.20.*.down_proj w8 g32 sym rtn"
	if r.String() != want {
		t.Errorf("%s, want %s", r, want)
	}
	for _, m := range c.Modules() {
		if r.For(m) != specs[m.Name] {
			t.Errorf("%s: %s, want %s", m.Name, r.For(m), specs[m.Name])
		}
	}
	if again, err := recipe.Parse(r.String()); err != nil || again.String() != want {
		t.Errorf("read back: %s, %v", again, err)
	}
}

// Experts share rules, apart from the matrices of the same role that every token
// meets: a recipe stays as short as if a layer had one expert.
func TestCompactExperts(t *testing.T) {
	c, err := model.ParseConfig([]byte(`{"architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", "hidden_size": 32, "num_hidden_layers": 12, "num_attention_heads": 2,
		"num_key_value_heads": 2, "intermediate_size": 64, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts": 16, "num_experts_per_tok": 2,
		"decoder_sparse_step": 1, "mlp_only_layers": [], "vocab_size": 64, "max_position_embeddings": 64, "rms_norm_eps": 1e-6}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	experts := 0
	specs := map[string]recipe.Spec{}
	for _, m := range c.Modules() {
		s := recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: "gptq"}
		expert := m.Linear.Expert >= 0
		if expert {
			experts++
		}
		switch {
		case m.Layer < 0:
			s = recipe.Keep
		case m.Kind == "down" && expert && m.Layer%3 == 0 || m.Kind == "up" && !expert: // the shared expert's
			s = recipe.Spec{Bits: 8, Group: 32, Sym: true, Method: "rtn"}
		}
		specs[m.Name] = s
	}
	if experts != 3*12*16 {
		t.Fatalf("%d matrices of experts", experts)
	}
	r := recipe.Compact(c, specs)
	if err := errors.Join(r.Validate(), r.CheckFor(c)); err != nil || len(r.Rules) > 5 {
		t.Errorf("%s: %v", r, err)
	}
	for _, m := range c.Modules() {
		if r.For(m) != specs[m.Name] {
			t.Errorf("%s: %s, want %s", m.Name, r.For(m), specs[m.Name])
		}
	}
}
