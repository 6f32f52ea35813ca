package workbench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/ui/job"
)

// A model that is cut while the workbench uses it is an error on the screen, of this
// job and of the next: the workbench goes on.
func TestModelCut(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, demo.Files); err != nil {
		t.Fatal(err)
	}
	b, s, run := realBackend(t)
	b.o.Model = dir
	run(b.load, nil)
	weights := filepath.Join(dir, "model.safetensors")
	if err := os.Truncate(weights, 0); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(){
		"chat":     func() { b.send(chatRequest{useFloat: true, text: "Hello"}) },
		"evaluate": func() { b.evaluate(b.judge) },
		"quantize": func() { b.quantize(job.Quantize{Recipe: "w4 g32 sym rtn"}) },
	} {
		s.failed, s.message = false, ""
		start()
		b.jobs.done.Wait()
		for _, c := range b.mail.drain() {
			c(s)
		}
		if !s.failed || !strings.Contains(s.message, weights+" was truncated") || strings.Contains(s.message, "internal error") {
			t.Errorf("%s: %q", name, s.message)
		}
	}
}
