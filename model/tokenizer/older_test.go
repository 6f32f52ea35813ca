package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A model's tokenizer.model says the same as its tokenizer.json.
func TestOlderFilesEqual(t *testing.T) {
	for name, load := range map[string]func(data []byte) (*Tokenizer, error){
		"llama-spm": func(data []byte) (*Tokenizer, error) { return LoadSentencePiece(data, nil, nil) },
		"llama-bpe": func(data []byte) (*Tokenizer, error) { return LoadTiktoken("tokenizer.model", data, nil, nil) },
	} {
		dir := data(t, filepath.Join("tok", name))
		file, err := os.ReadFile(filepath.Join(dir, "tokenizer.model"))
		if err != nil {
			t.Fatal(err)
		}
		older, err := load(file)
		if err != nil {
			t.Fatal(err)
		}
		tok := loadFile(t, dir)
		texts := knownTexts(t, dir)
		for _, text := range texts {
			if text == "" {
				continue
			}
			want := tok.Encode(text, EncodeOptions{ParseSpecial: true})
			got := older.Encode(text, EncodeOptions{ParseSpecial: true})
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q encodes to\n     %v, want\n     %v", name, text, got, want)
			}
			if a, b := older.Decode(want), tok.Decode(want); a != b {
				t.Errorf("%s: %v decodes to %q, want %q", name, want, a, b)
			}
		}
	}
}
