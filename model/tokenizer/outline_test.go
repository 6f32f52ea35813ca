package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// What is described is what Load makes, or why it refuses.
func TestDescribe(t *testing.T) {
	files, err := filepath.Glob("../../../shared/data/*/*/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, "../demo/tokenizer.json") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		config, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "tokenizer_config.json")) // which not all have
		kind, size, err := Describe(data, config)
		whole, wrong := Load(data, config)
		switch {
		case err != nil || wrong != nil:
			if err == nil || wrong == nil || wrong.Error() != err.Error() {
				t.Errorf("%s: %v, of the whole %v", path, err, wrong)
			}
		case kind != whole.Kind() || size != whole.VocabSize():
			t.Errorf("%s: %s, %d ids; the whole is %s, %d", path, kind, size, whole.Kind(), whole.VocabSize())
		}
	}
}

// Most of a vocabulary is left out where nothing names it, and only there.
func TestOutline(t *testing.T) {
	const begin, end = `{"added_tokens":[{"id":9,"content":"named piece"}],"model":{"unk_token":null,"vocab":`, `,"merges":["a b"]}}`
	for vocab, want := range map[string]string{
		`{"a":0,"long one":5,"longer one":3,"<s>":1,"[CLS]":2}`: `{"a":0,"<s>":1,"[CLS]":2,"long one":5}`,
		`{"named piece":1,"another":2,"third one":0}`:           `{"named piece":1,"another":2}`,
		`{"long one":-5,"other one":1e9,"third":"x"}`:           `{"long one":-5,"other one":1e9,"third":"x"}`,
		`[["long one",0]]`: `[["long one",0]]`, `{}`: `{}`, `null`: `null`, `{"a":`: "", `{"a" 1}`: "",
	} {
		o := newOutline([]byte(begin + vocab + end))
		err := o.file()
		if (err == nil) != (want != "") || err == nil && string(o.out) != begin+want+`,"merges":[]}}` {
			t.Errorf("%s: %s, %v; want %s", vocab, o.out, err, want)
		}
	}
	for _, text := range []string{`{"model":{"vocab":{"long one":5}}}`, `{"model":{"unk_token":"x","vocab":{"long one":5}}}`, `{"model":[],"x":[{}]}`} {
		o := newOutline([]byte(text))
		if err := o.file(); err != nil || string(o.out) != text {
			t.Errorf("%s: %s, %v", text, o.out, err)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"added_tokens":[],"model":{"type":"BPE","unk_token":null,"vocab":{"a":0,"long one":5},"merges":["a b"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o := newOutline(data)
		if err := o.file(); err == nil && json.Valid(data) && !json.Valid(o.out) {
			t.Errorf("%q becomes %q", data, o.out)
		}
		Describe(data, nil) //nolint:errcheck // any error will do
	})
}
