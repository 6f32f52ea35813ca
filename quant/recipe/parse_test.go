package recipe_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/quant/recipe"
)

// An accepted recipe.json is valid, and its short form means the same.
func FuzzRecipeFile(f *testing.F) {
	f.Add([]byte(`{"name":"mine","default":{"bits":4,"group":64,"symmetric":false,"method":"rtn"},"rules":[{"match":"lm_head","bits":8,"group":0,"symmetric":true,"method":"gptq"},{"match":"*.0.*","bits":16}]}`))
	f.Add([]byte(`{"default":{"bits":4,"group":32,"symmetric":true,"method":"mse","top":10}}`))
	f.Add([]byte(`{"default":{"bits":16},"rules":[{"match":"[","bits":16}]}`))
	path := filepath.Join(f.TempDir(), "recipe.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := recipe.Parse(path)
		if err != nil {
			return
		}
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", data, err)
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, written, 0o644); err != nil {
			t.Fatal(err)
		}
		if again, err := recipe.Parse(path); err != nil || again.String() != r.String() {
			t.Errorf("%s reads as %q, which reads as %q, %v", data, r, again, err)
		}
		for _, name := range []string{"lm_head", "model.layers.0.mlp.up_proj"} {
			for _, rule := range r.Rules {
				rule.Matches(name) // ends
			}
		}
	})
}

func TestRecipeFileErrors(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"misspelt":  `{"default": {"bits": 4, "grup": 32, "symmetric": true, "method": "rtn"}}`,
		"no bits":   `{"default": {"group": 32, "symmetric": true, "method": "rtn"}}`,
		"no method": `{"default": {"bits": 4, "group": 32}}`,
		"bad rule":  `{"default": {"bits": 16}, "rules": [{"match": "a", "bits": 5}]}`,
		"not JSON":  `w4 g32`,
		"empty":     ``,
	} {
		file := filepath.Join(dir, name+".json")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := recipe.Parse(file); !errors.Is(err, recipe.ErrRecipe) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want ErrRecipe with the file's name", name, err)
		}
	}
}

func FuzzParseRecipe(f *testing.F) {
	for _, s := range []string{"w4 g128 sym mse", "keep", "q4", "w4; *.down_proj w8 channel asym rtn; lm_head keep", "w4; [ w8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.HasSuffix(strings.TrimSpace(s), ".json") {
			return
		}
		r, err := recipe.Parse(s)
		if err != nil {
			return
		}
		again, err := recipe.Parse(r.String())
		if err != nil || again.String() != r.String() {
			t.Fatalf("%q reads as %q, which reads as %q (%v)", s, r, again, err)
		}
	})
}

func TestParseRecipe(t *testing.T) {
	good := map[string]string{
		"q4":                                 "w4 g32 sym mse",
		"w4":                                 "w4 g32 sym mse",
		"w4 g128 asym rtn":                   "w4 g128 asym rtn",
		"w8 channel":                         "w8 channel sym mse",
		"w4; embed_tokens w4 top5% g64 gptq": "w4 g32 sym mse; embed_tokens w4 g64 sym top5% gptq",
		"nl4":                                "nl4 g32 mse",
		"w8; *_proj nl4 g32 gptq":            "w8 g32 sym mse; *_proj nl4 g32 gptq",
		"w4; lm_head w8 g128":                "w4 g32 sym mse; lm_head w8 g128 sym mse",
		"w4; *.down_proj keep; model.layers.0.* w8": "w4 g32 sym mse; *.down_proj keep; model.layers.0.* w8 g32 sym mse",
	}
	for in, want := range good {
		r, err := recipe.Parse(in)
		if err != nil || r.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, r, err, want)
			continue
		}
		if again, err := recipe.Parse(r.String()); err != nil || again.String() != want {
			t.Errorf("%q does not read back: %q, %v", want, again, err)
		}
	}
	for _, bad := range []string{"", "w3", "w4 g48", "w4 foo", "q5", "w4; lm_head", "w4; [ w8", "missing.json", "w4 g0", "w4 gptqq", "w4 top0%", "w4 top100%", "w4 top", "w4 top%", "w4 top5", "w4 asym top5%", "w8 top5%", "nl4 g64", "nl4 channel", "nl4 asym", "nl4 top5%", "nl5"} {
		if _, err := recipe.Parse(bad); !errors.Is(err, recipe.ErrRecipe) {
			t.Errorf("%q: %v, want ErrRecipe", bad, err)
		}
	}
}

func TestRecipeJSON(t *testing.T) {
	r, err := recipe.Parse("w4 g64 asym rtn; lm_head w8 g32 sym rtn")
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
	back, err := recipe.Parse(file)
	if err != nil || back.String() != r.String() {
		t.Errorf("%q, %v; want %q", back, err, r)
	}
}
