package exit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nibble/kernels/panics"
)

// process is an owner whose end is seen instead of happening.
func process(t *testing.T) (o *Owner, said *bytes.Buffer, code chan int) {
	said, code = &bytes.Buffer{}, make(chan int, 9)
	o = New(said, filepath.Join(t.TempDir(), "state"))
	o.exit = func(c int) { code <- c }
	t.Cleanup(o.Done)
	return o, said, code
}

// The first signal ends the context, the second the process.
func TestSignals(t *testing.T) {
	for _, c := range []struct {
		signals []os.Signal
		why     string
		said    string // "" if the process goes on
	}{
		{[]os.Signal{os.Interrupt}, "interrupted", ""},
		{[]os.Signal{syscall.SIGTERM}, "interrupted by SIGTERM", ""},
		{[]os.Signal{syscall.SIGHUP, syscall.SIGHUP}, "interrupted by SIGHUP", ""},
		{[]os.Signal{os.Interrupt, os.Interrupt}, "interrupted", "nibble: ended at once by a second signal, SIGINT; do this\n"},
		{[]os.Signal{syscall.SIGHUP, syscall.SIGTERM}, "interrupted by SIGHUP", "nibble: ended at once by a second signal, SIGTERM; do this\n"},
	} {
		o, said, code := process(t)
		o.Hint("do this")
		restored := false
		o.Terminal(func() { restored = true })
		if o.Context().Err() != nil {
			t.Fatal("ended before anything happened")
		}
		for _, s := range c.signals {
			o.signal(s)
		}
		cause := context.Cause(o.Context())
		if cause == nil || cause.Error() != c.why || Code(cause) != 130 {
			t.Errorf("%v: the context ended with %v, code %d", c.signals, cause, Code(cause))
		}
		forced := len(code) == 1 && <-code == 130
		if forced != (c.said != "") || restored != forced || said.String() != c.said {
			t.Errorf("%v: ended at once: %v, the terminal restored: %v, said %q", c.signals, forced, restored, said)
		}
		if err := o.LastLine(); err.Error() != c.why+"; do this" {
			t.Errorf("%v: %v", c.signals, err)
		}
	}
}

// What shows no life is stopped; what does is let be.
func TestWatchdog(t *testing.T) {
	o, said, code := process(t)
	o.patience = time.Millisecond
	o.End(ErrTerminalLost)
	if c := <-code; c != 130 || !strings.HasPrefix(said.String(), "nibble: "+ErrTerminalLost.Error()+"; it did not end by itself") {
		t.Errorf("code %d, said %q", c, said)
	}
	o, _, code = process(t)
	o.patience = 50 * time.Millisecond
	o.End(errors.New("any"))
	o.Alive()
	time.Sleep(100 * time.Millisecond)
	if len(code) > 0 {
		t.Error("stopped although it lives")
	}
}

// Nothing that hangs keeps the process: no terminal, no standard error.
func TestForcedPastWhatHangs(t *testing.T) {
	o, _, code := process(t)
	var never sync.Mutex
	never.Lock()
	o.stderr = writer(func() { never.Lock() })
	o.End(errors.New("any"))
	o.force("why")
	if c := <-code; c != 130 {
		t.Errorf("code %d", c)
	}
}

type writer func()

func (w writer) Write(p []byte) (int, error) { w(); return len(p), nil }

// A panic ends with 1 and a file that tells all; where that cannot be written,
// standard error does.
func TestCrash(t *testing.T) {
	o, said, _ := process(t)
	c := panics.Catch(func() { panic("boom") })
	o.End(c)
	if cause := context.Cause(o.Context()); Panicked(cause) != c || Code(cause) != 1 {
		t.Errorf("cause %v, code %d", cause, Code(cause))
	}
	text := o.LastLine().Error()
	files, _ := filepath.Glob(filepath.Join(o.crashes, "crash-*.txt"))
	if len(files) != 1 || !strings.Contains(text, "internal error: boom") || !strings.Contains(text, files[0]) || said.Len() > 0 {
		t.Fatalf("told %q, said %q, files %v", text, said, files)
	}
	if data, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(data), "boom") || !strings.Contains(string(data), "exit.TestCrash") {
		t.Errorf("%s: %v", data, err)
	}
	o.crashes = filepath.Join(files[0], "x")
	if text := o.LastLine().Error(); !strings.Contains(said.String(), "exit.TestCrash") || !strings.Contains(text, "the lines above") {
		t.Errorf("told %q, said %q", text, said)
	}
	// A program that hangs after a panic tells as much.
	o, said, code := process(t)
	o.End(c)
	o.force("it hangs")
	if n := <-code; n != 1 || !strings.Contains(said.String(), "internal error: boom") || !strings.Contains(said.String(), filepath.Join(o.crashes, "crash-")) {
		t.Errorf("code %d, said %q", n, said)
	}
}

// Without an owner a panic goes on, so that tests see it.
func TestNoOwner(t *testing.T) {
	var o *Owner
	o.Alive()
	o.Hint("x")
	o.Terminal(nil)
	boom := &panics.Carried{Value: "boom"}
	if c := panics.Catch(func() { o.End(boom) }); c != boom {
		t.Errorf("caught %v", c)
	}
}
