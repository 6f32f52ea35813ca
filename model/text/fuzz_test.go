package text

import (
	"strings"
	"testing"
	"unicode/utf8"

	"nibble/model/chat"
)

// What is accepted is text: UTF-8, not empty, no longer than what a replacement
// character for each byte makes of it; and it is read the same way twice.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"Once upon a time.", "\ufeffa\r\n", `{"text": "a"}` + "\n" + `{"text": "b\ud800"}`, "[\n\"a\", {\"text\": \"b\"}]", "\"a\"\n\"b\"\n",
		`{"messages": [{"role": "user", "content": "Hi"}]}`, `{"conversations": [{"from": "gpt", "value": "Hi"}]}`, "{ x", "[1]", "\x1f\x8b", "\xff\xfea\x00", "caf\xe9"} {
		f.Add([]byte(s))
	}
	template, err := chat.Parse("{% for m in messages %}{{ m.content }}{% endfor %}", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, use := range []*chat.Template{nil, template} {
			said, err := Parse(data, use)
			if err != nil {
				continue
			}
			if !utf8.ValidString(said.Text) || strings.TrimSpace(said.Text) == "" || len(said.Text) > 3*len(data) || said.Chats && use == nil {
				t.Errorf("%q is read as %+v", data, said)
			}
			if again, err := Parse(data, use); err != nil || again.Text != said.Text {
				t.Errorf("%q is read as %q, then as %q, %v", data, said.Text, again.Text, err)
			}
		}
	})
}
