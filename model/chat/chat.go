// Package chat renders conversations with a model's own chat template.
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"nibble/model/chat/jinja"
)

// ErrTemplate reports a template that cannot be read or that refuses its input.
var ErrTemplate = errors.New("chat template")

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"` // "system", "user" or "assistant"
	Content string `json:"content"`
}

// Template is a parsed chat template with the model's special tokens.
type Template struct {
	jinja  *jinja.Template
	tokens map[string]string
}

// specialTokens are the variables transformers passes to a template.
var specialTokens = []string{"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}

// Load finds the template of a model: chat_template.jinja if given, else the
// chat_template of tokenizer_config.json, which is a string or a list of named
// templates of which "default" counts. A model without one gets nil.
func Load(tokenizerConfigJSON, templateFile []byte) (*Template, error) {
	var cfg map[string]json.RawMessage
	if len(tokenizerConfigJSON) > 0 {
		if err := json.Unmarshal(tokenizerConfigJSON, &cfg); err != nil {
			return nil, fmt.Errorf("%w: tokenizer_config.json: %v", ErrTemplate, err)
		}
	}
	tokens := make(map[string]string)
	for _, name := range specialTokens {
		if s := tokenText(cfg[name]); s != "" {
			tokens[name] = s
		}
	}
	src := Source(tokenizerConfigJSON, templateFile)
	if src == "" {
		return nil, nil
	}
	return Parse(src, tokens)
}

// Source returns the text of the template that Load would parse, or "".
func Source(tokenizerConfigJSON, templateFile []byte) string {
	if len(templateFile) > 0 {
		return string(templateFile)
	}
	var cfg struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if json.Unmarshal(tokenizerConfigJSON, &cfg) != nil {
		return ""
	}
	return configTemplate(cfg.Template)
}

func tokenText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var o struct {
		Content string `json:"content"`
	}
	_ = json.Unmarshal(raw, &o) // neither form: no token
	return o.Content
}

func configTemplate(raw json.RawMessage) string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one
	}
	var named []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if json.Unmarshal(raw, &named) != nil {
		return ""
	}
	for _, n := range named {
		if n.Name == "default" {
			return n.Template
		}
	}
	return ""
}

// Parse reads a template; tokens holds variables such as "bos_token".
func Parse(src string, tokens map[string]string) (*Template, error) {
	t, err := jinja.Parse(src)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrTemplate, err)
	}
	return &Template{jinja: t, tokens: tokens}, nil
}

// Render writes a conversation the way the model was trained to read it.
// addGenerationPrompt opens the assistant's turn.
func (t *Template) Render(messages []Message, addGenerationPrompt bool) (string, error) {
	list := &jinja.List{}
	for _, m := range messages {
		d := jinja.NewDict()
		d.Set("role", m.Role)
		d.Set("content", m.Content)
		list.It = append(list.It, d)
	}
	vars := map[string]any{
		"messages":              list,
		"add_generation_prompt": addGenerationPrompt,
		"tools":                 nil,
		"documents":             nil,
		"strftime_now": jinja.Func(func(args []any, _ map[string]any) (any, error) {
			return strftime(time.Now(), args)
		}),
	}
	for name, text := range t.tokens {
		vars[name] = text
	}
	out, err := t.jinja.Render(vars)
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrTemplate, err)
	}
	return out, nil
}

// strftime formats the date in the few forms that templates ask for.
func strftime(now time.Time, args []any) (any, error) {
	if len(args) != 1 {
		return nil, errors.New("strftime_now takes one format")
	}
	format, ok := args[0].(string)
	if !ok {
		return nil, errors.New("strftime_now takes a string")
	}
	verbs := map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'b': "Jan", 'B': "January", 'H': "15", 'M': "04", 'S': "05", 'A': "Monday", 'a': "Mon"}
	var out []byte
	for i := 0; i < len(format); i++ {
		if format[i] == '%' && i+1 < len(format) {
			i++
			if layout, ok := verbs[format[i]]; ok {
				out = append(out, now.Format(layout)...)
				continue
			}
			return nil, fmt.Errorf("strftime_now: %%%c is not supported", format[i])
		}
		out = append(out, format[i])
	}
	return string(out), nil
}
