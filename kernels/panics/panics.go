// Package panics carries a panic from the goroutine it happens in to the one that
// waits for it, with the stack of where it happened.
//
// A panic that nobody recovers ends the process on the spot, with whatever the
// terminal was set to. All goroutines of nibble are started by Go, so that a panic
// arrives where it can be dealt with.
package panics

import (
	"fmt"
	"runtime/debug"
)

// Carried is a panic that happened elsewhere.
type Carried struct {
	Value any    // that panic was called with
	Stack []byte // of where it was
}

// Error implements error, for panics that nobody recovers.
func (c *Carried) Error() string { return fmt.Sprintf("%v\n\ncarried from:\n%s", c.Value, c.Stack) }

// Catch runs f and returns its panic, nil if there is none.
func Catch(f func()) (c *Carried) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case *Carried: // from a goroutine that f waited for
			c = v
		default:
			c = &Carried{v, debug.Stack()}
		}
	}()
	f()
	return nil
}

// Goroutine is what Go started.
type Goroutine struct {
	done   chan struct{}
	caught *Carried
}

// Go runs f in a goroutine.
func Go(f func()) *Goroutine {
	g := &Goroutine{done: make(chan struct{})}
	go func() {
		defer close(g.done)
		g.caught = Catch(f)
	}()
	return g
}

// Done is closed when the goroutine has ended.
func (g *Goroutine) Done() <-chan struct{} { return g.done }

// Wait returns when the goroutine has ended, and panics if that did.
func (g *Goroutine) Wait() {
	<-g.done
	if g.caught != nil {
		panic(g.caught)
	}
}
