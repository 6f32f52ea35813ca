package workbench

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nibble/eval"
	"nibble/model"
	"nibble/tune"
)

// What is typed reaches the evaluation as what it means; what is empty is as usual.
func TestEvalForm(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(text, []byte("Once upon a time"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newEvalForm()
	if o, err := f.order(); err != nil || !reflect.DeepEqual(o, evalOrder{}) || o.aim() != tune.DefaultGoal {
		t.Errorf("an empty form orders %+v, %v", o, err)
	}
	t.Setenv("HOME", dir)
	fill(t, &f.form, map[string]string{"goal": "0.5%", "text": text, "tasks": dir + ", demo,~/a.txt,", "window": "256", "windows": "3"})
	o, err := f.order()
	if err != nil || !reflect.DeepEqual(o, evalOrder{goal: 0.005, text: text, tasks: []string{dir, demoTasks, text}, ctx: 256, chunk: 3}) {
		t.Errorf("the order is %+v, %v", o, err)
	}
	for field, c := range map[string][2]string{"goal": {"0", "1%"}, "text": {dir, "is not a file"}, "tasks": {"demo, /no/such", "/no/such: no such file"}, "window": {"3", "at least 4"}, "windows": {"-1", "at least 1"}} {
		f := newEvalForm()
		fill(t, &f.form, map[string]string{field: c[0]})
		if _, err := f.order(); err == nil || !strings.HasPrefix(err.Error(), field+": ") || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s %q: %v", field, c[0], err)
		}
	}
}

// An order's texts and questions are read, and another text is another reference.
func TestEvalOrder(t *testing.T) {
	dir := t.TempDir()
	text, tasks := filepath.Join(dir, "a.txt"), filepath.Join(dir, "b.jsonl")
	if err := os.WriteFile(text, []byte("Once upon a time"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tasks, []byte(`{"task": "sums", "context": "2 + 2 =", "choices": [" 4", " 5"], "gold": 0}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	demo, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer demo.Close()
	o, err := evalOrder{text: text, tasks: []string{tasks, demoTasks}, ctx: 64, chunk: 2}.options(demo, "")
	if err != nil || string(o.Text.Data) != "Once upon a time" || len(o.Tasks) != 2 || o.Tasks[0].Items[0].Task != "sums" || len(o.Tasks[1].Items) < 100 || o.Ctx != 64 || o.Chunks != 2 {
		t.Errorf("options %+v, %v", o, err)
	}
	if o, err := (evalOrder{}).options(demo, ""); err != nil || len(o.Tasks) != 0 || o.Text.SHA256 != eval.DemoText().SHA256 {
		t.Errorf("what is built in: %v", err)
	}
	if _, err := (evalOrder{tasks: []string{demoTasks, text}}).options(demo, ""); err == nil {
		t.Error("a text was taken for questions")
	}
	demo.Name, demo.Tokenizer = "other", nil
	if o, err := (evalOrder{}).options(demo, ""); err != nil || o.Text.SHA256 != eval.Prose().SHA256 {
		t.Errorf("what is built in for another model: %s, %v", o.Text.Name, err)
	}
	base := evalOrder{text: text, tasks: []string{tasks}, ctx: 64}
	for _, c := range []struct {
		other evalOrder
		alike bool
	}{{evalOrder{goal: 0.1, text: text, tasks: []string{tasks}, ctx: 64}, true}, {evalOrder{text: text, tasks: []string{tasks, demoTasks}, ctx: 64}, false},
		{evalOrder{text: text, tasks: []string{tasks}, ctx: 64, chunk: 1}, false}, {evalOrder{tasks: []string{tasks}, ctx: 64}, false}} {
		if base.alike(c.other) != c.alike {
			t.Errorf("the float model answers %+v and %+v alike: %v", base, c.other, !c.alike)
		}
	}
}
