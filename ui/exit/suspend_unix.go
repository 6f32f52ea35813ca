//go:build unix

package exit

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ignoreBackground lets a process that ends set the terminal back although it is
// in the background: it would be stopped instead.
func ignoreBackground() { signal.Ignore(syscall.SIGTTOU) }

// Suspend stops the process group as Ctrl-Z does, and returns when it goes on with
// the terminal in its hands.
func (o *Owner) Suspend(terminal uintptr) {
	if o == nil {
		return
	}
	cont := make(chan os.Signal, 1)
	signal.Notify(cont, syscall.SIGCONT)
	defer signal.Stop(cont)
	_ = syscall.Kill(0, syscall.SIGTSTP)
	select {
	case <-cont:
	case <-o.ctx.Done():
	case <-time.After(suspendTimeout):
	}
	// Who is continued to be ended learns of that first, or would be stopped again
	// when it takes the terminal.
	for range 10 {
		if o.ctx.Err() != nil || Foreground(terminal) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// suspendTimeout is how long it takes at most to be stopped. The system stops no
// process that nobody could continue.
const suspendTimeout = 300 * time.Millisecond

// Foreground reports whether the terminal is this process's to set. It is if no
// shell shares it.
func Foreground(terminal uintptr) bool {
	group, err := unix.IoctlGetInt(int(terminal), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}
