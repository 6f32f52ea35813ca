package workbench

import (
	"context"
	"sync"
	"time"

	"nibble/kernels/panics"
	"nibble/model/source"
)

// jobs runs one engine at a time in the background: they share the compute
// threads, and two at once would only slow each other down.
type jobs struct {
	ctx    context.Context
	box    *mailbox
	crash  func(*panics.Carried) // takes the panic of a job
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
	panics.Go(func() {
		defer j.done.Done()
		var err error
		if c := panics.Catch(func() { err = source.Guard(func() error { return f(ctx) }) }); c != nil {
			j.crash(c)
		}
		cancelled := ctx.Err() != nil
		cancel()
		j.mu.Lock()
		j.cancel, j.name = nil, ""
		j.mu.Unlock()
		j.box.fact(func(s *state) { s.jobEnded(err, cancelled) })
	})
	return true
}

// aside runs f beside the jobs, for what takes no compute; it ends with them.
func (j *jobs) aside(f func(ctx context.Context)) {
	j.done.Add(1)
	panics.Go(func() {
		defer j.done.Done()
		if c := panics.Catch(func() { f(j.ctx) }); c != nil {
			j.crash(c)
		}
	})
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

// stop ends the running job, waits for it, at most the given time, and reports
// whether it has ended.
func (j *jobs) stop(timeout time.Duration) bool {
	j.interrupt()
	select {
	case <-panics.Go(j.done.Wait).Done():
		return true
	case <-time.After(timeout):
		return false
	}
}
