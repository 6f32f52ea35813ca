package workbench

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"nibble/model/source"
)

// jobs runs one engine at a time in the background: they share the compute
// threads, and two at once would only slow each other down.
type jobs struct {
	ctx    context.Context
	box    *mailbox
	mu     sync.Mutex
	cancel context.CancelFunc
	name   string
	done   sync.WaitGroup
}

// start runs f unless a job is running.
func (j *jobs) start(name string, f func(ctx context.Context) error) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cancel != nil {
		return false
	}
	ctx, cancel := context.WithCancel(j.ctx)
	j.cancel, j.name = cancel, name
	j.done.Add(1)
	started := time.Now()
	j.box.fact(func(s *state) { s.jobStarted(name, started) })
	go func() {
		defer j.done.Done()
		err := guarded(ctx, f)
		cancelled := ctx.Err() != nil
		cancel()
		j.mu.Lock()
		j.cancel, j.name = nil, ""
		j.mu.Unlock()
		j.box.fact(func(s *state) { s.jobEnded(err, cancelled) })
	}()
	return true
}

// guarded turns a panic of a job into an error: one outside the update loop
// would leave the terminal raw.
func guarded(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("internal error: %v\n%s", v, debug.Stack())
		}
	}()
	return source.Guard(func() error { return f(ctx) })
}

// running returns the name of the running job, or "".
func (j *jobs) running() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.name
}

// interrupt asks the running job to stop and reports whether there was one.
func (j *jobs) interrupt() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cancel == nil {
		return false
	}
	j.cancel()
	return true
}

// stop ends the running job and waits for it, at most the given time.
func (j *jobs) stop(timeout time.Duration) {
	j.interrupt()
	finished := make(chan struct{})
	go func() { j.done.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(timeout):
	}
}
