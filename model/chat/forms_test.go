package chat

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// A model without a template is asked in the form whose tokens it has.
func TestUsual(t *testing.T) {
	messages := []Message{{"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Yes?"}, {"user", "Why"}}
	for _, c := range []struct {
		tokens     string
		name, want string
	}{
		{"<|im_start|> <|im_end|> <|user|> <|assistant|>", "ChatML", "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nWhy<|im_end|>\n<|im_start|>assistant\n"},
		{"<|start_header_id|> <|end_header_id|> <|eot_id|>", "Llama 3", "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
		{"<start_of_turn> <end_of_turn>", "Gemma", "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n<start_of_turn>user\nWhy<end_of_turn>\n<start_of_turn>model\n"},
		{"<|user|> <|assistant|> <|end|> </s>", "Phi-3", "<s><|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nYes?<|end|>\n<|user|>\nWhy<|end|>\n<|assistant|>\n"},
		{"<|user|> <|assistant|> </s>", "Zephyr", "<s><|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\nYes?</s>\n<|user|>\nWhy</s>\n<|assistant|>\n"},
		{"[INST] [/INST] </s>", "Mistral", "<s>[INST] Be brief.\n\nHi[/INST]Yes?</s>[INST] Why[/INST]"},
		{"<|im_start|>", "User and Assistant", "<s>Be brief.\n\nUser: Hi\nAssistant:Yes?\nUser: Why\nAssistant:"},
	} {
		has := strings.Fields(c.tokens)
		tmpl, form := Usual(func(token string) bool { return slices.Contains(has, token) }, "<s>")
		if form.Name != c.name || form.Plain() != (c.name == "User and Assistant") || form.Stop == "" {
			t.Errorf("%s: the form is %s, stopped by %q", c.tokens, form.Name, form.Stop)
		}
		if got, err := tmpl.Render(t.Context(), messages, true); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	for _, f := range forms { // the tokens that tell of a form are those it writes
		text, err := f.template("").Render(t.Context(), append(messages, Message{"assistant", "!"}), true)
		if err != nil || !strings.Contains(text, "Be brief.") || !strings.Contains(text, "Why") {
			t.Errorf("%s: %q, %v", f.Name, text, err)
		}
	}
}

// Named templates and a switch for thinking can be asked for.
func TestWith(t *testing.T) {
	on, off := true, false
	switched := "{{ messages|length }}{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
	tmpl, err := Load(Files{Template: []byte(switched), Templates: map[string]string{"rag": "{{ bos_token }}R", "effort": "{{ reasoning_effort or 'medium' }}", "broken": "{{"},
		Config: []byte(`{"bos_token": "<s>"}`)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o        Options
		want     string
		canThink bool
	}{
		"as it is":    {Options{}, "1", true},
		"on":          {Options{Thinking: &on}, "1", true},
		"off":         {Options{Thinking: &off}, "1<think></think>", true},
		"named":       {Options{Template: "rag"}, "<s>R", false},
		"default":     {Options{Template: "default"}, "1", true},
		"less effort": {Options{Template: "effort", Thinking: &off}, "low", true},
		"effort":      {Options{Template: "effort", Thinking: &on}, "medium", true},
	} {
		with, err := tmpl.With(c.o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := with.Render(t.Context(), []Message{{"user", "Hi"}}, true); err != nil || got != c.want || with.CanThink() != c.canThink {
			t.Errorf("%s: %q (can think: %v), %v; want %q", name, got, with.CanThink(), err, c.want)
		}
	}
	for _, name := range []string{"unheard", "broken"} {
		if _, err := tmpl.With(Options{Template: name}); !errors.Is(err, ErrTemplate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, _ := tmpl.Render(t.Context(), []Message{{"user", "Hi"}}, true); got != "1" {
		t.Errorf("the template itself changed: %q", got)
	}
}
