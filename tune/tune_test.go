package tune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/model/demo/demotest"
	"nibble/quant"
	rt "nibble/runtime"
)

// demoOptions tunes two layers of the demo with little text and few options, to be
// quick.
func demoOptions(t *testing.T, chunks int) Options {
	t.Helper()
	o := optionsFor(t, shortDemo(t), chunks)
	var err error
	if o.Specs, err = ParseSpecs("w4 g32/channel sym gptq, w8 g32 sym rtn, keep"); err != nil {
		t.Fatal(err)
	}
	if o.Calibration, err = quant.NewCalibration(o.Source, quant.CalibrationOptions{Samples: 8, Length: 128}); err != nil {
		t.Fatal(err)
	}
	o.CacheDir = sharedCache
	return o
}

// sharedCache keeps the demo's scores, so that each test need not measure them.
var sharedCache string

func TestMain(m *testing.M) {
	longestSpeed = 20 * time.Millisecond // it matters that kernels are measured, not how well
	var err error
	if sharedCache, err = os.MkdirTemp("", "nibble-tune-*"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(sharedCache)
	os.Exit(code)
}

// shortDemo is the demo's first two layers.
func shortDemo(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(sharedCache, "demo")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := demotest.WriteShort(dir, 2); err != nil {
		t.Fatal(err)
	}
	return dir
}

func optionsFor(t *testing.T, ref string, chunks int) Options {
	t.Helper()
	ck, err := model.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	eng, err := kernels.New(kernels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close(); ck.Close() })
	m, err := rt.Load(context.Background(), eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Source: ck, Base: m, Eval: eval.Options{Text: eval.DemoText(), Chunks: chunks}}
}

func logTrials(t *testing.T) Listener {
	return func(e Event) {
		switch e := e.(type) {
		case Phase:
			t.Log(e.Name)
		case TrialDone:
			x := e.Trial
			t.Logf("%2d %-8s %-7s %7d bytes %.3f bpw loss %+.4f ± %.4f kld %.5f (predicted %+.4f, %.5f, %.0f tps) %.0f tps %.2fs %s %d rules %s", x.ID, x.Phase, x.State, x.SizeBytes, x.BPW,
				x.Loss(), x.PPLRatioSE, x.KLD, x.Predicted.Loss, x.Predicted.KLD, x.Predicted.DecodeTPS, x.DecodeTPS, x.Seconds, x.Recipe.Default, len(x.Recipe.Rules), x.Note)
		}
	}
}

func TestTuneDemo(t *testing.T) {
	o := demoOptions(t, 4)
	dir := t.TempDir()
	o.Out, o.RunDir, o.CacheDir = filepath.Join(dir, "best"), filepath.Join(dir, "run"), filepath.Join(dir, "cache")
	res, err := Run(context.Background(), o, logTrials(t))
	if err != nil {
		t.Fatal(err)
	}
	if !res.Reached || res.Best.Loss() > DefaultGoal || res.StoppedBy != "done" {
		t.Errorf("not reached: %+v", res.Best)
	}
	ck, err := model.Open(res.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	m, err := rt.Load(context.Background(), o.Base.Engine, ck)
	if err != nil {
		t.Fatal(err)
	}
	again, err := eval.Run(context.Background(), m, nil, o.Eval, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.PPL != res.Best.PPL {
		t.Errorf("the saved model has perplexity %g, the trial had %g", again.PPL, res.Best.PPL)
	}
	run, err := LoadRun(o.RunDir)
	if err != nil || len(run.Trials) != len(res.Trials) || run.StoppedBy != "done" {
		t.Errorf("journal: %d of %d trials, stopped by %q, %v", len(run.Trials), len(res.Trials), run.StoppedBy, err)
	}
	// The same run again takes every trial from the journal, every score from the
	// cache.
	o.Out = ""
	again2, err := Run(context.Background(), o, func(e Event) {
		if s, ok := e.(Score); ok && !s.Cached {
			t.Errorf("%s %s is measured again", s.Matrix, s.Spec)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if again2.Best.Recipe.String() != res.Best.Recipe.String() {
		t.Errorf("resumed run ends with %s, the first with %s", again2.Best.Recipe, res.Best.Recipe)
	}
	run, err = LoadRun(o.RunDir)
	if err != nil || len(run.Trials) != len(res.Trials) {
		t.Errorf("journal: %d trials after resuming, %d before, %v", len(run.Trials), len(res.Trials), err)
	}
}

func TestCancelKeepsBest(t *testing.T) {
	o := demoOptions(t, 2)
	o.Out = filepath.Join(t.TempDir(), "best")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	res, err := Run(ctx, o, func(e Event) {
		if d, ok := e.(TrialDone); ok && d.Best != nil {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.StoppedBy != "cancelled" || res.Best == nil {
		t.Errorf("stopped by %q, best %v", res.StoppedBy, res.Best)
	}
	if _, err := os.Stat(filepath.Join(res.Path, "model.safetensors")); err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	o := demoOptions(t, 2)
	o.MaxBPW = 3
	if _, err := Run(context.Background(), o, nil); !errors.Is(err, ErrOptions) {
		t.Errorf("3 bits per weight: %v, want ErrOptions", err)
	}
	o.MaxBPW, o.MaxTrials = 5.2, 3
	res, err := Run(context.Background(), o, logTrials(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Trials) > 3 || res.Best.BPW > 5.2 {
		t.Errorf("%d trials, best at %g bits per weight", len(res.Trials), res.Best.BPW)
	}
}
