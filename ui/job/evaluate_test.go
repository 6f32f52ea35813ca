package job

import (
	"os"
	"path/filepath"
	"testing"

	"nibble/eval"
	"nibble/model"
)

func openDemo(t *testing.T) *model.Checkpoint {
	t.Helper()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	return ck
}

// A job's texts and questions are read; what is empty is what is built in.
func TestEvaluate(t *testing.T) {
	dir := t.TempDir()
	text, tasks := filepath.Join(dir, "a.txt"), filepath.Join(dir, "b.jsonl")
	if err := os.WriteFile(text, []byte("Once upon a time"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tasks, []byte(`{"task": "sums", "context": "2 + 2 =", "choices": [" 4", " 5"], "gold": 0}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	demo := openDemo(t)
	o, err := Evaluate{Text: text, Tasks: []string{tasks, DemoTasks}, Ctx: 64, Chunks: 2}.For(demo, "", nil)
	if err != nil || string(o.Text.Data) != "Once upon a time" || len(o.Tasks) != 2 || o.Tasks[0].Items[0].Task != "sums" || len(o.Tasks[1].Items) < 100 || o.Ctx != 64 || o.Chunks != 2 {
		t.Errorf("options %+v, %v", o, err)
	}
	if notes := TextNotes(text, demo, eval.Options{Ctx: 1 << 20}); len(notes) != 1 {
		t.Errorf("a window beyond the context: %q", notes)
	}
	if o, err := (Evaluate{}).For(demo, "", nil); err != nil || len(o.Tasks) != 1 || o.Text.SHA256 != eval.DemoText().SHA256 || len(TextNotes("", demo, o)) > 0 {
		t.Errorf("what is built in for the demo: %d sets, %v", len(o.Tasks), err)
	}
	if o, err := (Evaluate{Text: text}).For(demo, "", nil); err != nil || len(o.Tasks) != 0 {
		t.Errorf("the demo on another text: %d sets, %v", len(o.Tasks), err)
	}
	if _, err := (Evaluate{Tasks: []string{DemoTasks, text}}).For(demo, "", nil); err == nil {
		t.Error("a text was taken for questions")
	}
	demo.Name, demo.Tokenizer = "other", nil
	if o, err := (Evaluate{}).For(demo, "", nil); err != nil || len(o.Tasks) != 0 || o.Text.SHA256 != eval.Prose().SHA256 || len(TextNotes("", demo, o)) != 1 {
		t.Errorf("what is built in for another model: %s, %v", o.Text.Name, err)
	}
	if err := NeedTokenizer(demo); err == nil {
		t.Error("text without a tokenizer")
	}
}

// The float model is measured again where its answers would be others.
func TestSameBase(t *testing.T) {
	base := Evaluate{Text: "a", Tasks: []string{"b"}, Ctx: 64}
	for _, c := range []struct {
		other Evaluate
		same  bool
	}{{Evaluate{Goal: 0.1, Text: "a", Tasks: []string{"b"}, Ctx: 64}, true}, {Evaluate{Text: "a", Tasks: []string{"b", DemoTasks}, Ctx: 64}, false},
		{Evaluate{Text: "a", Tasks: []string{"b"}, Ctx: 64, Chunks: 1}, false}, {Evaluate{Tasks: []string{"b"}, Ctx: 64}, false}} {
		if base.SameBase(c.other) != c.same {
			t.Errorf("the float model answers %+v and %+v alike: %v", base, c.other, !c.same)
		}
	}
}
