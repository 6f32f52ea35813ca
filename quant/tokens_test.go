package quant

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/demo"
)

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
	file["added_tokens"] = append(added, map[string]any{"id": open(t, "demo").Config.Vocab, "content": "zebra", "normalized": false})
	if data, err = json.Marshal(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	ck := open(t, dir)
	if !strings.Contains(strings.Join(ck.Notes, ""), "the tokenizer has") {
		t.Errorf("notes %q", ck.Notes)
	}
	text := strings.Repeat("A dog and a cat. ", 100)
	recipe := parse(t, "w4 g128 asym rtn; embed_tokens w4 g32 sym rtn top20%")
	for _, c := range []struct {
		text string
		want error
	}{{text, nil}, {text + "A zebra.", model.ErrTokens}} {
		cal, err := NewCalibration(ck, CalibrationOptions{Name: "t", Text: []byte(c.text), Samples: 100, Length: 16})
		if !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
		if err == nil {
			_, err = Run(t.Context(), Options{Engine: engine(t, 1), Source: ck, Recipe: recipe, Out: filepath.Join(t.TempDir(), "out"), Calibration: cal}, nil)
			if err != nil {
				t.Error(err)
			}
		}
	}
}
