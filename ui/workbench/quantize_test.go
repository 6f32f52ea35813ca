package workbench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"nibble/eval"
	"nibble/quant"
	"nibble/ui/job"
)

// What stands against a plan is on the screen, and is not done by enter.
func TestOrderForm(t *testing.T) {
	const done = `quantize q4 to "" with "", 0 x 0, restart=`
	for _, c := range []struct {
		name     string
		prospect quant.Prospect
		err      error
		shown    string
		enter    bool // begins
		restart  bool // ctrl+r begins
	}{
		{"nothing is there", quant.Prospect{}, nil, "enter quantizes", true, false},
		{"it is there", quant.Prospect{Found: true}, nil, "there already", true, false},
		{"an interrupted run", quant.Prospect{Earlier: &quant.Earlier{Done: 7}}, nil, "7 of 0 matrices done: enter goes on, ctrl+r starts over", true, true},
		{"an interrupted run of others", quant.Prospect{Earlier: &quant.Earlier{Done: 7, Differences: []string{"seed (there 1, now " + hostile + ")"}}}, nil, "with other arguments: its seed (there 1", false, true},
		{"no room", quant.Prospect{Refusal: errors.New("the disk is too small")}, nil, "✗ the disk is too small", false, false},
		{"no such recipe", quant.Prospect{}, errors.New(`"q5" is no recipe`), `✗ "q5" is no recipe`, false, false},
	} {
		for _, key := range []string{"enter", "ctrl+r"} {
			a, f := testApp("loaded")
			f.prospect, f.planErr = c.prospect, c.err
			press(a, "z")
			if view := ansi.Strip(a.View()); !strings.Contains(view, c.shown) {
				t.Errorf("%s: %q is not on the screen:\n%s", c.name, c.shown, view)
			}
			press(a, key)
			want := map[string]bool{"enter": c.enter, "ctrl+r": c.restart}[key]
			if got := strings.HasPrefix(f.calls[len(f.calls)-1], done); got != want || want && !strings.HasSuffix(f.calls[len(f.calls)-1], map[string]string{"enter": "false", "ctrl+r": "true"}[key]) {
				t.Errorf("%s: after %s the calls are %q", c.name, key, f.calls)
			}
		}
	}
}

// A plan waits for the job that runs, and is asked for once.
func TestOrderWaits(t *testing.T) {
	a, f := testApp("loaded")
	f.job = "loading"
	press(a, "z")
	a.Update(batchMsg{})
	if len(f.calls) > 0 || !strings.Contains(a.s.message, "when loading has ended") {
		t.Fatalf("while a job runs: calls %q, %q", f.calls, a.s.message)
	}
	f.job = ""
	for range 3 {
		a.Update(batchMsg{})
	}
	if want := []string{"plan q4"}; !slices.Equal(f.calls, want) || !strings.Contains(ansi.Strip(a.View()), "enter quantizes") {
		t.Errorf("after the job: calls %q, want %q", f.calls, want)
	}
	a, f = testApp("loaded")
	a.s.model.quantized = true
	if press(a, "z"); a.model.order.open || len(f.calls) > 0 {
		t.Error("a quantized model is asked to be quantized")
	}
}

// realBackend drives the real engines on the demo. run starts a job and applies what
// it says to the state until it ends; stop, if there is one, is asked after each batch
// of news whether to cancel.
func realBackend(t *testing.T) (b *backend, s *state, run func(start func(), stop func() bool)) {
	t.Helper()
	b, s = newBackend(context.Background(), Options{Model: "demo", Threads: 2, CacheDir: t.TempDir(), RunsDir: t.TempDir()}), &state{}
	t.Cleanup(b.close)
	b.effort = time.Millisecond // it matters that kernels are measured, not how well
	// And that what was made is compared, not how closely.
	b.judge = job.Evaluate{Chunks: 3, Text: filepath.Join(t.TempDir(), "text")}
	if err := os.WriteFile(b.judge.Text, eval.DemoText().Data, 0o600); err != nil {
		t.Fatal(err)
	}
	return b, s, func(start func(), stop func() bool) {
		t.Helper()
		start()
		for b.jobs.running() != "" {
			<-b.mail.notify
			for _, c := range b.mail.drain() {
				c(s)
			}
			if stop != nil && stop() {
				b.cancel()
			}
		}
		b.jobs.done.Wait()
		for _, c := range b.mail.drain() {
			c(s)
		}
		if s.failed {
			t.Fatal(s.message)
		}
	}
}

