package eval

import (
	"compress/gzip"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/tokenizer"
)

func TestParseTask(t *testing.T) {
	set, err := parseTask("sums", []byte(`{"context": "1+1=", "choices": [" 2", " 3"], "gold": 0}

{"task": "other", "context": "1+2=", "choices": [" 2", " 3"], "gold": 1}
`), nil)
	if err != nil || len(set.Items) != 2 || set.Items[0].Task != "sums" || set.Items[1].Task != "other" || set.Items[1].Choices[1] != (Choice{"1+2=", " 3"}) {
		t.Errorf("%+v, %v", set, err)
	}
	set, err = parseTask("olmes", []byte(`{"task_name": "x", "doc_id": 3, "idx": 0, "label": 1, "request": {"context": "a", "continuation": " b"}}
{"task_name": "x", "doc_id": 3, "idx": 1, "label": 1, "request": {"context": "c", "continuation": " d"}}
{"task_name": "x", "doc_id": 1000003, "idx": 0, "label": 1, "request": {"context": "A:", "continuation": " b"}}
{"task_name": "x", "doc_id": 1000003, "idx": 1, "label": 1, "request": {"context": "A:", "continuation": " d"}}`), nil)
	if err != nil || len(set.Items) != 1 || set.Items[0].Gold != 1 || set.Items[0].Choices[1] != (Choice{"c", " d"}) || set.Items[0].Alone[1] != (Choice{"A:", " d"}) {
		t.Errorf("%+v, %v", set, err)
	}
	set, err = parseTask("words", []byte(`{"text": "the cat sat on the mat"}`), nil)
	if err != nil || len(set.Items) != 1 || !set.Items[0].Greedy || set.Items[0].Choices[0] != (Choice{"the cat sat on the", " mat"}) {
		t.Errorf("%+v, %v", set, err)
	}
	for name, bad := range map[string]string{
		"empty":             "\n\n",
		"not JSON":          "context",
		"no gold":           `{"context": "a", "choices": ["b", "c"]}`,
		"gold too large":    `{"context": "a", "choices": ["b", "c"], "gold": 2}`,
		"gold negative":     `{"context": "a", "choices": ["b", "c"], "gold": -1}`,
		"empty choice":      `{"context": "a", "choices": ["b", ""], "gold": 0}`,
		"one choice":        `{"context": "a", "choices": ["b"], "gold": 0}`,
		"order":             `{"doc_id": 3, "idx": 1, "label": 1, "request": {"context": "a", "continuation": " b"}}`,
		"one word":          `{"text": "word"}`,
		"choices of a type": `{"context": "a", "choices": [1, 2], "gold": 0}`,
		"label too large":   `{"doc_id": 3, "idx": 0, "label": 4, "request": {"context": "a", "continuation": " b"}}`,
	} {
		if _, err := parseTask("bad", []byte(bad), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParseTask(f *testing.F) {
	f.Add([]byte(`{"context": "a", "choices": ["b", "c"], "gold": 1}`))
	f.Add([]byte(`{"doc_id": 3, "idx": 0, "label": 0, "request": {"context": "a", "continuation": " b"}}`))
	f.Add([]byte(`{"text": "one two"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parseTask("fuzz", data, nil)
		if err != nil {
			return
		}
		for _, item := range set.Items {
			if err := item.validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestLoadTask(t *testing.T) {
	dir := t.TempDir()
	line := `{"context": "1+1=", "choices": [" 2", " 3"], "gold": 0}`
	plain, packed := filepath.Join(dir, "sums.jsonl"), filepath.Join(dir, "requests.jsonl.gz")
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(line)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), os.WriteFile(plain, []byte(line), 0o644), os.WriteFile(packed, []byte(b.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
	p, err := LoadTask(plain)
	if err != nil || p.Name != "sums" {
		t.Errorf("%+v, %v", p, err)
	}
	for _, path := range []string{packed, dir} {
		q, err := LoadTask(path)
		if err != nil || q.Name != filepath.Base(dir) || q.SHA256 != p.SHA256 {
			t.Errorf("%+v, %v", q, err)
		}
	}
	if err := os.WriteFile(packed, []byte(b.String()[:b.Len()-9]), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{packed, filepath.Join(dir, "none.jsonl")} {
		if _, err := LoadTask(path); !errors.Is(err, ErrTask) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want ErrTask with the file's name", err)
		}
	}
}

// Real request files: every document with its choices, none of the twins.
func TestOLMESFiles(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "data", "eval")
	for name, want := range map[string]struct{ items, choices int }{
		"arc_easy": {570, 0}, "boolq": {3270, 2}, "copa": {100, 2}, "openbookqa": {500, 4}, "piqa": {1838, 2}, "sciq": {1000, 4}, "winogrande": {1267, 2},
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Skip("needs the task files, which are not part of the project")
		}
		if testing.Short() && name != "copa" {
			continue
		}
		set, err := LoadTask(filepath.Join(dir, name))
		if err != nil || set.Name != name || len(set.Items) != want.items {
			t.Errorf("%s: %d questions, want %d (%v)", name, len(set.Items), want.items, err)
			continue
		}
		for i, item := range set.Items {
			if want.choices > 0 && len(item.Choices) != want.choices || item.Task != name {
				t.Fatalf("%s, question %d: %+v", name, i, item)
			}
		}
	}
}

// Scores against a computation that shares nothing between choices.
func TestAnswer(t *testing.T) {
	_, m := load(t, "demo")
	ctx := context.Background()
	set, err := DemoTask()
	if err != nil {
		t.Fatal(err)
	}
	s := newScorer(m)
	items := []Item{set.Items[0], set.Items[200], set.Items[400], set.Items[500],
		{Choices: []Choice{{"Once upon a ", "time"}, {"Once upon a", " time"}}},
		{Choices: []Choice{{"", "Once"}, {"", " upon"}}},
		{Choices: []Choice{{strings.Repeat("the cat and the dog ", 200), "sat"}, {"x", strings.Repeat(" and", 600)}}}}
	for n, item := range items {
		for _, c := range item.Choices {
			got, greedy, err := s.continuation(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			tokens, split := s.encode(c)
			hidden, err := m.NewExactSession(0).Forward(ctx, tokens[:len(tokens)-1])
			if err != nil {
				t.Fatal(err)
			}
			v := m.Config.Vocab
			logits := make([]float32, (len(tokens)-1)*v)
			m.Logits(m.Engine.NewActs(), logits, hidden, len(tokens)-1)
			want, top := 0.0, true
			for i := split; i < len(tokens); i++ {
				row := logits[(i-1)*v : i*v]
				want += logProb(m.Engine, row, tokens[i])
				top = top && argMax(row) == int(tokens[i])
			}
			if math.Abs(got-want) > 1e-4*math.Abs(want) || greedy != top {
				t.Errorf("item %d, %.20q after %.20q: %g (greedy %t), want %g (%t)", n, c.Continuation, c.Context, got, greedy, want, top)
			}
		}
	}
	// A space may stand on either side of the border.
	a, sa := s.encode(items[4].Choices[0])
	b, sb := s.encode(items[4].Choices[1])
	if m.Tok.Decode(a) != m.Tok.Decode(b) || sa != sb {
		t.Errorf("%v split at %d, %v at %d: the border moved with the space", a, sa, b, sb)
	}
	whole := m.Tok.Encode(items[4].Choices[0].Context+"time", tokenizer.EncodeOptions{})
	if len(a) != len(whole)+len(m.Tok.Prefix()) {
		t.Errorf("context and continuation are not encoded together: %v, %v", a, whole)
	}
}

// Answers as counted by hand.
func TestTaskResults(t *testing.T) {
	// The right answer is the first; the second is shorter by half.
	item := func(task string) Item {
		return Item{Task: task, Choices: []Choice{{"a", " bbbb"}, {"a", " cc"}}}
	}
	both, likeliest, neither, perCharacter := answer{LogProbs: []float64{-1, -2}}, answer{LogProbs: []float64{-4, -5}}, answer{LogProbs: []float64{-9, -1}}, answer{LogProbs: []float64{-3, -2}}
	likeliest.LogProbs = []float64{-4, -4.5} // -1 and -2.25 per character
	set := TaskSet{Name: "set", Items: []Item{item("x"), item("y"), item("x"), item("x"), item("y")}}
	got := set.results(taskAnswers{both, both, neither, likeliest, perCharacter}, taskAnswers{both, neither, both, both, both})
	if len(got) != 3 || got[0].Name != "x" || got[1].Name != "y" || got[2].Name != "set" {
		t.Fatalf("%+v", got)
	}
	all := got[2]
	if all.N != 5 || all.Acc != 0.6 || math.Abs(all.AccNorm-0.8) > 1e-12 || all.BaseAcc != 0.8 || all.Flips != 3 || all.Worse != 2 || all.Better != 1 || all.PValue != 1 || all.LastWord != nil || all.Unconditioned != nil {
		t.Errorf("%+v %+v", all, all.TaskComparison)
	}
	if all.BaseAccNorm != 0.8 || all.FlipsNorm != 2 || all.WorseNorm != 1 || all.BetterNorm != 1 || all.PValueNorm != 1 {
		t.Errorf("per character: %+v", all.TaskComparison)
	}
	if want := math.Sqrt(0.6 * 0.4 / 4); math.Abs(all.AccSE-want) > 1e-12 {
		t.Errorf("standard error %g, want %g", all.AccSE, want)
	}
	if x := got[0]; x.N != 3 || math.Abs(x.Acc-2.0/3) > 1e-12 || x.Worse != 1 || x.Better != 0 {
		t.Errorf("%+v %+v", x, x.TaskComparison)
	}
	words := TaskSet{Name: "words", Items: []Item{{Task: "words", Greedy: true, Choices: []Choice{{"a", "b"}}}, {Task: "words", Greedy: true, Choices: []Choice{{"a", "b"}}}}}
	r := words.results(taskAnswers{{LogProbs: []float64{-2}, Greedy: true}, {LogProbs: []float64{-4}}}, nil)
	if len(r) != 1 || r[0].Acc != 0.5 || math.Abs(r[0].PPL-math.Exp(3)) > 1e-9 || math.Abs(r[0].PPLSE-math.Exp(3)) > 1e-9 || r[0].TaskComparison != nil {
		t.Errorf("%+v", r)
	}
}

// The four measures of one answer, each of which prefers another choice.
func TestJudge(t *testing.T) {
	item := Item{
		Choices: []Choice{{"q", " a"}, {"q", " bbbbbbbb"}, {"q", " ééééé"}, {"q", " dd"}},
		Alone:   []Choice{{"", " a"}, {"", " bbbbbbbb"}, {"", " ééééé"}, {"", " dd"}},
	}
	a := answer{LogProbs: []float64{-1, -4, -2.2, -3}, Alone: []float64{-1, -4, -2.2, -9}}
	for gold, want := range []verdict{{acc: true}, {}, {norm: true, bytes: true}, {uncond: true}} {
		item.Gold = gold
		got := item.judge(a)
		got.loss = 0
		if got != want {
			t.Errorf("choice %d: %+v, want %+v", gold, got, want)
		}
	}
	a.LogProbs[1] = -3 // -0.375 per character and byte, -0.44 and -0.22 for é
	for gold, want := range []verdict{{acc: true}, {norm: true}, {bytes: true}, {uncond: true}} {
		item.Gold = gold
		got := item.judge(a)
		got.loss = 0
		if got != want {
			t.Errorf("choice %d: %+v, want %+v", gold, got, want)
		}
	}
	equal := Item{Choices: []Choice{{"q", " a"}, {"q", " a"}}, Gold: 1}
	if equal.judge(answer{LogProbs: []float64{-1, -1}}).acc {
		t.Error("of equal choices the first counts")
	}
}
