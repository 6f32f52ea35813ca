package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"nibble/model/chat"
	"nibble/model/tokenizer"
)

// openTokenizer reads the tokenizer and the chat template. Neither is needed by all
// that is done with a model, so what is wrong with them is kept for later.
func (c *Checkpoint) openTokenizer() {
	if f, ok := c.files.(*ggufFiles); ok && f.tokenizerErr != nil {
		c.TokenizerErr = f.tokenizerErr
		return
	} else if ok && c.looking && f.vocab != nil {
		kind, size := f.vocab.Summary()
		c.summary = summary(kind, size)
		c.noteTokens(size)
		c.openTemplate(f.made["tokenizer_config.json"])
		return
	}
	config, err := c.files.read("tokenizer_config.json")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.TokenizerErr = err
		return
	}
	config = c.withSpecialTokens(config)
	kind, size, err := c.loadTokenizer(config)
	if err != nil {
		c.Tokenizer, c.TokenizerErr = nil, err
		return
	}
	c.summary = summary(kind, size)
	c.noteTokens(size)
	c.openTemplate(config)
}

// loadTokenizer reads tokenizer.json or, where there is none, older files. Who looks
// is told of tokenizer.json without a Tokenizer.
func (c *Checkpoint) loadTokenizer(config []byte) (kind string, size int, err error) {
	data, err := c.files.read("tokenizer.json")
	if errors.Is(err, fs.ErrNotExist) {
		older, olderErr := c.olderTokenizer(config)
		if olderErr == nil {
			c.Tokenizer = older
			return older.Kind(), older.VocabSize(), nil
		}
		if !errors.Is(olderErr, fs.ErrNotExist) {
			return "", 0, olderErr
		}
	}
	switch {
	case err != nil:
		return "", 0, fmt.Errorf("no usable tokenizer: %w", err)
	case c.looking:
		if kind, size, err = tokenizer.Describe(data, config); err == nil {
			for _, t := range c.moreTokens(config) {
				if t.ID >= size {
					size++
				}
			}
			return kind, size, nil
		}
	default:
		if c.Tokenizer, err = tokenizer.Load(data, config); err == nil {
			c.addTokens(data, config)
			return c.Tokenizer.Kind(), c.Tokenizer.VocabSize(), nil
		}
	}
	return "", 0, fmt.Errorf("%s: %w", c.files.path("tokenizer.json"), err)
}

func summary(kind string, size int) string { return fmt.Sprintf("%s, %d tokens", kind, size) }

// TokenizerSummary is what the tokenizer is, for people; "none" without one.
func (c *Checkpoint) TokenizerSummary() string { return cmp.Or(c.summary, "none") }

// noteTokens tells of more tokens than the model knows.
func (c *Checkpoint) noteTokens(n int) {
	if n > c.Config.Vocab {
		c.Notes = append(c.Notes, fmt.Sprintf("the tokenizer has %d tokens, the model a vocabulary of %d: texts with the others are refused", n, c.Config.Vocab))
	}
}

// openTemplate reads the chat template, in tokenizer_config.json or beside it.
func (c *Checkpoint) openTemplate(config []byte) {
	f := chat.Files{Config: config}
	for name, data := range map[string]*[]byte{"chat_template.jinja": &f.Template, "chat_template.json": &f.Older} {
		var err error
		if *data, err = c.files.read(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.TemplateErr = err
			return
		}
	}
	if f.Templates, c.TemplateErr = c.namedTemplates(); c.TemplateErr != nil {
		return
	}
	if sources := f.Sources(); len(sources) > 0 {
		c.TemplateSource = sources[0].Text
	}
	c.Template, c.TemplateErr = chat.Load(f)
}

// templatesDir holds templates with names, each in a file.
const templatesDir = "additional_chat_templates"

func (c *Checkpoint) namedTemplates() (map[string]string, error) {
	d, ok := c.files.(*dirFiles)
	if !ok {
		return nil, nil
	}
	named := map[string]string{}
	for _, name := range d.list(templatesDir, ".jinja") {
		data, err := d.read(name)
		if err != nil {
			return nil, err
		}
		named[strings.TrimSuffix(path.Base(name), ".jinja")] = string(data)
	}
	return named, nil
}

