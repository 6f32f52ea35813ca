package chat

import (
	"context"
	"strings"
)

// takesSystem reports whether the template has a place for a system message:
// some refuse one, and some leave it out. Asking the template itself is what
// llama.cpp does too.
func (t *Template) takesSystem() bool {
	const needle = "nibble system message"
	t.probe.Do(func() {
		out, err := t.render(context.Background(), []Message{{"system", needle}, {"user", "Hello"}}, true)
		t.system = err == nil && strings.Contains(out, needle)
	})
	return t.system
}

// foldSystem puts the system message at the head of the user message after it.
func foldSystem(messages []Message) []Message {
	if len(messages) < 2 || messages[1].Role != "user" {
		return append([]Message{{"user", messages[0].Content}}, messages[1:]...)
	}
	first := Message{"user", messages[0].Content + "\n\n" + messages[1].Content}
	return append([]Message{first}, messages[2:]...)
}
