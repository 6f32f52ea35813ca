package model

import (
	"encoding/json"
	"fmt"
	"strings"

	"nibble/model/tokenizer"
)

// ggufTokenizer is what a header says of the tokenizer, ends of turns included.
func ggufTokenizer(header map[string]any) tokenizer.GGUF {
	key := func(name string) any { return header["tokenizer."+name] }
	id := func(name string) int {
		if v, ok := key("ggml." + name).(uint32); ok && v < 1<<31 {
			return int(v)
		}
		return -1
	}
	flag := func(name string) *bool {
		if v, ok := key("ggml." + name).(bool); ok {
			return &v
		}
		return nil
	}
	g := tokenizer.GGUF{BOS: id("bos_token_id"), EOS: id("eos_token_id"), Unknown: id("unknown_token_id"), Pad: id("padding_token_id"),
		AddBOS: flag("add_bos_token"), AddEOS: flag("add_eos_token"), AddSpacePrefix: flag("add_space_prefix"), Separator: id("seperator_token_id"),
		TrimSpaces: flag("remove_extra_whitespaces"), Lowercase: flag("normalizer.lowercase"), StripAccents: flag("normalizer.strip_accents")}
	if g.Separator < 0 { // it is spelled both ways
		g.Separator = id("separator_token_id")
	}

	g.Model, _ = key("ggml.model").(string)
	if g.BOS < 0 && g.Model == "bert" {
		g.BOS = id("cls_token_id")
	}
	g.Pre, _ = key("ggml.pre").(string)
	g.Tokens, _ = key("ggml.tokens").([]string)
	g.Types, _ = key("ggml.token_type").([]int32)
	g.Scores, _ = key("ggml.scores").([]float32)
	g.Merges, _ = key("ggml.merges").([]string)
	switch table := key("ggml.precompiled_charsmap").(type) {
	case []uint8:
		g.Charsmap = table
	case []int8:
		for _, b := range table {
			g.Charsmap = append(g.Charsmap, byte(b))
		}
	}
	g.Template, _ = key("chat_template").(string)
	for name := range header {
		if variant, ok := strings.CutPrefix(name, "tokenizer.chat_template."); ok {
			if text, ok := header[name].(string); ok {
				if g.Templates == nil {
					g.Templates = make(map[string]string)
				}
				g.Templates[variant] = text
			}
		}
	}
	for _, name := range []string{"eos_token_id", "eot_token_id", "eom_token_id"} {
		if end := id(name); end >= 0 {
			g.Ends = append(g.Ends, end)
		}
	}
	return g
}

// makeTokenizer makes the files of the tokenizer, and of how text is generated. What
// cannot be made is kept for later: not all that is done with a model needs one.
func (c *Checkpoint) makeTokenizer(f *ggufFiles) error {
	g := ggufTokenizer(f.header)
	if len(g.Ends) > 0 {
		generation, err := json.Marshal(map[string]any{"eos_token_id": g.Ends})
		if err != nil {
			return err
		}
		f.made[generationFile] = generation
	}
	if g.Model == "no_vocab" || g.Model == "none" || g.Model == "" && len(g.Tokens) == 0 {
		return nil
	}
	notes, err := g.Check()
	var config []byte
	if err == nil {
		config, err = g.ConfigJSON()
	}
	if err == nil && !c.looking {
		f.made["tokenizer.json"], err = g.TokenizerJSON()
	}
	if err != nil {
		delete(f.made, "tokenizer.json")
		f.tokenizerErr = fmt.Errorf("%s: %w", f.dirFiles.path(f.names[0]), err)
		return nil
	}
	c.Notes = append(c.Notes, notes...)
	f.made["tokenizer_config.json"], f.vocab = config, &g
	return nil
}
