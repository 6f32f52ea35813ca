package eval

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/demo"
)

// JSON lines are evaluated as the texts in them, what is no text is refused, and
// what is replaced in one is told.
func TestTextForms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t")
	write := func(data string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, m := load(t, "demo")
	evaluate := func(data string) (Result, error) {
		t.Helper()
		write(data)
		text, err := ReadText(path, nil)
		if err != nil {
			return Result{}, err
		}
		return Run(context.Background(), m, nil, Options{Text: text, Ctx: 64}, nil, nil)
	}
	story := strings.Repeat("The dog and the cat. ", 100)
	plain, err := evaluate(story)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := evaluate(`{"text": "` + story + `"}`)
	if err != nil || lines.PPL != plain.PPL || len(lines.Notes) != len(plain.Notes) {
		t.Errorf("JSON lines: %+v, %v, want %g", lines, err, plain.PPL)
	}
	if cut, err := evaluate(story + "\xc3"); err != nil || len(cut.Notes) != len(plain.Notes)+1 {
		t.Errorf("cut: %+v, %v", cut, err)
	}
	for _, bad := range []string{"", "\xff\xfea\x00", "\x1f\x8b\x08", "\x00\x00", `{"text": 1}`} {
		if _, err := evaluate(bad); !errors.Is(err, ErrText) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ReadText(filepath.Dir(path), nil); !errors.Is(err, ErrText) || !strings.Contains(err.Error(), "a directory") {
		t.Errorf("%v", err)
	}
	if piped, err := ReadText("-", strings.NewReader(story)); err != nil || piped.SHA256 != NewText("", []byte(story)).SHA256 || piped.Name != "standard input" {
		t.Errorf("%+v, %v", piped, err)
	}
}

// A text with a token that the model has no row for is refused before any work.
func TestTextBeyondVocabulary(t *testing.T) {
	_, m := load(t, demo.Name)
	m.Config.Vocab = 3
	if _, err := NewReference(context.Background(), m, Options{Text: DemoText()}, nil); !errors.Is(err, model.ErrTokens) || !errors.Is(err, ErrText) {
		t.Errorf("%v", err)
	}
}

// Questions come as lines or as an array, and a mark before them is none of them.
func TestTaskForms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl")
	const line = `{"context": "a", "choices": [" b", " c"], "gold": 1}`
	for data, want := range map[string]int{
		line:                          1,
		line + "\n\n" + line:          2,
		"[" + line + "," + line + "]": 2,
		"\ufeff" + line:               1,
		"\xff\xfe" + line:             0,
		"PK\x03\x04":                  0,
		"\x00":                        0,
		"\x1f\x8b\x08":                0,
		"[" + line:                    0,
		"":                            0,
	} {
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		set, err := LoadTask(path)
		if len(set.Items) != want || (err == nil) != (want > 0) || err != nil && (!errors.Is(err, ErrTask) || strings.Count(err.Error(), path) != 1) {
			t.Errorf("%q: %d questions, %v", data, len(set.Items), err)
		}
	}
	if _, err := LoadTask(os.DevNull); !errors.Is(err, ErrTask) || !strings.Contains(err.Error(), "a device") {
		t.Errorf("%v", err)
	}
}
