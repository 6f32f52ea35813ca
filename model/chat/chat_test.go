package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
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
		older        []byte
		more         map[string]string
	}{
		"none":        {[]byte(`{}`), nil, "", nil, nil},
		"null":        {config(`null`), nil, "", nil, nil},
		"number":      {config(`5`), nil, "", nil, nil},
		"no default":  {config(`[{"name": "rag", "template": "R"}, {"name": "tools", "template": "T"}]`), nil, "R", nil, nil},
		"string":      {config(`"{{ bos_token }}A"`), nil, "<s>A", nil, nil},
		"named":       {config(`[{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]`), nil, "D", nil, nil},
		"file wins":   {config(`"A"`), []byte("F"), "F", nil, nil},
		"file, alone": {nil, []byte("F"), "F", nil, nil},
		"older file":  {[]byte(`{}`), nil, "O", []byte(`{"chat_template": "O"}`), nil},
		"config wins": {config(`"A"`), nil, "A", []byte(`{"chat_template": "O"}`), nil},
		"folder":      {nil, []byte("F"), "F", nil, map[string]string{"rag": "R", "default": "D"}},
	} {
		tmpl, err := Load(Files{Config: c.config, Template: c.file, Older: c.older, Templates: c.more})
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
	if _, err := Parse("{% if %}", nil); !errors.Is(err, ErrTemplate) || !errors.Is(err, jinja.ErrSyntax) {
		t.Errorf("a broken template: %v", err)
	}
	if _, err := Load(Files{Config: []byte(`{"chat_template": "{{"}`)}); !errors.Is(err, ErrTemplate) {
		t.Errorf("a broken template in the configuration: %v", err)
	}
	if _, err := Load(Files{Config: []byte(`{`)}); !errors.Is(err, ErrTemplate) {
		t.Errorf("a broken configuration: %v", err)
	}
	for src, kind := range map[string]error{
		"{{ raise_exception('roles must alternate') }}":                                  jinja.ErrRaised,
		"{{ messages[9].role.upper() }}":                                                 jinja.ErrRender,
		"{{ strftime_now('%Q') }}":                                                       jinja.ErrRender,
		"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}": jinja.ErrLimit,
	} {
		tmpl, err := Parse(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tmpl.Render(t.Context(), conversation, true); !errors.Is(err, ErrTemplate) || !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %v", src, err, kind)
		}
	}
}

// A template's variables are those transformers passes.
func TestVariables(t *testing.T) {
	for src, want := range map[string]string{
		"{{ bos_token }}|{{ eos_token is defined }}":                              "<s>|False",
		"{{ tools is none }}{{ documents is none }}{{ tools is defined }}":        "TrueTrueTrue",
		"{% if not tools is defined %}a{% endif %}{% if tools %}b{% endif %}":     "",
		"{{ add_generation_prompt }}":                                             "True",
		"{{ messages|length }}{{ messages[0].role }}{{ messages[0]['content'] }}": "1userHi",
		"{{ messages[0].tool_calls is defined }}":                                 "False",
		"{{ messages[0].get('name', 'none') }}":                                   "none",
		"{{ strftime_now('%d %b %Y') }}":                                          "02 Jan 2026",
		"{{ enable_thinking is defined }}":                                        "False",
	} {
		tmpl, err := Parse(src, map[string]string{"bos_token": "<s>"})
		if err != nil {
			t.Fatal(err)
		}
		tmpl.now = func() time.Time { return time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) }
		if got, err := tmpl.Render(t.Context(), []Message{{"user", "Hi"}}, true); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", src, got, err, want)
		}
	}
}

// A system message reaches the model even where the template has no place for
// it.
func TestSystem(t *testing.T) {
	const (
		takes   = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}"
		refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + takes
		drops   = "{% set messages = messages|rejectattr('role', '==', 'system')|list %}" + takes
	)
	system, user, assistant := Message{"system", "Be brief."}, Message{"user", "Hi"}, Message{"assistant", "Yes?"}
	for name, c := range map[string]struct {
		src      string
		messages []Message
		want     string
	}{
		"takes":               {takes, []Message{system, user}, "s:Be brief.;u:Hi;"},
		"takes, later system": {takes, []Message{user, system}, "u:Hi;s:Be brief.;"},
		"drops":               {drops, []Message{system, user}, "u:Be brief.\n\nHi;"},
		"refuses":             {refuses, []Message{system, user}, "u:Be brief.\n\nHi;"},
		"refuses, and more":   {refuses, []Message{system, user, assistant, user}, "u:Be brief.\n\nHi;a:Yes?;u:Hi;"},
		"refuses, alone":      {refuses, []Message{system}, "u:Be brief.;"},
		"refuses, no user":    {refuses, []Message{system, assistant}, "u:Be brief.;a:Yes?;"},
		"refuses, no system":  {refuses, []Message{user}, "u:Hi;"},
		"no messages":         {takes, nil, ""},
	} {
		tmpl, err := Parse(c.src, nil)
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(c.messages)
		if got, err := tmpl.Render(t.Context(), c.messages, false); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
		if !slices.Equal(c.messages, before) {
			t.Errorf("%s: the caller's messages changed", name)
		}
	}
}

// The probe for a place for system messages survives a cancelled context.
func TestCancel(t *testing.T) {
	tmpl, err := Parse(chatML, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = tmpl.Render(ctx, conversation, true) // too short to notice, or cancelled
	got, err := tmpl.Render(t.Context(), conversation, false)
	if err != nil || !strings.HasPrefix(got, "<|im_start|>system\nBe brief.") {
		t.Errorf("%q, %v", got, err)
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
