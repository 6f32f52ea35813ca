package tune

import (
	"context"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nibble/kernels/slowtest"
	"nibble/model"
	"nibble/model/output"
	"nibble/quant"
	"nibble/tune/journal"
	"nibble/tune/work"
)

// A goal that the limits do not allow leaves the best within them, and the advice
// says what it would take.
func TestGoalMissed(t *testing.T) {
	o := demoOptions(t, 8) // fewer may happen to lose nothing
	o.MaxBPW, o.Goal, o.MaxTrials = 4.15, 0.0005, 3
	o.Out = filepath.Join(t.TempDir(), "best")
	res, err := Run(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Reached || res.Best == nil || res.Best.BPW > 4.15 || !strings.Contains(res.Advice, "it needs about") || !strings.Contains(res.Advice, "you asked for 4.15 bpw") {
		t.Errorf("reached %v, best %v, advice %q", res.Reached, res.Best, res.Advice)
	}
	if _, err := model.Open(res.Path); err != nil {
		t.Error(err)
	}
	for _, m := range o.Source.Config.Modules() {
		found := false
		for _, s := range o.Specs {
			found = found || s == res.Best.Recipe.For(m)
		}
		if !found {
			t.Errorf("%s: %s was not offered", m.Name, res.Best.Recipe.For(m))
		}
	}
}

// Every choice is explained, and the neighbours named are offered.
func TestExplained(t *testing.T) {
	o := demoOptions(t, 2)
	o.MaxBPW = 4.8
	res, err := Run(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Choices) != len(o.Source.Config.Modules()) {
		t.Fatalf("%d choices for %d matrices", len(res.Choices), len(o.Source.Config.Modules()))
	}
	for i, c := range res.Choices {
		m := o.Source.Config.Modules()[i]
		if c.Matrix != m.Name || c.Spec != res.Best.Recipe.For(m).String() || c.Bytes <= 0 || c.Why == "" {
			t.Errorf("%s: %+v", m.Name, c)
		}
		if c.Down != nil && c.Down.Bytes >= 0 || c.Up != nil && (c.Up.Bytes <= 0 || c.Up.KLD >= 0) {
			t.Errorf("%s: down %+v, up %+v", m.Name, c.Down, c.Up)
		}
		if c.Down == nil && !strings.Contains(c.Why, "nothing smaller is offered") || c.Up == nil && !strings.Contains(c.Why, "nothing offered is more accurate") {
			t.Errorf("%s: %s", m.Name, c.Why)
		}
	}
}

// worker does work as a function says.
type worker func(ctx context.Context, w work.Work, watch work.Watcher) (work.Outcome, error)

func (f worker) Do(ctx context.Context, w work.Work, watch work.Watcher) (work.Outcome, error) {
	return f(ctx, w, watch)
}

// A trial that fails is recorded, and the search goes on without it.
func TestFailingTrial(t *testing.T) {
	o := demoOptions(t, 2)
	s, err := newScheduler(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	s.worker = worker(func(ctx context.Context, w work.Work, watch work.Watcher) (work.Outcome, error) {
		if w.Kind != work.Trial {
			return s.local.Do(ctx, w, watch)
		}
		if calls++; calls == 1 {
			return work.Outcome{}, errors.New("out of luck")
		}
		return s.local.Do(ctx, w, watch)
	})
	res, err := s.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if x := res.Trials[0]; x.State != Failed || x.Note != "out of luck" {
		t.Errorf("first trial %s, %q", x.State, x.Note)
	}
	if !res.Reached || res.Best.State != Reached {
		t.Errorf("best %+v", res.Best)
	}
	s, _ = newScheduler(o, nil)
	s.worker = worker(func(ctx context.Context, w work.Work, watch work.Watcher) (work.Outcome, error) {
		if w.Kind != work.Trial {
			return s.local.Do(ctx, w, watch)
		}
		return work.Outcome{}, errors.New("out of luck")
	})
	if _, err := s.run(context.Background()); err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("every trial fails: %v", err)
	}
}

// However short the time, a model is saved.
func TestBudget(t *testing.T) {
	for _, budget := range []time.Duration{time.Millisecond, 3 * time.Second} {
		o := demoOptions(t, 0)
		o.Budget, o.Out = budget, filepath.Join(t.TempDir(), "best")
		o.Specs, _ = ParseSpecs(DefaultSpecs)
		res, err := Run(context.Background(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: %.1f s, %d trials, %s, %s: %v", budget, res.Seconds, len(res.Trials), res.StoppedBy, res.Best.State, res.Notes)
		if budget == time.Millisecond && res.StoppedBy != "budget" {
			t.Errorf("%v: stopped by %s", budget, res.StoppedBy)
		}
		if budget == time.Millisecond && (res.Best.State != Untested || res.Reached || res.Word != "undecided" || !strings.Contains(res.Decide, "more time")) {
			t.Errorf("%v: best %s, %s, %q", budget, res.Best.State, res.Word, res.Decide)
		}
		ck, err := model.Open(res.Path)
		if err != nil {
			t.Fatal(err)
		}
		ck.Close()
	}
}

// Methods too slow for the budget are left out, and the report says so; what is
// left is of what was offered.
func TestAfford(t *testing.T) {
	o := demoOptions(t, 1)
	for _, c := range []struct {
		specs  string
		budget time.Duration
		want   string
	}{
		{"w4 g32 sym gptq/rtn, keep", time.Hour, "w4 g32 sym gptq, w4 g32 sym rtn, keep"},
		{"w4 g32 sym gptq/rtn, w4 g64 sym gptq, w8 g32 sym rtn", time.Millisecond, "w4 g32 sym rtn, w4 g64 sym gptq, w8 g32 sym rtn"},
		{"w4 g32 sym gptq/rtn, keep", time.Millisecond, "w4 g32 sym rtn, keep"},
		{"w4 g32 sym gptq", time.Millisecond, "w4 g32 sym gptq"},
		{"w4 g32 sym gptq/rtn", 0, "w4 g32 sym gptq, w4 g32 sym rtn"},
		{"w4 g32 sym gptq/rtn, w4 g32 sym gptq top10%", time.Millisecond, "w4 g32 sym rtn"},
	} {
		o.Budget = c.budget
		o.Specs, _ = ParseSpecs(c.specs)
		asked := len(o.Specs)
		s, err := newScheduler(o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.afford(context.Background()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range s.Specs {
			got = append(got, x.String())
		}
		if strings.Join(got, ", ") != c.want || (len(got) < asked) != (len(s.notes) > 0) {
			t.Errorf("%s in %v: %q, %q; want %s", c.specs, c.budget, got, s.notes, c.want)
		}
	}
}

// Limits of speed and memory shift the choice, are kept as they are predicted, and
// are refused where nothing offered keeps them.
func TestSpeedAndMemory(t *testing.T) {
	o := demoOptions(t, 2)
	o.MaxRSS = 1
	if _, err := Run(context.Background(), o, nil); !errors.Is(err, ErrOptions) {
		t.Errorf("a byte of memory: %v, want ErrOptions", err)
	}
	o.MaxRSS, o.MinTPS = 0, 1e9
	if _, err := Run(context.Background(), o, nil); !errors.Is(err, ErrOptions) {
		t.Errorf("a billion tokens a second: %v, want ErrOptions", err)
	}
	o.MinTPS = 0
	s, err := newScheduler(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRSS = s.problem.Around + 800_000 // of 2.2 MB as stored, 0.6 MB in 4 bits
	res, err := Run(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := quant.Apply(context.Background(), o.Base, o.Source, res.Best.Recipe, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Bytes() > 800_000 || m.Bytes() < 600_000 {
		t.Errorf("%d bytes of matrices, 800000 were left for them", m.Bytes())
	}
}

var killRounds = flag.Int("kill-rounds", 1, "how often TestKilled kills a search until it completes")

// Killed at any time, a run goes on where it stopped, and ends as one that was
// never killed. The test runs itself as the victim.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("NIBBLE_TUNE_VICTIM"); dir != "" {
		o := victimOptions(t, dir)
		if _, err := Run(context.Background(), o, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	if testing.Short() {
		t.Skip("runs the search several times")
	}
	o := victimOptions(t, t.TempDir())
	o.CacheDir = sharedCache // it is the victim that has to screen
	want, err := Run(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	for round := range *killRounds {
		first := 400 * time.Millisecond
		if round > 0 {
			first = time.Duration(50+rand.IntN(1000)) * time.Millisecond
		}
		killed(t, want, first)
	}
}

// killed runs a victim that is killed after some time, and then lives twice as long
// each time, until it completes.
func killed(t *testing.T, want Result, wait time.Duration) {
	t.Helper()
	dir, killed := t.TempDir(), 0
	var err error
	for {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
		cmd.Env = append(os.Environ(), "NIBBLE_TUNE_VICTIM="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case err = <-done:
		case <-time.After(wait):
			_ = cmd.Process.Kill()
			<-done
			killed++
			wait *= 2
			if _, err := os.Stat(filepath.Join(dir, "best")); err == nil {
				if _, err := model.Open(filepath.Join(dir, "best")); err != nil {
					t.Errorf("killed after %v: half a model is left: %v", wait, err)
				}
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	run, err := LoadRun(filepath.Join(dir, "run"))
	if err != nil || run.StoppedBy != want.StoppedBy || len(run.Trials) != len(want.Trials) {
		t.Fatalf("killed %d times: stopped by %q, %d trials, want %d, %v", killed, run.StoppedBy, len(run.Trials), len(want.Trials), err)
	}
	for i, x := range run.Trials {
		if x.Recipe.String() != want.Trials[i].Recipe.String() || x.PPL != want.Trials[i].PPL {
			t.Errorf("trial %d: %s, perplexity %g; never killed: %s, %g", i+1, x.Recipe, x.PPL, want.Trials[i].Recipe, want.Trials[i].PPL)
		}
	}
	if _, err := model.Open(filepath.Join(dir, "best")); err != nil {
		t.Error(err)
	}
	t.Logf("killed %d times", killed)
}

func victimOptions(t *testing.T, dir string) Options {
	o := demoOptions(t, 2)
	o.MaxTrials = 3
	o.Out, o.RunDir, o.CacheDir = filepath.Join(dir, "best"), filepath.Join(dir, "run"), filepath.Join(dir, "cache")
	return o
}

// A run that was killed after it saved its model, but before it could say so,
// knows the model as its own: the same command reports it and searches no more.
// Anything else in the output directory is refused.
func TestFinishedBefore(t *testing.T) {
	o := victimOptions(t, t.TempDir())
	o.CacheDir = sharedCache
	want, err := Run(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	run, err := LoadRun(o.RunDir)
	if err != nil || run.State != Done {
		t.Fatalf("the run is %s, %v", run.State, err)
	}
	j, _, err := journal.Open(o.RunDir, run)
	if err != nil {
		t.Fatal(err)
	}
	err = j.Finish("", nil)
	j.Close()
	if run, bad := LoadRun(o.RunDir); err != nil || bad != nil || run.State != Dead {
		t.Fatalf("the run is %s, %v, %v", run.State, err, bad)
	}
	got, err := Run(context.Background(), o, func(e Event) {
		if _, ok := e.(TrialStarted); ok {
			t.Error("the search goes on")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != o.Out || got.Best.Recipe.String() != want.Best.Recipe.String() || got.Best.PPL != want.Best.PPL || got.Reached != want.Reached ||
		len(got.Trials) != len(want.Trials) || len(got.Front) != len(want.Front) || len(got.Choices) != len(want.Choices) || got.StoppedBy != want.StoppedBy {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if run, err := LoadRun(o.RunDir); err != nil || run.StoppedBy != want.StoppedBy || len(run.Choices) == 0 {
		t.Errorf("the journal says %q, %d choices, %v", run.StoppedBy, len(run.Choices), err)
	}
	o.Goal = 0.02
	if _, err := Run(context.Background(), o, nil); !errors.Is(err, output.ErrNotEmpty) {
		t.Errorf("another goal with the same output: %v, want ErrNotEmpty", err)
	}
}

// A pause costs no time of the budget.
func TestPauseIsFree(t *testing.T) {
	slowtest.Skip(t)
	o := demoOptions(t, 1)
	o.Specs, _ = ParseSpecs("w4 g32/channel sym rtn")
	began := time.Now()
	if _, err := Run(context.Background(), o, nil); err != nil {
		t.Fatal(err)
	}
	o = demoOptions(t, 1)
	o.Specs, _ = ParseSpecs("w4 g32/channel sym rtn")
	o.Budget = max(4*time.Second, 4*time.Since(began)) // enough, if the pause does not count
	o.Pause = &Pause{}
	paused := false
	res, err := Run(context.Background(), o, func(Event) {
		if !paused {
			paused = o.Pause.Toggle()
			time.AfterFunc(o.Budget, o.Pause.End)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Best.State == Untested || res.Seconds > 1.1*o.Budget.Seconds() {
		t.Errorf("%.1f s, best %s: the pause was counted", res.Seconds, res.Best.State)
	}
}

// The speed that is limited, reported and on the front is one and the same.
func TestSpeedAgrees(t *testing.T) {
	o := demoOptions(t, 2)
	o.MaxTrials, o.RunDir = 3, filepath.Join(t.TempDir(), "run")
	slowest, fastest := math.Inf(1), 0.0
	free, err := Run(context.Background(), o, func(e Event) {
		if p, ok := e.(Predicted); ok {
			for _, x := range p.Front {
				slowest, fastest = min(slowest, x.DecodeTPS), max(fastest, x.DecodeTPS)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range free.Trials {
		if x.DecodeTPS <= 0 || x.DecodeTPS != x.Predicted.DecodeTPS {
			t.Errorf("trial %d: %g tokens a second, predicted %g", x.ID, x.DecodeTPS, x.Predicted.DecodeTPS)
		}
	}
	again, err := Run(context.Background(), o, nil)
	if err != nil || again.Trials[0].DecodeTPS != free.Trials[0].DecodeTPS {
		t.Errorf("the run again: %g tokens a second, before %g, %v", again.Trials[0].DecodeTPS, free.Trials[0].DecodeTPS, err)
	}
	run, err := LoadRun(o.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	o.RunDir = filepath.Join(t.TempDir(), "fast")
	o.MinTPS = (slowest + fastest) / 2
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	fastRun := newRecord(o)
	fastRun.Pace = run.Pace // what is measured anew differs
	j, _, err := journal.Open(o.RunDir, fastRun)
	if err != nil {
		t.Fatal(err)
	}
	err = j.Finish("", nil)
	j.Close()
	if err != nil {
		t.Fatal(err)
	}
	fast, err := Run(context.Background(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(fast.Front) == 0 {
		t.Error("nothing was measured")
	}
	for _, p := range fast.Front {
		if p.DecodeTPS < o.MinTPS {
			t.Errorf("trial %d decodes %g tokens a second, %g are asked", p.Trial, p.DecodeTPS, o.MinTPS)
		}
	}
}

// What other tuners got wrong: a result larger than asked (auto-round 2186), also on
// disk; bits that were not offered (1917); a search that never ends because all was
// tried (neural-compressor's Bayesian strategy); nothing saved where the goal was
// missed (its 2261).
func TestOthersFailures(t *testing.T) {
	o := demoOptions(t, 2)
	s, err := newScheduler(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	least, err := s.problem.Least()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		specs string
		bytes int64
		goal  float64
		done  bool // and what is offered is tried
	}{
		{"w4 g32/channel sym gptq, w8 g32 sym rtn, keep", least.Plan.SizeBytes, 0, true},
		{"w4 g32/channel sym gptq, w8 g32 sym rtn, keep", least.Plan.SizeBytes + 30_001, 0, false},
		{"w4 channel sym rtn", 0, 1e-6, true},
	} {
		o.Specs, _ = ParseSpecs(c.specs)
		o.MaxBytes, o.Goal, o.MaxTrials = c.bytes, c.goal, 2
		o.Out = filepath.Join(t.TempDir(), "best")
		res, err := Run(context.Background(), o, nil)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		onlyOffered(t, o, res)
		info, err := os.Stat(filepath.Join(res.Path, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != res.Best.SizeBytes || c.bytes > 0 && info.Size() > c.bytes {
			t.Errorf("%+v: %d bytes on disk, %d reported", c, info.Size(), res.Best.SizeBytes)
		}
		if c.done && (len(res.Trials) != 1 || res.StoppedBy != "done") {
			t.Errorf("%+v: %d trials, stopped by %s", c, len(res.Trials), res.StoppedBy)
		}
	}
}

// A quantization that does not end in time is left, once there is something to
// save.
func TestLateTrial(t *testing.T) {
	o := demoOptions(t, 1)
	o.Specs, _ = ParseSpecs("w4 g32/channel sym rtn, w8 g32 sym rtn")
	o.Budget = 10 * time.Second
	s, err := newScheduler(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	s.worker = worker(func(ctx context.Context, w work.Work, watch work.Watcher) (work.Outcome, error) {
		if w.Kind != work.Trial {
			return s.local.Do(ctx, w, watch)
		}
		if calls++; calls == 1 {
			return s.local.Do(ctx, w, watch)
		}
		for ctx.Err() == nil { // as slow as can be
			time.Sleep(10 * time.Millisecond)
			watch.Quantizing(quant.Progress{})
		}
		return work.Outcome{}, ctx.Err()
	})
	res, err := s.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if calls != 2 || len(res.Trials) != 1 || res.StoppedBy != "budget" || res.Seconds > 1.1*o.Budget.Seconds() {
		t.Errorf("%d quantizations, %d trials, stopped by %s after %.1f s", calls, len(res.Trials), res.StoppedBy, res.Seconds)
	}
}
