package calib_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/demo"
	"nibble/quant"
	"nibble/quant/calib"
	"nibble/quant/method"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

func TestCalibration(t *testing.T) {
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	a, err := calib.New(ck, calib.Options{Samples: 4, Length: 32, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := calib.New(ck, calib.Options{Samples: 4, Length: 32, Seed: 1})
	c, _ := calib.New(ck, calib.Options{Samples: 4, Length: 32, Seed: 2})
	if len(a.Tokens) != 4 || len(a.Tokens[0]) != 32 || len(a.Notes) > 0 {
		t.Errorf("%d samples of %d, notes %q", len(a.Tokens), len(a.Tokens[0]), a.Notes)
	}
	if !slices.EqualFunc(a.Tokens, b.Tokens, slices.Equal) || slices.EqualFunc(a.Tokens, c.Tokens, slices.Equal) {
		t.Error("the seed does not decide the samples")
	}
	most, err := calib.New(ck, calib.Options{Name: "t", Text: []byte(strings.Repeat("A dog and a cat. ", 100)), Samples: 1000, Length: 64})
	if err != nil || most.Samples >= 1000 || most.Samples != len(most.Tokens) || len(most.Notes) != 1 || !strings.Contains(most.Notes[0], "not 1000") {
		t.Errorf("a short text: %+v, %v", most, err)
	}
	said := "{\"text\": \"A dog and a cat. \"}\n"
	lines, err := calib.New(ck, calib.Options{Name: "t", Text: []byte(strings.Repeat(said, 100)), Samples: 1, Length: 64})
	if err != nil || strings.Contains(ck.Tokenizer.Decode(lines.Tokens[0]), "text") {
		t.Errorf("JSON lines: %+v, %v", lines, err)
	}
	for what, o := range map[string]calib.Options{
		"too short":        {Name: "t", Text: []byte("hi")},
		"broken lines":     {Name: "t", Text: []byte("{\"text\": \"a\"}\n{")},
		"nothing in lines": {Name: "t", Text: []byte("{\"x\": 1}")},
		"negative samples": {Samples: -1},
		"single tokens":    {Length: 1},
		"empty":            {Name: "t", Text: []byte(" \n")},
		"binary":           {Name: "t", Text: []byte("text\x00and more")},
		"not UTF-8":        {Name: "t", Text: []byte("caf\xe9 and more")},
	} {
		if _, err := calib.New(ck, o); !errors.Is(err, calib.ErrCalibration) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := method.One(context.Background(), quanttest.Engine(t, 1), ck, ck.Config.Modules()[1], recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.GPTQ}); !errors.Is(err, recipe.ErrRecipe) {
		t.Errorf("a single matrix by gptq: %v", err)
	}
}

// A tokenizer with more tokens than the model has rows calibrates it with texts
// that do without them, and is told of.
func TestTokensBeyondVocabulary(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, demo.Files); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tokenizer.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	added, _ := file["added_tokens"].([]any)
	file["added_tokens"] = append(added, map[string]any{"id": quanttest.Open(t, "demo").Config.Vocab, "content": "zebra", "normalized": false})
	if data, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	ck := quanttest.Open(t, dir)
	if !strings.Contains(strings.Join(ck.Notes, ""), "the tokenizer has") {
		t.Errorf("notes %q", ck.Notes)
	}
	text := strings.Repeat("A dog and a cat. ", 100)
	recipe := passtest.Parse(t, "w4 g128 asym rtn; embed_tokens w4 g32 sym rtn top20%")
	for _, c := range []struct {
		text string
		want error
	}{{text, nil}, {text + "A zebra.", model.ErrTokens}} {
		cal, err := calib.New(ck, calib.Options{Name: "t", Text: []byte(c.text), Samples: 100, Length: 16})
		if !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
		if err == nil {
			_, err = quant.Run(t.Context(), quant.Options{Engine: quanttest.Engine(t, 1), Source: ck, Recipe: recipe, Out: filepath.Join(t.TempDir(), "out"), Calibration: cal}, nil)
			if err != nil {
				t.Error(err)
			}
		}
	}
}