// What a search has trained is the INT4 model when it ends, without training again.
func TestTunedIsUsed(t *testing.T) {
	b, s, run := realBackend(t)
	run(b.load, nil)
	o := job.Tune{BPW: 16, Trials: 1, Chunks: 2, Specs: "w4 channel sym autoround-light", Calibration: job.Calibration{Samples: 4, Length: 64}}
	run(func() { b.tune(o) }, nil)
	best := s.tune.best
	if best == nil || s.tune.result.Artifact == "" || b.written == nil || s.model.report.SizeBytes != best.SizeBytes || b.made.Recipe.String() != best.Recipe.String() {
		t.Errorf("best %+v; in use: %d bytes of %s", best, s.model.report.SizeBytes, b.made.Recipe)
	}
	run(func() { b.use(*best) }, nil)
	if len(s.model.trained) > 0 || b.written == nil {
		t.Errorf("it was trained again: %+v", s.model.trained)
	}
	if err := os.RemoveAll(s.tune.result.Artifact); err != nil {
		t.Fatal(err)
	}
	run(func() { b.use(*best) }, nil)
	if len(s.model.trained) == 0 || b.written != nil || s.model.report.SizeBytes != best.SizeBytes {
		t.Errorf("what is gone was not trained again: %d bytes", s.model.report.SizeBytes)
	}
}

// The real engines: a run into a directory is planned, cancelled, gone on with and
// used; the model in use can be written over by one in memory.
func TestOrderCarriedOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "int4")
	b, s, run := realBackend(t)
	run(b.load, nil)
	o := job.Quantize{Recipe: "w4 g32 sym gptq", Out: dir, Calibration: job.Calibration{Samples: 4, Length: 64}}
	run(func() { b.plan(o) }, nil)
	if p := s.plan; !p.known || p.err != nil || p.prospect.Plan.SizeBytes == 0 || p.prospect.Calibration.Samples != 4 || p.prospect.Calibration.Length != 64 {
		t.Fatalf("the plan is %+v", s.plan)
	}
	planned := s.plan.prospect.Plan
	run(func() { b.quantize(o) }, func() bool { return len(s.model.report.Modules) > 0 })
	if !strings.Contains(s.message, "matrices are kept") || s.model.recipe != "" || len(s.model.report.Modules) > 0 {
		t.Fatalf("after a cancel: %q, %q, %d lines", s.message, s.model.recipe, len(s.model.report.Modules))
	}
	run(func() { b.plan(o) }, nil)
	if e := s.plan.prospect.Earlier; e == nil || e.Done == 0 || len(e.Differences) > 0 {
		t.Fatalf("the interrupted run is planned as %+v", e)
	}
	run(func() { b.quantize(o) }, nil)
	if s.model.report.SizeBytes != planned.SizeBytes || b.written == nil || len(s.model.results) != 1 || !s.model.results[0].Compared() {
		t.Errorf("%d bytes, planned %d; results %+v", s.model.report.SizeBytes, planned.SizeBytes, s.model.results)
	}
	run(func() { b.plan(o) }, nil)
	if !s.plan.prospect.Found {
		t.Errorf("the finished run is planned as %+v", s.plan.prospect)
	}
	run(func() { b.quantize(job.Quantize{Recipe: "w8 rtn"}) }, nil)
	if b.written != nil || s.model.recipe != "w8 g32 sym rtn" || s.model.working != "" {
		t.Errorf("in memory: %q", s.model.recipe)
	}
	run(func() { b.plan(job.Quantize{Recipe: "w5"}) }, nil)
	if s.plan.err == nil {
		t.Error("a recipe that is none was planned")
	}
}
