// Package exit is the one owner of how nibble ends before its work is done: by a
// signal, by a terminal that goes away, by a panic.
//
// Whatever it is, the terminal is as it was, what is finished is kept, one line
// says what happened and how to go on. The first reason cancels the context of the
// whole program, whose parts then end in order. A second signal ends the process
// at once, and so does a watchdog if the parts show no life.
package exit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"nibble/kernels/panics"
)

// The exit codes of endings.
const (
	Failed      = 1
	Interrupted = 130
)

// ErrTerminalLost ends a program whose terminal cannot be read or written.
var ErrTerminalLost = errors.New("interrupted: the terminal is gone")

// Signal is the reason of an ending that a signal asked for.
type Signal struct{ os.Signal }

// Error implements error.
func (s Signal) Error() string {
	if s.Signal == os.Interrupt {
		return "interrupted"
	}
	return "interrupted by " + s.name()
}

func (s Signal) name() string {
	switch s.Signal {
	case os.Interrupt:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return s.String()
}

// patience is how long an ending may take without a sign of life, and grace how
// long after one: who saves a large model to a slow disk is not stuck.
const (
	patience = 5 * time.Second
	grace    = 30 * time.Second
)

// Owner ends the program. A nil Owner owns nothing: panics go on, all else is left
// undone.
type Owner struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	stderr   io.Writer
	crashes  string // directory
	exit     func(code int)
	patience time.Duration
	signals  chan os.Signal

	mu       sync.Mutex
	cause    error // nil while nothing ends
	hint     string
	told     bool
	restore  func()
	watchdog *time.Timer
}

// New returns an owner that tells of endings on stderr, and of panics in files in a
// directory.
func New(stderr io.Writer, crashes string) *Owner {
	o := &Owner{stderr: stderr, crashes: crashes, exit: os.Exit, patience: patience, signals: make(chan os.Signal, 8)}
	o.ctx, o.cancel = context.WithCancelCause(context.Background())
	return o
}

// Context ends when the program is to end; its cause is the reason.
func (o *Owner) Context() context.Context { return o.ctx }

// Listen takes over the signals that end programs. What was ignored from the
// beginning (nohup, jobs in the background) stays so.
func (o *Owner) Listen() {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(o.signals, s)
		}
	}
	panics.Go(func() {
		for s := range o.signals {
			o.signal(s)
		}
	})
}

func (o *Owner) signal(s os.Signal) {
	o.mu.Lock()
	cause := o.cause
	o.mu.Unlock()
	switch {
	case cause == nil:
		o.End(Signal{s})
	case s == syscall.SIGHUP: // shells pass on a hangup that the terminal told of already
	default:
		o.force("ended at once by a second signal, " + Signal{s}.name())
	}
}

// End begins the ending; only the first reason counts.
func (o *Owner) End(cause error) {
	if o == nil {
		panic(cause)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cause != nil {
		return
	}
	o.cause = cause
	ignoreBackground()
	o.watchdog = time.AfterFunc(o.patience, func() {
		o.force(fmt.Sprintf("%s; it did not end by itself and was stopped", reason(cause)))
	})
	o.cancel(cause)
}

// Panicked returns the panic that is the reason of an ending, nil if it is none.
func Panicked(cause error) (c *panics.Carried) {
	errors.As(cause, &c)
	return c
}

// Code is the exit code of an ending.
func Code(cause error) int {
	if Panicked(cause) != nil {
		return Failed
	}
	return Interrupted
}

// Done tells that the program has ended in order: nothing is left to watch.
func (o *Owner) Done() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.watchdog != nil {
		o.watchdog.Stop()
	}
}

// reason is a cause in one line.
func reason(cause error) string {
	if c := Panicked(cause); c != nil {
		return fmt.Sprintf("internal error: %v", c.Value)
	}
	return cause.Error()
}

// Alive tells that an ending goes on, so that it is let finish.
func (o *Owner) Alive() {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.watchdog != nil {
		o.watchdog.Reset(grace)
	}
}

// Hint says how to go on if the program ends now; "" is nothing.
func (o *Owner) Hint(text string) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hint = text
}

// LastLine is what a program that ends has to tell, which the owner then leaves to
// its caller: why, and how to go on.
func (o *Owner) LastLine() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = true
	why := reason(o.cause)
	if c := Panicked(o.cause); c != nil {
		why += "; " + o.keep(c)
	}
	return o.line(why)
}

// line adds how to go on.
func (o *Owner) line(why string) error {
	if o.hint == "" {
		return errors.New(why)
	}
	return fmt.Errorf("%s; %s", why, o.hint)
}

// Terminal says how the terminal is restored if the process ends at once. restore
// must not wait for anything, and may be called more than once.
func (o *Owner) Terminal(restore func()) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.restore = restore
}

// writeTimeout is how long the last line may take: a terminal that takes nothing
// must not keep the process.
const writeTimeout = 200 * time.Millisecond

// force ends the process.
func (o *Owner) force(why string) {
	o.mu.Lock()
	restore, told, line, cause := o.restore, o.told, o.line(why), o.cause
	o.mu.Unlock()
	if restore != nil {
		restore()
	}
	if !told {
		Within(writeTimeout, func() {
			if Panicked(cause) != nil {
				line = o.LastLine()
			}
			fmt.Fprintf(o.stderr, "nibble: %v\n", line)
		})
	}
	if restore != nil {
		restore() // whatever was under way in between
	}
	o.exit(Code(cause))
}

// Within runs f and waits for it, at most so long.
func Within(d time.Duration, f func()) {
	select {
	case <-panics.Go(f).Done():
	case <-time.After(d):
	}
}
