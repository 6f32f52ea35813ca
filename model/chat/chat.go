// Package chat renders conversations with a model's own chat template, which is
// found where Hugging Face puts it and rendered as transformers does
// (https://huggingface.co/docs/transformers/chat_templating).
package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
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

// Template is a parsed chat template with the model's special tokens. It is safe
// for concurrent use.
type Template struct {
	jinja  *jinja.Template
	tokens map[string]string
	now    func() time.Time // for strftime_now
	vars   map[string]any   // what else it is told

	sources []Named // it and those beside it

	probe  sync.Once
	system bool // the template has a place for a system message
}

// specialTokens are the variables transformers passes to a template.
var specialTokens = []string{"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}

// Load reads the default template of a model; one without a template gets nil.
func Load(f Files) (*Template, error) {
	var cfg map[string]json.RawMessage
	if len(f.Config) > 0 {
		if err := json.Unmarshal(f.Config, &cfg); err != nil {
			return nil, fmt.Errorf("%w: tokenizer_config.json: %v", ErrTemplate, err)
		}
	}
	tokens := make(map[string]string)
	for _, name := range specialTokens {
		if s := tokenText(cfg[name]); s != "" {
			tokens[name] = s
		}
	}
	sources := f.Sources()
	if len(sources) == 0 {
		return nil, nil
	}
	t, err := Parse(sources[0].Text, tokens)
	if err != nil {
		return nil, err
	}
	t.sources = sources
	return t, nil
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

// Parse reads a template; tokens holds variables such as "bos_token".
func Parse(src string, tokens map[string]string) (*Template, error) {
	t, err := jinja.Parse(src)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	return &Template{jinja: t, tokens: tokens, now: time.Now}, nil
}

// Render writes a conversation the way the model was trained to read it.
// addGenerationPrompt opens the assistant's turn.
//
// A system message at the start reaches every model: where the template has no
// place for it, it goes at the head of the first user message. What a template
// refuses otherwise, such as roles that do not alternate, is an error with the
// template's own message.
func (t *Template) Render(ctx context.Context, messages []Message, addGenerationPrompt bool) (string, error) {
	if len(messages) > 0 && messages[0].Role == "system" && !t.takesSystem() {
		messages = foldSystem(messages)
	}
	return t.render(ctx, messages, addGenerationPrompt)
}

// render gives the template the variables that transformers gives it
// (https://huggingface.co/docs/transformers/chat_templating_writing).
func (t *Template) render(ctx context.Context, messages []Message, addGenerationPrompt bool) (string, error) {
	list := &jinja.List{}
	for _, m := range messages {
		d := jinja.NewDict()
		d.Set("role", m.Role)
		d.Set("content", m.Content)
		list.Items = append(list.Items, d)
	}
	vars := map[string]any{
		"messages":              list,
		"add_generation_prompt": addGenerationPrompt,
		"tools":                 nil,
		"documents":             nil,
		"strftime_now":          strftimeNow(t.now),
	}
	for name, text := range t.tokens {
		vars[name] = text
	}
	maps.Copy(vars, t.vars)
	out, err := t.jinja.Render(ctx, vars, jinja.Limits{})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrTemplate, err)
	}
	return out, nil
}
