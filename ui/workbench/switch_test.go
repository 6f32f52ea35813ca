package workbench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/model/store"
	"nibble/ui/job"
)

// Another model takes the place of the one that is open, with nothing of that left; one
// that cannot be opened leaves it alone.
func TestSwitch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(dir, demo.Files); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(dir))
	b, s, run := realBackend(t)
	run(b.load, nil)
	run(func() { b.quantize(job.Quantize{Recipe: "w4 channel sym rtn"}) }, nil)
	n := 5
	ask := chatRequest{text: "Hello", settings: job.Generation{Tokens: &n}}
	run(func() { b.send(ask) }, nil)
	if !s.model.inMemory || len(s.model.results) != 1 || len(b.talks) != 1 {
		t.Fatalf("before: %+v", s.model)
	}
	b.switchTo(filepath.Join(dir, "none"))
	b.jobs.done.Wait()
	for _, c := range b.mail.drain() {
		c(s)
	}
	if !s.failed || b.int4 == nil || s.model.ref != "demo" {
		t.Fatalf("after a failure: %q, %+v", s.message, s.model)
	}
	s.failed = false
	run(func() { b.switchTo(dir) }, nil)
	if b.int4 != nil || b.ref != nil || s.model.ref != dir || s.model.inMemory || s.model.recipe != "" || len(s.model.results) > 0 || s.eval.result != nil {
		t.Errorf("after the switch: %+v", s.model)
	}
	run(func() { b.send(ask) }, nil)
	if turns := s.chat.turns; len(turns) != 2 || turns[1].answer == "" || len(b.talks) != 1 || b.talks[0].with != b.base {
		t.Errorf("the other model answers %+v", turns)
	}
	b.listModels()
	b.jobs.done.Wait()
	for _, c := range b.mail.drain() {
		c(s)
	}
	if !s.models.known || !slices.ContainsFunc(s.models.list, func(e store.Entry) bool { return e.Opens && strings.HasSuffix(e.Ref, "other") }) {
		t.Errorf("found %+v", s.models.list)
	}
}
