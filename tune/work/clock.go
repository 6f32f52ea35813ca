package work

import (
	"context"
	"sync"
	"time"

	"nibble/kernels/panics"
)

// Clock counts the time that a search works: what it does outside of its work
// (Outside) is not counted, as while a user pauses it. Nor is the time that the whole
// process is stopped (Ctrl-Z, SIGSTOP), which is noticed by a heart that did not beat.
type Clock struct {
	start time.Time

	mu       sync.Mutex
	held     time.Duration // that is not counted
	outside  int           // calls of Outside that have not come back
	beaten   time.Time     // last; zero if the heart does not beat
	heldThen time.Duration
}

// A heart beats so often; it misses beats on a busy machine, but not for so long
// unless the process is stopped.
const (
	heartbeat = 200 * time.Millisecond
	stopped   = 2 * time.Second
)

// NewClock counts from start on.
func NewClock(start time.Time) *Clock { return &Clock{start: start} }

// Elapsed is the time that was worked.
func (c *Clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.beat(now) // what follows a stop must not have to wait for the heart
	return now.Sub(c.start) - c.held
}

// beat takes out the time since the last beat if that is longer than one that runs
// would let pass. Outside accounts for its own.
func (c *Clock) beat(now time.Time) {
	if c.beaten.IsZero() {
		return
	}
	gap := now.Sub(c.beaten) - (c.held - c.heldThen)
	if gap > stopped && c.outside == 0 {
		c.held += gap
	}
	c.beaten, c.heldThen = now, c.held
}

// Watch lets the heart beat until ctx ends.
func (c *Clock) Watch(ctx context.Context) *panics.Goroutine {
	c.mu.Lock()
	c.beaten, c.heldThen = time.Now(), c.held
	c.mu.Unlock()
	return panics.Go(func() {
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				c.mu.Lock()
				c.beaten = time.Time{}
				c.mu.Unlock()
				return
			case <-tick.C:
				c.mu.Lock()
				c.beat(time.Now())
				c.mu.Unlock()
			}
		}
	})
}

// Outside calls f, whose time is not counted.
func (c *Clock) Outside(f func()) {
	c.mu.Lock()
	c.outside++
	c.mu.Unlock()
	begun := time.Now()
	f()
	c.mu.Lock()
	c.outside--
	c.held += time.Since(begun)
	c.mu.Unlock()
}
