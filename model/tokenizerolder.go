package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"nibble/model/tokenizer"
)

// tokenizerModels are files that tell of a tokenizer where there is no tokenizer.json:
// of SentencePiece or tiktoken, whatever they are called.
var tokenizerModels = []string{"tokenizer.model", "tiktoken.model", "spiece.model", "sentencepiece.bpe.model"}

// tokenizerFiles are the names of such files that there may be.
func (c *Checkpoint) tokenizerFiles() []string {
	if d, ok := c.files.(*dirFiles); ok {
		return slices.Concat(tokenizerModels, d.list(".", ".tiktoken"))
	}
	return tokenizerModels
}

// olderTokenizer reads the tokenizer of a checkpoint without tokenizer.json.
// fs.ErrNotExist says that there is none.
func (c *Checkpoint) olderTokenizer(config []byte) (*tokenizer.Tokenizer, error) {
	for _, name := range c.tokenizerFiles() {
		data, err := c.files.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var t *tokenizer.Tokenizer
		if err == nil {
			t, err = c.readTokenizer(name, data, config)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.files.path(name), err)
		}
		return t, nil
	}
	return c.mergesTokenizer(config)
}

func (c *Checkpoint) readTokenizer(name string, data, config []byte) (*tokenizer.Tokenizer, error) {
	more := c.addedTokens(config)
	if tokenizer.IsTiktoken(data) {
		return tokenizer.LoadTiktoken(name, data, config, more)
	}
	return tokenizer.LoadSentencePiece(data, config, more)
}

// addedTokens are those named beside the tokenizer.
func (c *Checkpoint) addedTokens(config []byte) []tokenizer.AddedToken {
	var all []tokenizer.AddedToken
	for _, t := range c.moreTokens(config) {
		all = append(all, tokenizer.AddedToken{ID: int32(t.ID), Content: t.Content, SingleWord: t.SingleWord, LStrip: t.LStrip, RStrip: t.RStrip, Normalized: t.Normalized, Special: t.Special})
	}
	return all
}

// mergesTokenizer reads vocab.json and merges.txt, which GPT-2's kind of tokenizers
// had. Its class says how texts are cut into words.
func (c *Checkpoint) mergesTokenizer(config []byte) (*tokenizer.Tokenizer, error) {
	vocab, err := c.files.read("vocab.json")
	if err != nil {
		return nil, err
	}
	merges, err := c.files.read("merges.txt")
	if err != nil {
		return nil, err
	}
	file, err := tokenizer.MergesJSON(vocab, merges, config, c.addedTokens(config))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.files.path("vocab.json"), err)
	}
	t, err := tokenizer.Load(file, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.files.path("vocab.json"), err)
	}
	return t, nil
}

// list returns the files of a folder inside the directory whose names end in an
// extension, as read takes them.
func (d *dirFiles) list(folder, extension string) []string {
	entries, err := os.ReadDir(filepath.Join(d.dir, folder))
	if err != nil {
		return nil // what is needed is asked for by name
	}
	var names []string
	for _, e := range entries {
		if strings.EqualFold(filepath.Ext(e.Name()), extension) {
			names = append(names, path.Join(folder, e.Name()))
		}
	}
	return names
}
