package model

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model/chat"
	"nibble/model/tokenizer"
)

// Special tokens and added tokens come from the files that older checkpoints and
// fine-tuned ones keep beside tokenizer.json.
func TestTokensBesideTheTokenizer(t *testing.T) {
	const template = `"chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"`
	for name, c := range map[string]struct {
		files    map[string]string
		bos, eos string
		added    map[string]int32 // tokens, by what a text with them is encoded as
		special  string           // of them
		told     string
	}{
		"the map alone": {map[string]string{"tokenizer_config.json": `{` + template + `}`,
			"special_tokens_map.json": `{"bos_token": {"content": "<|im_start|>", "lstrip": false}, "eos_token": "<|im_end|>"}`}, "<|im_start|>", "<|im_end|>", nil, "", ""},
		"the config first": {map[string]string{"tokenizer_config.json": `{"bos_token": "<|endoftext|>", "eos_token": null, ` + template + `}`,
			"special_tokens_map.json": `{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}`}, "<|endoftext|>", "<|im_end|>", nil, "", ""},
		"an object": {map[string]string{"tokenizer_config.json": `{"bos_token": {"content": "<|im_start|>"}, "eos_token": {"content": "<|im_end|>"}, ` + template + `}`}, "<|im_start|>", "<|im_end|>", nil, "", ""},
		"a broken map": {map[string]string{"tokenizer_config.json": `{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", ` + template + `}`,
			"special_tokens_map.json": `{"bos_token": `}, "<|im_start|>", "<|im_end|>", nil, "", "special_tokens_map.json cannot be read"},
		"added": {map[string]string{"tokenizer_config.json": `{"bos_token": "<|im_start|>", "eos_token": "<|tool|>", "added_tokens_decoder": {"1025": {"content": "<|tool|>", "special": true}}, ` + template + `}`,
			"added_tokens.json": `{"<|new|>": 1024, "<|tool|>": 1025, "<|im_end|>": 1023}`}, "<|im_start|>", "<|tool|>", map[string]int32{"<|new|>": 1024, "<|tool|>": 1025}, "<|tool|>", "1026 tokens, the model a vocabulary of 1024"},
		"of another's id": {map[string]string{"tokenizer_config.json": `{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", ` + template + `}`,
			"added_tokens.json": `{"<|new|>": 5}`}, "<|im_start|>", "<|im_end|>", nil, "", `"<|new|>" is ignored: its id 5`},
		"of two ids": {map[string]string{"tokenizer_config.json": `{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", ` + template + `}`,
			"added_tokens.json": `{"<|im_end|>": 2000}`}, "<|im_start|>", "<|im_end|>", nil, "", `"<|im_end|>" is 1023 in tokenizer.json`},
	} {
		dir := directory(t, nil)
		for file, text := range c.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		ck, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if ck.TokenizerErr != nil || ck.TemplateErr != nil {
			t.Errorf("%s: %v, %v", name, ck.TokenizerErr, ck.TemplateErr)
			continue
		}
		text, err := ck.Template.Render(context.Background(), []chat.Message{{Role: "user", Content: " hi "}}, false)
		if want := c.bos + " hi " + c.eos; err != nil || text != want {
			t.Errorf("%s: a chat is %q (%v), want %q", name, text, err, want)
		}
		bos, _ := ck.Tokenizer.BOS()
		eos, _ := ck.Tokenizer.EOS()
		if ck.Tokenizer.Piece(bos) != c.bos || ck.Tokenizer.Piece(eos) != c.eos {
			t.Errorf("%s: texts begin with %d and end with %d", name, bos, eos)
		}
		for token, id := range c.added {
			ids := ck.Tokenizer.Encode("a"+token+"b", tokenizer.EncodeOptions{ParseSpecial: true})
			if !slices.Contains(ids, id) || ck.Tokenizer.Special(id) != (token == c.special) {
				t.Errorf("%s: %s is in %v, want %d; special: %v", name, token, ids, id, ck.Tokenizer.Special(id))
			}
		}
		told := strings.Join(ck.Notes, "\n")
		if c.told == "" && told != "" || !strings.Contains(told, c.told) {
			t.Errorf("%s: told %q", name, told)
		}
		ck.Close()
	}
}

// A checkpoint's templates are found in all places where they may be.
func TestTemplatesWithNames(t *testing.T) {
	dir := directory(t, nil)
	folder := filepath.Join(dir, "additional_chat_templates")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"chat_template.jinja": "default", "additional_chat_templates/rag.jinja": "rag {{ messages[0].content }}", "chat_template.json": `{"chat_template": "older"}`,
		"additional_chat_templates/notes.txt": "none"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ck, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if ck.TemplateErr != nil || ck.TemplateSource != "default" {
		t.Fatalf("%q, %v", ck.TemplateSource, ck.TemplateErr)
	}
	named, err := ck.Template.With(chat.Options{Template: "rag"})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := named.Render(context.Background(), []chat.Message{{Role: "user", Content: "hi"}}, false); err != nil || text != "rag hi" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := ck.Template.With(chat.Options{Template: "notes"}); err == nil {
		t.Error("a file that is no template is one")
	}
}
