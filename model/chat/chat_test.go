package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nibble/model/chat/jinja"
)

const chatML = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}" +
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

var conversation = []Message{{"system", "Be brief."}, {"user", "Hi {{ 7*7 }}"}}

func TestRender(t *testing.T) {
	tmpl, err := Parse(chatML, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi {{ 7*7 }}<|im_end|>\n<|im_start|>assistant\n"
	if got, err := tmpl.Render(t.Context(), conversation, true); err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if got, err := tmpl.Render(t.Context(), conversation[1:], false); err != nil || strings.Contains(got, "assistant") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLoad(t *testing.T) {
	config := func(template string) []byte {
		return []byte(`{"bos_token": {"content": "<s>"}, "chat_template": ` + template + `}`)
	}
	for name, c := range map[string]struct {
		config, file []byte
		want         string // "" for none
	}{
		"none":        {[]byte(`{}`), nil, ""},
		"null":        {config(`null`), nil, ""},
		"string":      {config(`"{{ bos_token }}A"`), nil, "<s>A"},
		"named":       {config(`[{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]`), nil, "D"},
		"file wins":   {config(`"A"`), []byte("F"), "F"},
		"file, alone": {nil, []byte("F"), "F"},
	} {
		tmpl, err := Load(c.config, c.file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.want == "" {
			if tmpl != nil {
				t.Errorf("%s: a template out of nothing", name)
			}
			continue
		}
		if got, err := tmpl.Render(t.Context(), nil, false); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	if _, err := Parse("{% if %}", nil); !errors.Is(err, ErrTemplate) {
		t.Errorf("a broken template: %v", err)
	}
	for _, src := range []string{
		"{{ raise_exception('no system role') }}",
		"{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}", // bounded, not for ever
	} {
		tmpl, err := Parse(src, nil)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if _, err := tmpl.Render(t.Context(), conversation, true); !errors.Is(err, ErrTemplate) {
			t.Errorf("%s: %v, want ErrTemplate", src, err)
		}
	}
}

// Real templates against what Python's jinja2 renders, configured as
// transformers does.
func TestRealTemplates(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "chat", "cases.json"))
	if err != nil {
		t.Skip("needs chat/cases.json, which is not part of the project")
	}
	var loose struct {
		Templates map[string]string
		Cases     []struct {
			Template, Scenario, Expected string
			Context                      json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &loose); err != nil {
		t.Fatal(err)
	}
	for _, c := range loose.Cases {
		tmpl, err := jinja.Parse(loose.Templates[c.Template])
		if err != nil {
			t.Errorf("%s: %v", c.Template, err)
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(c.Context))
		dec.UseNumber()
		ctx, ok := value(t, dec).(*jinja.Dict)
		if !ok {
			t.Fatalf("%s %s: the context is no object", c.Template, c.Scenario)
		}
		day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) // when the answers were recorded
		vars := map[string]any{"strftime_now": strftimeNow(func() time.Time { return day })}
		for k, v := range ctx.All() {
			vars[k.(string)] = v
		}
		got, err := tmpl.Render(t.Context(), vars, jinja.Limits{})
		if err != nil || got != c.Expected {
			t.Errorf("%s %s: %q, %v; want %q", c.Template, c.Scenario, got, err, c.Expected)
		}
	}
	t.Logf("%d conversations in %d templates", len(loose.Cases), len(loose.Templates))
}

// value reads JSON into the engine's values, keeping the order of keys.
func value(t *testing.T, dec *json.Decoder) any {
	t.Helper()
	tok, err := dec.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch v := tok.(type) {
	case json.Delim:
		if v == '[' {
			l := &jinja.List{}
			for dec.More() {
				l.Items = append(l.Items, value(t, dec))
			}
			_, _ = dec.Token() // the closing bracket
			return l
		}
		d := jinja.NewDict()
		for dec.More() {
			k, _ := dec.Token() // a key
			d.Set(k, value(t, dec))
		}
		_, _ = dec.Token()
		return d
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	}
	return tok
}
