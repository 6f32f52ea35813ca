package workbench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/model/tokenizer"
	"nibble/quant"
	"nibble/ui/job"
)

// Both models answer with one seed, every token of the float model's answer is compared,
// and from another word both go on anew.
func TestCompare(t *testing.T) {
	b, s, run := realBackend(t)
	run(b.load, nil)
	b.compare(compareRequest{text: "Hello"})
	b.jobs.done.Wait()
	for _, c := range b.mail.drain() {
		c(s)
	}
	if !s.failed || !strings.Contains(s.message, errNoPair.Error()) {
		t.Fatalf("without an INT4 model: %q", s.message)
	}
	s.failed = false
	recipe, err := quant.ParseRecipe("w4 channel sym rtn")
	if err != nil {
		t.Fatal(err)
	}
	n := 40
	r := compareRequest{text: "Tell me a story about a dog named Max.", settings: job.Generation{Tokens: &n}}
	run(func() { b.improve(recipe, r) }, nil)
	c := s.compare
	if len(c.steps) == 0 || len(c.steps) != c.split && c.split >= len(c.steps) {
		t.Fatalf("%d steps, split at %d", len(c.steps), c.split)
	}
	text := ""
	for i, x := range c.steps {
		text += x.Token.Text
		if (i < c.split) != (i < len(c.own) && c.own[i].Token.ID == x.Token.ID) && i <= c.split {
			t.Errorf("token %d of %q and %q, which part at %d", i, c.float.answer, c.int4.answer, c.split)
		}
	}
	if strings.TrimSpace(text) != strings.TrimSpace(c.float.answer) {
		t.Errorf("the tokens are of %q, the answer is %q", text, c.float.answer)
	}
	seed := c.seed
	r.settings.Seed = &seed
	first := c.float.answer
	if run(func() { b.compare(r) }, nil); s.compare.float.answer != first || s.compare.seed != seed {
		t.Errorf("the same seed answers %q and %q", first, s.compare.float.answer)
	}
	r.begun = b.ck.Tokenizer.Encode(" The cat", tokenizer.EncodeOptions{})
	if run(func() { b.compare(r) }, nil); s.compare.begun != " The cat" || s.compare.float.answer == first || len(s.compare.steps) == 0 {
		t.Errorf("begun with %q both answer %q", s.compare.begun, s.compare.float.answer)
	}
}

// A quantized model is opened with the float one that its report names; if that has
// changed, or is gone, alone and with a note.
func TestBaseIsOpened(t *testing.T) {
	dir, out := filepath.Join(t.TempDir(), "base"), filepath.Join(t.TempDir(), "int4")
	if err := os.CopyFS(dir, demo.Files); err != nil {
		t.Fatal(err)
	}
	b, _, run := realBackend(t)
	b.o.Model = dir
	run(b.load, nil)
	run(func() { b.quantize(job.Quantize{Recipe: "w4 channel sym rtn", Out: out}) }, nil)

	open := func(base string) (*backend, *state) {
		t.Helper()
		b, s, run := realBackend(t)
		b.o.Model, b.o.Base = out, base
		run(b.load, nil)
		return b, s
	}
	if b, s := open(""); b.int4 == nil || b.ck.Quantized || s.model.quantized || s.model.report.BPW == 0 || s.model.ref != dir {
		t.Errorf("with its base: %+v", s.model)
	}
	if b, s := open("demo"); b.int4 == nil || s.model.ref != "demo" || !strings.Contains(s.model.recipe, "w4 channel") {
		t.Errorf("with a base that is named: %+v", s.model)
	}
	weights := filepath.Join(dir, "model.safetensors")
	data, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(weights, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, s := open(""); b.int4 != nil || !s.model.quantized || len(s.model.notes) == 0 || !strings.Contains(s.model.notes[0], "has changed") {
		t.Errorf("with another base: %+v", s.model)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if b, s := open(""); b.int4 != nil || len(s.model.notes) == 0 || !strings.Contains(s.model.notes[0], "--base MODEL") {
		t.Errorf("without a base: %+v", s.model)
	}
}
