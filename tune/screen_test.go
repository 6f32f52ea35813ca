package tune

import (
	"context"
	"path/filepath"
	"testing"
)

// Cancelled while it screens, a run leaves scores that the next one takes over, and
// says that it was cancelled.
func TestCancelWhileScreening(t *testing.T) {
	o := demoOptions(t, 2)
	o.CacheDir, o.RunDir = t.TempDir(), filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first := 0
	res, err := Run(ctx, o, func(e Event) {
		if s, ok := e.(Score); ok {
			if first++; s.Done > s.Total/2 {
				cancel()
			}
		}
	})
	if err == nil || ctx.Err() == nil || len(res.Trials) > 0 {
		t.Fatalf("%d trials, error %v", len(res.Trials), err)
	}
	run, err := LoadRun(o.RunDir)
	if err != nil || run.StoppedBy != "cancelled" {
		t.Errorf("run stopped by %q, %v", run.StoppedBy, err)
	}
	cached := 0
	o.MaxTrials = 1
	if _, err := Run(context.Background(), o, func(e Event) {
		if s, ok := e.(Score); ok && s.Cached {
			cached++
		}
	}); err != nil {
		t.Fatal(err)
	}
	if cached != first {
		t.Errorf("%d scores taken over, %d were measured", cached, first)
	}
}
