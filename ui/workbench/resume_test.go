package workbench

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"nibble/eval"
	"nibble/quant"
	"nibble/tune"
	"nibble/ui/job"
)

// begin opens the run of a request as a command does, and leaves it at once. It
// returns the run's id and whether it was begun before.
func begin(t *testing.T, b *backend, ask job.Tune, resume bool) tune.RunOpened {
	t.Helper()
	o, err := ask.For(b.ck)
	if err != nil {
		t.Fatal(err)
	}
	o.Base, o.CacheDir, o.Runs, o.Resume = b.base, b.o.CacheDir, b.o.RunsDir, resume
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var opened tune.RunOpened
	_, err = tune.Run(ctx, o, func(e tune.Event) {
		if run, ok := e.(tune.RunOpened); ok {
			opened = run
			cancel()
		}
	})
	if ctx.Err() == nil {
		t.Fatalf("no run was opened: %v", err)
	}
	return opened
}

// A run begun in the workbench goes on by its id in a command, and one begun by a
// command goes on in the workbench; so do interrupted quantizations.
func TestRunsGoOnElsewhere(t *testing.T) {
	b, s, run := realBackend(t)
	run(b.load, nil)

	form := newTuneForm()
	fill(t, &form.form, map[string]string{"goal": "2 %", "size": "700KB", "budget": "1m"})
	ask, err := form.job()
	if err != nil {
		t.Fatal(err)
	}
	run(func() { b.tune(ask) }, func() bool { return s.tune.phase != "" })
	runs, err := tune.Runs(b.o.RunsDir)
	if err != nil || len(runs) != 1 || runs[0].State != tune.Dead {
		t.Fatalf("%+v, %v", runs, err)
	}
	asked, err := job.Asked(runs[0])
	if err != nil || asked.Model != "demo" {
		t.Fatalf("%+v, %v", asked, err)
	}
	asked.Out = filepath.Join(t.TempDir(), "given later")
	if got := begin(t, b, asked, true); got.ID != runs[0].ID || !got.Resumed {
		t.Errorf("the workbench's run goes on as %+v", got)
	}

	// The flags of a command have defaults, the fields of the form are empty.
	first := begin(t, b, job.Tune{Model: "demo", Ctx: eval.DefaultCtx, Goal: "3%"}, false)
	form = newTuneForm()
	fill(t, &form.form, map[string]string{"goal": "0.03"})
	if ask, err = form.job(); err != nil {
		t.Fatal(err)
	}
	said := false
	run(func() { b.tune(ask) }, func() bool {
		said = said || strings.Contains(s.message, "going on with run "+first.ID)
		return s.tune.phase != ""
	})
	if !said {
		t.Errorf("the command's run does not go on: %q", s.message)
	}

	out := filepath.Join(t.TempDir(), "int4")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	options, err := job.Quantize{Recipe: "w4 g32 sym rtn", Out: out}.For(b.eng, b.ck, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quant.Run(ctx, options, func(e quant.Event) {
		if d, ok := e.(quant.ModuleDone); ok && d.Done == 4 {
			cancel()
		}
	}); err == nil {
		t.Fatal("the command was not interrupted")
	}
	found, err := quant.Look(options, quant.Rates{})
	if e := found.Earlier; err != nil || e == nil || e.Done == 0 || len(e.Differences) > 0 {
		t.Errorf("what a command left: %+v, %v, %v", e, found.Refusal, err)
	}
}
