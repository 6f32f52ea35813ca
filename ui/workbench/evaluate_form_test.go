package workbench

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nibble/tune"
	"nibble/ui/job"
)

// What is typed reaches the evaluation as what it means; what is empty is as usual.
func TestEvalForm(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "a.txt")
	if err := os.WriteFile(text, []byte("Once upon a time"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newEvaluateForm()
	if o, err := f.job(); err != nil || !reflect.DeepEqual(o, job.Evaluate{}) || o.Aim() != tune.DefaultGoal {
		t.Errorf("an empty form orders %+v, %v", o, err)
	}
	t.Setenv("HOME", dir)
	fill(t, &f.form, map[string]string{"goal": "0.5%", "text": text, "tasks": dir + ", demo,~/a.txt,", "window": "256", "windows": "3"})
	o, err := f.job()
	if err != nil || !reflect.DeepEqual(o, job.Evaluate{Goal: 0.005, Text: text, Tasks: []string{dir, job.DemoTasks, text}, Ctx: 256, Chunks: 3}) {
		t.Errorf("the order is %+v, %v", o, err)
	}
	for field, c := range map[string][2]string{"goal": {"0", "1%"}, "text": {dir, "is not a file"}, "tasks": {"demo, /no/such", "/no/such: no such file"}, "window": {"3", "at least 4"}, "windows": {"-1", "at least 1"}} {
		f := newEvaluateForm()
		fill(t, &f.form, map[string]string{field: c[0]})
		if _, err := f.job(); err == nil || !strings.HasPrefix(err.Error(), field+": ") || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s %q: %v", field, c[0], err)
		}
	}
}
