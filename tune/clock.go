package tune

import (
	"sync/atomic"
	"time"
)

// clock counts the time that a run works. What its listener takes is not counted:
// it holds the run while a user pauses it.
type clock struct {
	start time.Time
	held  atomic.Int64 // ns
}

func (c *clock) elapsed() time.Duration {
	return time.Since(c.start) - time.Duration(c.held.Load())
}

// listen wraps a listener so that its time is not counted.
func (c *clock) listen(l Listener) Listener {
	if l == nil {
		return nil
	}
	return func(e Event) {
		begun := time.Now()
		l(e)
		c.held.Add(int64(time.Since(begun)))
	}
}
