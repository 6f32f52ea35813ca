package model

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/model/tokenizer"
)

// A checkpoint without tokenizer.json has the same tokenizer from older files, and a
// quantized one takes them over.
func TestOlderTokenizers(t *testing.T) {
	ck, err := Open(demo.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	v := ck.Tokenizer.Vocabulary()
	vocab, merges, ranks := map[string]int{}, "#version: 0.2\n", ""
	for id, p := range v.Pieces {
		vocab[p.Text] = id
		if p.Kind == tokenizer.Normal {
			ranks += fmt.Sprintf("%s %d\n", base64.StdEncoding.EncodeToString([]byte(ck.Tokenizer.Piece(int32(id)))), id)
		}
	}
	for _, m := range v.Merges {
		merges += m[0] + " " + m[1] + "\n"
	}
	vocabJSON, err := json.Marshal(vocab)
	if err != nil {
		t.Fatal(err)
	}
	special := `"added_tokens_decoder": {`
	for id, p := range v.Pieces {
		if p.Kind == tokenizer.Control {
			special += fmt.Sprintf(`"%d": {"content": %q, "special": true},`, id, p.Text)
		}
	}
	special = strings.TrimSuffix(special, ",") + "}"
	const text = "The cat is 12 years old.\n\n  Don't! <|im_end|> é"
	want := ck.Tokenizer.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true})
	for name, c := range map[string]struct {
		files map[string]string
		want  error
		told  string
	}{
		"tiktoken": {map[string]string{"qwen.tiktoken": ranks, "tokenizer_config.json": "{" + special + "}"}, nil, ""},
		"merges":   {map[string]string{"vocab.json": string(vocabJSON), "merges.txt": merges, "tokenizer_config.json": `{"tokenizer_class": "Qwen2Tokenizer", ` + special + "}"}, nil, ""},
		"another class": {map[string]string{"vocab.json": string(vocabJSON), "merges.txt": merges, "tokenizer_config.json": `{"tokenizer_class": "RobertaTokenizer"}`},
			tokenizer.ErrUnsupported, "RobertaTokenizer"},
		"unknown ranks": {map[string]string{"tokenizer.model": ranks}, tokenizer.ErrUnsupported, "cut into words"},
		"damaged":       {map[string]string{"tokenizer.model": "\x0a\xff"}, tokenizer.ErrCorrupt, "tokenizer.model"},
		"none":          {nil, os.ErrNotExist, "tokenizer.json"},
	} {
		dir := directory(t, nil)
		if err := os.Remove(filepath.Join(dir, "tokenizer.json")); err != nil {
			t.Fatal(err)
		}
		for file, text := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		ck, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(ck.TokenizerErr, c.want) || c.want != nil && !strings.Contains(ck.TokenizerErr.Error(), c.told) {
			t.Errorf("%s: %v, want %v of %q", name, ck.TokenizerErr, c.want, c.told)
		}
		if ck.Tokenizer != nil {
			if got := ck.Tokenizer.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}); !slices.Equal(got, want) {
				t.Errorf("%s: %q encodes to\n     %v, want\n     %v", name, text, got, want)
			}
		}
		var copied []string
		if err := ck.copied(func(name string, _ []byte) error { copied = append(copied, name); return nil }); err != nil {
			t.Fatal(err)
		}
		for file := range c.files {
			if !slices.Contains(copied, file) {
				t.Errorf("%s: %s is not taken over", name, file)
			}
		}
		ck.Close()
	}
}