// withSpecialTokens adds to tokenizer_config.json the tokens of
// special_tokens_map.json, of older checkpoints, that it does not name itself.
func (c *Checkpoint) withSpecialTokens(config []byte) []byte {
	var more map[string]json.RawMessage
	if !c.readJSON("special_tokens_map.json", &more) {
		return config
	}
	var fields map[string]json.RawMessage
	if len(config) > 0 && json.Unmarshal(config, &fields) != nil {
		return config // whose reader says what is wrong
	}
	said := maps.Clone(fields)
	for key, token := range more {
		if isNull(said[key]) {
			if fields == nil {
				fields = map[string]json.RawMessage{}
			}
			fields[key] = token
		}
	}
	merged, err := json.Marshal(fields)
	if err != nil {
		return config
	}
	return merged
}

// readJSON reads a small file that may be missing; one that is broken is told of.
func (c *Checkpoint) readJSON(name string, v any) bool {
	data, err := c.files.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err == nil {
		err = unmarshalObject(data, v)
	}
	if err != nil {
		c.Notes = append(c.Notes, fmt.Sprintf("%s cannot be read and is ignored: %v", name, err))
	}
	return err == nil
}

// moreToken is a token of added_tokens_decoder.
type moreToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	Special    bool   `json:"special"`
	Normalized bool   `json:"normalized"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	SingleWord bool   `json:"single_word"`
}

// addTokens makes tokens known that tokenizer_config.json or added_tokens.json
// name and tokenizer.json does not, as of some fine-tuned models.
func (c *Checkpoint) addTokens(data, config []byte) {
	var missing []any
	for _, t := range c.moreTokens(config) {
		if id, known := c.Tokenizer.ID(t.Content); known {
			if int(id) != t.ID {
				c.Notes = append(c.Notes, fmt.Sprintf("token %q is %d in tokenizer.json, which counts, and %d beside it", t.Content, id, t.ID))
			}
		} else if c.Tokenizer.Piece(int32(t.ID)) != "" {
			c.Notes = append(c.Notes, fmt.Sprintf("token %q is ignored: its id %d is another's in tokenizer.json", t.Content, t.ID))
		} else {
			missing = append(missing, t)
		}
	}
	if len(missing) == 0 {
		return
	}
	var file map[string]json.RawMessage
	var added []any
	if json.Unmarshal(data, &file) != nil || !isNull(file["added_tokens"]) && json.Unmarshal(file["added_tokens"], &added) != nil {
		return // Load accepted them
	}
	all, err := json.Marshal(append(added, missing...))
	if err != nil {
		return
	}
	file["added_tokens"] = all
	if data, err = json.Marshal(file); err != nil {
		return
	}
	more, err := tokenizer.Load(data, config)
	if err != nil {
		c.Notes = append(c.Notes, fmt.Sprintf("tokens beside tokenizer.json are ignored: %v", err))
		return
	}
	c.Tokenizer = more
}

// moreTokens lists the tokens named beside tokenizer.json, by id.
func (c *Checkpoint) moreTokens(config []byte) []moreToken {
	var said struct {
		Decoder map[string]moreToken `json:"added_tokens_decoder"`
	}
	_ = json.Unmarshal(config, &said) // Load has read it
	var out []moreToken
	named := map[string]bool{}
	for id, t := range said.Decoder {
		n, err := strconv.Atoi(id)
		if t.ID = n; err == nil && n >= 0 && t.Content != "" {
			out, named[t.Content] = append(out, t), true
		}
	}
	var added map[string]int
	c.readJSON("added_tokens.json", &added)
	for content, id := range added {
		if !named[content] && content != "" && id >= 0 {
			out = append(out, moreToken{ID: id, Content: content})
		}
	}
	slices.SortFunc(out, func(a, b moreToken) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Content, b.Content)) })
	return out
}
