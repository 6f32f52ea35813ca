package tune

import (
	"context"
	"sync"
	"time"

	"nibble/kernels/panics"
)

// clock counts the time that a run works. What its listener takes is not counted:
// it holds the run while a user pauses it. Nor is the time that the whole process
// is stopped (Ctrl-Z, SIGSTOP), which is noticed by a heart that did not beat.
type clock struct {
	start time.Time

	mu        sync.Mutex
	held      time.Duration // that is not counted
	listening int           // calls of the listener that have not come back
	beaten    time.Time     // last; zero if the heart does not beat
	heldThen  time.Duration
}

// A heart beats so often; it misses beats on a busy machine, but not for so long
// unless the process is stopped.
const (
	heartbeat = 200 * time.Millisecond
	stopped   = 2 * time.Second
)

func (c *clock) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.beat(now) // what follows a stop must not have to wait for the heart
	return now.Sub(c.start) - c.held
}

// beat takes out the time since the last beat if that is longer than one that runs
// would let pass. The listener accounts for its own.
func (c *clock) beat(now time.Time) {
	if c.beaten.IsZero() {
		return
	}
	gap := now.Sub(c.beaten) - (c.held - c.heldThen)
	if gap > stopped && c.listening == 0 {
		c.held += gap
	}
	c.beaten, c.heldThen = now, c.held
}

// watch lets the heart beat until ctx ends.
func (c *clock) watch(ctx context.Context) *panics.Goroutine {
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

// listen wraps a listener so that its time is not counted.
func (c *clock) listen(l Listener) Listener {
	if l == nil {
		return nil
	}
	return func(e Event) {
		c.mu.Lock()
		c.listening++
		c.mu.Unlock()
		begun := time.Now()
		l(e)
		c.mu.Lock()
		c.listening--
		c.held += time.Since(begun)
		c.mu.Unlock()
	}
}
